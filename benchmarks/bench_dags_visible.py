# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long it takes from publishing a new DAG until the REST API shows it, on a platform that is deployed.

`python benchmarks/bench_dags_visible.py [INVENTORY]`, inventories/local by default. The first source whose DAGs lie in
a directory gets a DAG more in each round, in a copy; in the end it is as it was, and the DAGs are removed from the
platform. Where no platform is deployed, nothing is measured and the page stays as it is.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from performance_page import ROOT, table, write

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.airstack.backbone.tests.integration.deployed import (
    Airflow,
    Platform,
    ansible_playbook,
    wait_for,
)

ROUNDS = 10
GOAL_SECONDS = 10
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.1

DAG = '''
"""A DAG that is published to see how soon it shows."""

from __future__ import annotations

from airflow.sdk import DAG

with DAG("{name}", schedule=None):
    pass
'''


class Round(NamedTuple):
    """Seconds after the playbook's start: when it ended, and when the DAG was in the API."""

    published: float
    visible: float


def publish(platform: Platform, source: str, path: Path) -> None:
    """Run playbooks/dags.yml for one source, with its content at another path."""
    sources = [{"name": each["name"], "queues": each["queues"], **each["origin"]} for each in platform.plan["sources"]]
    changed = [{**each, "path": str(path)} if each["name"] == source else each for each in sources]
    ansible_playbook(
        platform.inventory, "playbooks/dags.yml", {"airflow_dag_sources": changed, "airflow_dags_only": source}
    )


def is_visible(airflow: Airflow, dag: str) -> bool:
    """Whether the API knows a DAG."""
    try:
        airflow.ask("GET", f"dags/{dag}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False
    return True


def one_round(platform: Platform, source: str, path: Path, dag: str) -> Round:
    """Publish what is at a path, and look for its new DAG from the start.

    :raises SystemExit: it did not show in time
    """
    seen: list[float] = []
    begin = time.monotonic()

    def look() -> None:
        if wait_for(lambda: is_visible(platform.airflow, dag), PATIENCE_SECONDS, POLL_SECONDS):
            seen.append(time.monotonic() - begin)

    looking = threading.Thread(target=look)
    looking.start()
    publish(platform, source, path)
    published = time.monotonic() - begin
    looking.join()
    if not seen:
        raise SystemExit(f"The DAG {dag} of source {source} was not in the API after {PATIENCE_SECONDS} s")
    return Round(published, seen[0])


@contextlib.contextmanager
def copied(platform: Platform, source: dict[str, Any]) -> Iterator[Path]:
    """A copy of a source's directory; the platform has what is in the directory itself again in the end."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, source["name"])
        shutil.copytree(source["origin"]["path"], copy)
        try:
            yield copy
        finally:
            publish(platform, source["name"], Path(source["origin"]["path"]))


def measure(platform: Platform) -> list[Round]:
    """One round for each new DAG."""
    source = next((each for each in platform.plan["sources"] if "path" in each["origin"]), None)
    if source is None:
        raise SystemExit("No source of the platform is a directory of the controller, to which a DAG could be added")
    names = [f"bench_visible_{time.time_ns()}" for _round in range(ROUNDS)]
    found = []
    with copied(platform, source) as copy:
        folder = copy / (source["origin"].get("subdirectory") or "")
        for at, name in enumerate(names, 1):
            (folder / f"{name}.py").write_text(DAG.format(name=name), encoding="utf-8")
            found.append(one_round(platform, source["name"], copy, name))
            print(f"round {at}: published after {found[-1].published:.1f} s, visible after {found[-1].visible:.1f} s")
    for name in names:
        platform.airflow.ask("DELETE", f"dags/{name}")
    return found


def deployed(inventory: Path, folder: Path) -> Platform | None:
    """The platform of an inventory, or None where none answers."""
    try:
        platform = Platform(str(inventory.absolute()), folder)
        platform.airflow.dags()
    except (AssertionError, OSError) as error:
        print(f"Not measured: no platform of {inventory} answers; deploy it first.\n{error}")
        return None
    return platform


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "inventories" / "local"
    with tempfile.TemporaryDirectory() as name:
        platform = deployed(given, Path(name))
        rounds = measure(platform) if platform else []
    if rounds:
        visible = [each.visible for each in rounds]
        rows = [
            (
                len(rounds),
                f"{statistics.median(each.published for each in rounds):.1f}",
                f"{statistics.median(visible):.1f}",
                f"{max(visible):.1f}",
                "yes" if statistics.median(visible) < GOAL_SECONDS else "no",
            )
        ]
        header = ("rounds", "playbook", "visible", "visible, slowest", f"under {GOAL_SECONDS} s")
        write("dags-visible", "python benchmarks/bench_dags_visible.py", table(header, rows))
