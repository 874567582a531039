# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps DAG code from doing harm while the gate parses it: who it runs as, what it may use, how all of it is ended.

Against accidents and greed, not against a spy: code that is parsed can always find out that it is. No Airflow in here.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import pwd
import resource
import signal
import threading
from pathlib import Path

MEMORY = 2 << 30
"""Bytes of data that one file may hold while it is parsed. Airflow itself holds about 0.2 GiB."""

FILE_SIZE = 64 << 20
"""Bytes of the largest file that it may write."""

OPEN_FILES = 1024
PROCESSES = 256
"""Processes and threads that it may have, beyond those that its user has already."""

SLACK = 16
"""Processes and threads that its user may begin elsewhere while they are counted."""

MOST = 1 << 22
"""Processes and threads that a machine has at most (linux/threads.h, PID_MAX_LIMIT)."""

CPU_MARGIN = 5
"""Seconds of CPU time beyond the time limit, for each CPU: it ends what is not ended otherwise."""

UNPRIVILEGED = ("airflow", "nobody")
"""Who DAG code runs as where the gate runs as root: the first of these that there is."""

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


class SandboxError(Exception):
    """The sandbox cannot be made."""


def user(name: str | None) -> pwd.struct_passwd | None:
    """Who DAG code is to run as; None for the user that this process has.

    :param name: the wanted user; None for an unprivileged one where this process is root's, else for nobody else
    :raises SandboxError: there is no such user, or only root may become it
    """
    if name is None and os.geteuid() != 0:
        return None
    for candidate in [name] if name else UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(candidate)
            if found.pw_uid == os.geteuid():
                return None
            if os.geteuid() != 0:
                raise SandboxError(f"Only root can parse DAG files as the user '{name}'.")
            return found
    raise SandboxError(
        f"There is no user '{name or UNPRIVILEGED[-1]}' to parse DAG files as; name one that there is (--user)."
    )


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends, and let it gain no rights by running another program."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends, so that :func:`end_children` finds them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill every child of this process, and what becomes its child by that, until there is none."""
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def confine(seconds: float) -> None:
    """Limit what this process and its children may use, for a time limit in seconds."""
    cpus = len(os.sched_getaffinity(0))
    for limit, value in {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: math.ceil(seconds + CPU_MARGIN) * cpus,
        resource.RLIMIT_DATA: MEMORY,
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_NPROC: _counted() + PROCESSES,
    }.items():
        lowest = _at_most(limit, value)
        resource.setrlimit(limit, (lowest, lowest))
    # Where memory runs out nevertheless, this is what the kernel should end.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _children() -> list[int]:
    path = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return [int(child) for child in path.read_text(encoding="ascii").split()]


def _at_most(limit: int, value: int) -> int:
    """A limit that this process may set itself."""
    hard = resource.getrlimit(limit)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _counted() -> int:
    """As many processes and threads as the kernel counts of this user for RLIMIT_NPROC, or up to twice as many.

    It counts those in other containers of the machine, too, which are not to be seen from in here: so it is tried.
    """
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    count = _tasks(os.geteuid()) + SLACK
    while count < MOST and (tried := _at_most(resource.RLIMIT_NPROC, count)) == count:
        resource.setrlimit(resource.RLIMIT_NPROC, (tried, before[1]))
        thread = threading.Thread(target=lambda: None)
        try:
            thread.start()
        except RuntimeError:
            count *= 2
        else:
            thread.join()
            break
    resource.setrlimit(resource.RLIMIT_NPROC, before)
    return count


def _tasks(uid: int) -> int:
    """How many processes and threads a user has that are to be seen."""
    count = 0
    for process in Path("/proc").glob("[0-9]*/task"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == uid:
                count += len(os.listdir(process))
    return count


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise SandboxError(f"The kernel refuses the sandbox (prctl {option}: {os.strerror(ctypes.get_errno())}).")
