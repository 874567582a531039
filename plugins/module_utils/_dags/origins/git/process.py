# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""git as it is run here: with settings of its own, within a time limit, and with errors that say what to do."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.access import Address, GitAccess
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.git.errors import explain
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import CHUNK, SourceProblems

LONGEST = 30
"""How many times the time limit a command may take that makes progress."""

_KEPT_OUTPUT = 64 * 1024  # bytes of what git says that are looked at, the last ones
_PATIENCE = 5  # s for git to remove its own temporary files when it is stopped

# Nothing of a repository runs, and nothing goes on in the background: that would outlive the lock.
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "fetch.unpackLimit": "1",  # a pack takes its place as a whole, and is on disk by then
    "gc.auto": "0",
    "gc.autoDetach": "false",
    "maintenance.auto": "false",
    "http.followRedirects": "initial",
    "protocol.allow": "never",
}


@dataclass(frozen=True)
class Git:
    """What every command has in common.

    address: the repository that the command is about, for the messages.
    access: what was given for it.
    protocols: those that may be used.
    timeout: seconds without any progress after which a command is stopped.
    locks: descriptors that git keeps open, so that what they lock stays locked should it outlive this process.
    """

    environment: Mapping[str, str]
    address: Address
    access: GitAccess
    protocols: Sequence[str]
    timeout: float
    locks: Sequence[int] = ()

    def start(
        self, directory: Path | None, arguments: Sequence[str], stdin: int | IO[bytes], stderr: int
    ) -> subprocess.Popen[bytes]:
        """Start git for a repository of this host, or for none, with a pipe for what it prints.

        :raises SourceProblems: it is not installed
        """
        settings = [*_SETTINGS.items(), *((f"protocol.{name}.allow", "always") for name in self.protocols)]
        options = [word for name, value in settings for word in ("-c", f"{name}={value}")]
        # Without a directory it would search the working directory, and those above, for one.
        command = ["git", f"--git-dir={directory or '/dev/null'}", *options, *arguments]
        try:
            # No shell, and what an address may be is checked. A module's run_command would keep whole contents in memory.
            return subprocess.Popen(  # noqa: S603  # pylint: disable=ansible-bad-function
                command,
                bufsize=CHUNK // 4,
                cwd="/",
                env={**self.environment},
                pass_fds=self.locks,
                start_new_session=True,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        except FileNotFoundError:
            raise SourceProblems(["git is not installed on this host; install the package git"]) from None

    def run(
        self,
        directory: Path | None,
        *arguments: str,
        data: bytes = b"",
        is_local: bool = False,
    ) -> bytes:
        """Run git, and return what it prints.

        :param data: what it reads
        :param is_local: whether it works for as long as it takes, since it waits for nobody
        :raises SourceProblems: it failed, or took too long
        :raises GitFailed: it failed for another reason than those that are known
        """
        with _file(data) as stdin:
            process = self.start(directory, arguments, stdin, subprocess.PIPE)
            try:
                printed, said = _read_both(process, None if is_local else self.timeout)
                status = process.wait()
            except TimeoutError as error:
                raise SourceProblems([f"{self.address.shown} {error}"]) from None
            finally:
                stop(process)
        if status != 0:
            raise explain(said.decode("utf-8", "replace"), self.address, self.access)
        return printed


@contextmanager
def _file(data: bytes) -> Iterator[int | IO[bytes]]:
    """A file to read the data from: a pipe would have to be written to while the answer is read."""
    if not data:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


GitFor = Callable[[Address], Git]
"""Gives git with what opens an address."""


def _read_both(process: subprocess.Popen[bytes], timeout: float | None) -> tuple[bytes, bytes]:
    """Return all that a process prints, and the last of what it says on stderr, which shows that it goes on.

    :raises TimeoutError: it does not, or not in the end
    """
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    read = {stream.fileno(): bytearray() for stream in streams}
    errors = streams[-1].fileno()
    begun = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for descriptor in read:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout)
            if not ready:
                raise TimeoutError(f"has not answered for {timeout:g} s")
            if timeout is not None and time.monotonic() - begun > timeout * LONGEST:
                raise TimeoutError(f"has not sent everything within {timeout * LONGEST:g} s")
            for key, _events in ready:
                chunk = os.read(key.fd, CHUNK)
                read[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            del read[errors][:-_KEPT_OUTPUT]
    return bytes(read[streams[0].fileno()]), bytes(read[errors])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started, unless it has ended."""
    with suppress(BrokenPipeError), process:  # closes the pipes
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(subprocess.TimeoutExpired):
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                process.wait(_PATIENCE)
