from __future__ import annotations

import os
import socket
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.module_utils import _host

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 3211 1 0000 100 0 0 10 0
   1: 0B59590A:1F90 0D59590A:C350 01 00000000:00000000 00:00000000 00000000     0        0 3212 1 0000 20 4 30 10 -1
"""


def test_only_listening_sockets_count() -> None:
    assert _host.listening(TCP) == {5432: {"3211"}}


def test_the_innermost_service_owns_a_process() -> None:
    assert _host.unit_of("1:name=systemd:/system.slice/docker.service/system.slice/nginx.service\n") == "nginx.service"
    assert _host.unit_of("0::/user.slice/session-1.scope\n") is None


def test_a_pattern_names_our_units() -> None:
    assert _host.ours("postgresql@15-main.service", ["postgresql@*.service"])
    assert not _host.ours("nginx.service", ["postgresql@*.service"])
    assert not _host.ours(None, ["*"])


def test_the_process_that_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        inodes = _host.listening(_host.read(Path("/proc/net/tcp")))[port]
        assert [pid for pid, _name, _unit in _host.owners(inodes)] == [os.getpid()]


def test_space_is_looked_for_at_the_nearest_parent(tmp_path: Path) -> None:
    assert _host.nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert _host.free_bytes(tmp_path) > 0
