# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a plan takes: 1,000 sources on 200 pools, and the two teams of inventories/local."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from performance_page import ROOT, table, write

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.airstack.backbone.plugins.module_utils._model import plan
from ansible_collections.airstack.backbone.plugins.module_utils._model.inventory import Inventory

ROUNDS = 5
SIZES = [(2, 2), (100, 20), (1000, 200)]


def platform(sources: int, pools: int) -> tuple[dict[str, Any], Inventory]:
    """A platform on which each pool has two queues and each source may use two queues of different pools."""
    queues = 2 * pools
    variables = {
        "airflow_environment": "bench",
        "airflow_dag_sources": [
            {"name": f"s{at}", "path": f"/dags/s{at}", "queues": [f"q{at % queues}", f"q{(at + 3) % queues}"]}
            for at in range(sources)
        ],
        "airflow_worker_pools": [{"name": f"p{at}", "queues": [f"q{2 * at}", f"q{2 * at + 1}"]} for at in range(pools)],
    }
    services = {group: ["backbone1"] for group in ("airflow_database", "airflow_broker", "airflow_control")}
    return variables, Inventory({**services, **{f"airflow_workers_p{at}": [f"worker{at}"] for at in range(pools)}})


def seconds(sources: int, pools: int) -> float:
    """Median over the rounds."""
    variables, inventory = platform(sources, pools)
    taken = []
    for _round in range(ROUNDS):
        begin = time.perf_counter()
        _plan, problems = plan.make(variables, inventory)
        taken.append(time.perf_counter() - begin)
        if problems:
            raise SystemExit("\n".join(map(str, problems)))
    return statistics.median(taken)


if __name__ == "__main__":
    rows = [(sources, pools, f"{seconds(sources, pools):.3f}") for sources, pools in SIZES]
    write("plan", "python benchmarks/bench_plan.py", table(("sources", "pools", f"seconds (median of {ROUNDS})"), rows))
