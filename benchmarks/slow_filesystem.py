# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory through a filesystem whose calls take a while, as those of NFS and EFS do.

It is a FUSE filesystem (slow_filesystem.c, compiled here) and not a library that is preloaded, so that the kernel
decides which calls reach the server: whatever program, statically linked or not, pays for what it does and profits
from the same caches. It is in C, since an undelayed call costs 0.1 ms so and several times that in Python, of which
one thread runs at a time. Calls in different directories overlap, up to 64, which is how many an NFS client has under way; those
that change one directory wait for each other in the kernel, on NFS as here.

What waits for one delay: a name or attributes that are looked up (found, and not looked up in the last 3 s, an NFS
client's shortest cache); open, create, mkdir, symlink, link, rename, unlink, rmdir, readlink; chmod, chown, utimens,
truncate; a list of a directory; each read that the page cache does not answer; statfs; fsync. What is written waits
in the client until close or fsync, then for one delay per MiB. Free are: looking up what is not there, for FUSE does
that before each call that makes a name and NFS does not (a program that asks first gets that answer for nothing);
closing what was not written; opening a directory; locks. Nothing is flushed to the disk below: the delay is the disk.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
DEVICE = Path("/dev/fuse")
UNMOUNT = shutil.which("umount") or "/bin/umount"
SECONDS_TO_MOUNT = 10


@contextmanager
def slow(directory: Path, milliseconds: float) -> Iterator[Path]:
    """A directory's content at another path, where each call takes so long; nothing is cached of an earlier use.

    The path is the same each time, for those who write it down.

    :raises SystemExit: something that it needs is missing, or the mount is refused
    """
    program = compiled()
    mount_point = directory.with_name(f"{directory.name}.slow")
    mount_point.mkdir()
    arguments: list[str | Path] = [directory, str(round(milliseconds * 1000)), mount_point]
    server = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        _wait(server, mount_point)
        yield mount_point
    finally:
        _end(server, mount_point)
        mount_point.rmdir()


@functools.cache
def compiled() -> Path:
    """The program that serves it, until this process ends.

    :raises SystemExit: something that it needs is missing
    """
    compiler, config = shutil.which("cc"), shutil.which("pkg-config")
    if not compiler or not config or subprocess.run([config, "--exists", "fuse3"], check=False).returncode:
        raise SystemExit(
            "A filesystem with a delay is made with a C compiler, pkg-config and libfuse 3. Of these, this"
            " machine lacks one; on Debian: apt-get install gcc pkg-config libfuse3-dev fuse3"
        )
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise SystemExit(f"A filesystem with a delay needs {DEVICE}, which is not there or not for this user")
    flags = subprocess.run([config, "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True).stdout
    folder = tempfile.mkdtemp(prefix="slow-")
    atexit.register(shutil.rmtree, folder)
    program = Path(folder, SOURCE.stem)
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, SOURCE, *flags.split()], check=True)
    return program


def _wait(server: subprocess.Popen[str], mount_point: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_MOUNT
    while not os.path.ismount(mount_point):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise SystemExit(f"A filesystem with a delay could not be mounted: {server.communicate()[1].strip()}")
        time.sleep(0.01)


def _end(server: subprocess.Popen[str], mount_point: Path) -> None:
    server.terminate()
    try:
        server.communicate(timeout=SECONDS_TO_MOUNT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.communicate()
    if os.path.ismount(mount_point):
        subprocess.run([UNMOUNT, "--lazy", mount_point], check=True)
