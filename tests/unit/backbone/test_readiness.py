# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a worker tells systemd, with a real socket, and a health check, with a file."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest
from celery import Celery
from celery.signals import worker_init, worker_ready
from celery.worker import WorkController

from airflow_backbone import readiness


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_that_the_worker_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    name = f"backbone-{uuid.uuid4()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if is_abstract else name)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)
        worker_ready.send(sender=None)
        assert systemd.recv(100) == b"READY=1"


def test_a_health_check_finds_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_BACKBONE_READY", str(tmp_path / "ready"))
    for _time in range(2):
        worker_ready.send(sender=None)
        assert (tmp_path / "ready").exists()


def test_a_worker_that_starts_does_not_consume_yet_whatever_one_before_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_BACKBONE_READY", str(tmp_path / "ready"))
    app = Celery("restarted", broker="memory://", set_as_current=False)
    app.conf.imports = [readiness.__name__]
    for _time in range(2):
        WorkController(app=app, pool="solo")
        assert not (tmp_path / "ready").exists()
        worker_ready.send(sender=None)
        assert (tmp_path / "ready").exists()


def test_where_nobody_is_to_be_told_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "AIRFLOW_BACKBONE_READY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delattr(readiness, "socket")
    told = [*worker_init.send(sender=None), *worker_ready.send(sender=None)]
    assert all(not isinstance(answer, Exception) for _receiver, answer in told)
