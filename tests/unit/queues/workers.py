# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real Celery workers: prefork, one process each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.tests.unit.queues.brokers import end, wait

BACKBONE = Path(__file__).parents[3] / "roles/airflow_core/files/airflow_backbone"


class Workers(AbstractContextManager["Workers"]):
    """Some workers, by their Celery names, what they wrote, and the tasks that they ran. They end with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.ran_file = folder / "ran"
        self.ran_file.touch()

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def start(
        self, url: str, *names: str, queues: Sequence[str], pool: str | None = None, ca: Path | None = None
    ) -> None:
        """Start workers; the pool is the part of a name before the @, unless one is given. Does not wait.

        ca: the authority's file of a broker with TLS.
        """
        for name in names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", "celery", "--app", "worker_app", "worker"]
                    + ["--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO", "-O", "fair"]
                    + ["--queues", ",".join(queues), "--hostname", name, "--without-mingle", "--without-gossip"],
                    cwd=Path(__file__).parent,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(BACKBONE),
                        "QUEUES_BROKER": url,
                        "QUEUES_POOL": pool or name.partition("@")[0],
                        "QUEUES_RAN": str(self.ran_file),
                        "QUEUES_CA": str(ca or ""),
                    },
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def ready(self) -> None:
        """Wait until all of them consume."""

        def all_are() -> bool:
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            return all(" ready." in self.log(name) for name in self._running)

        wait(all_are, "not all workers are ready", lambda: "\n".join(self.log(name) for name in self._running))

    def restart(self, url: str, name: str, *, queues: Sequence[str]) -> None:
        """Let a worker finish what it runs, and start it with other queues, as a service manager does."""
        process = self._running.pop(name)
        process.terminate()
        process.wait(timeout=60)
        (self._folder / f"{name}.log").unlink()
        self.start(url, name, queues=queues)

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def freeze(self, name: str) -> None:
        """It stays connected and does nothing more."""
        os.killpg(self._running[name].pid, signal.SIGSTOP)

    def kill(self, name: str) -> None:
        """It is gone at once, as with its host."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)

    def ran(self) -> Counter[int]:
        """How often each task ran, by its number."""
        return Counter(int(line) for line in self.ran_file.read_text(encoding="utf-8").splitlines())

    def finish(self, numbers: Iterable[int]) -> None:
        """Wait until each of these tasks ran."""
        expected = set(numbers)
        wait(
            lambda: expected <= set(self.ran()),
            "not all tasks ran",
            lambda: f"missing: {sorted(expected - set(self.ran()))}",
        )

    def stop(self) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            end(process)


def send(application: Any, queue: str, numbers: Iterable[int], seconds: float = 0, until: Path | None = None) -> None:
    """Put tasks into a queue; each ends after its seconds, and not before a file is there where one is named."""
    with application.producer_or_acquire() as producer:
        for number in numbers:
            arguments = (number, seconds, str(until or ""))
            application.send_task("note", args=arguments, queue=queue, producer=producer)


@contextmanager
def unfinished(application: Any, queue: str, numbers: Iterable[int], folder: Path) -> Iterator[None]:
    """Tasks in a queue of which none ends within the block, however long it takes."""
    end_of_block = folder / "end_of_block"
    send(application, queue, numbers, until=end_of_block)
    try:
        yield
    finally:
        end_of_block.touch()


def wait_for_queues(look: Callable[..., dict[str, Any]], worker: str, queues: list[str]) -> None:
    """Wait until worker_queues_info finds that a worker consumes these."""
    wait(
        lambda: look(timeout=30)["workers"].get(worker, {}).get("queues") == queues,
        f"{worker} does not consume {', '.join(queues)}",
        lambda: "",
    )
