# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Marks of tests that need more of this machine than Python. CI has all of it: see tests/conftest.py."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

RABBITMQ = Path("/usr/lib/rabbitmq/bin")
"""The programs themselves: those on PATH change to another user."""

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

IS_ROOT = os.geteuid() == 0

HAS_RABBITMQ = IS_ROOT and (RABBITMQ / "rabbitmq-server").exists() and bool(shutil.which("epmd"))
"""A node is started by root, for whom its programs are."""

POSTGRESQL = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
"""The programs of the newest one that is installed."""

HAS_REDIS = bool(shutil.which("redis-server"))


def _is_static(program: str | None) -> bool:
    """Whether a program runs without any library."""
    return bool(program) and b"/lib64/ld-linux" not in Path(str(program)).read_bytes()


HAS_DOCKER = IS_ROOT and bool(shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"))


def _program(name: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(name), reason=f"needs {package}")


root = pytest.mark.skipif(not IS_ROOT, reason="needs root, who alone gives files away and makes devices")
git_lfs = _program("git-lfs", "git-lfs")
podman = _program("podman", "podman")
mmdebstrap = _program("mmdebstrap", "mmdebstrap")
docker_registry = _program("docker-registry", "docker-registry")
dockerd = pytest.mark.skipif(not HAS_DOCKER, reason="needs docker.io (dockerd), and root, who alone makes namespaces")
redis = pytest.mark.skipif(not HAS_REDIS, reason="needs redis-server")
postgresql = pytest.mark.skipif(
    not (IS_ROOT and POSTGRESQL), reason="needs postgresql, and root, who alone becomes its user"
)
sshd = pytest.mark.skipif(not SSHD, reason="needs openssh-server (sshd)")
static_busybox = pytest.mark.skipif(not _is_static(shutil.which("busybox")), reason="needs busybox-static")
docker_engine = pytest.mark.skipif(
    not (HAS_DOCKER and _is_static(shutil.which("busybox"))),
    reason="needs docker.io and busybox-static, and root, who alone makes namespaces",
)
systemd_escape = _program("systemd-escape", "systemd-escape")
rabbitmq = pytest.mark.skipif(not HAS_RABBITMQ, reason="needs rabbitmq-server, and root, for whom its programs are")
