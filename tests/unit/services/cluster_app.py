# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Celery applications of test_broker_cluster: those of the wall's tests, with a task that leaves a trace.

    WALL_POOL=etl CLUSTER_TRACE=trace celery --app cluster_app worker
    python cluster_app.py 300 0.2 15

The second one publishes as a scheduler does, and prints one JSON object: the numbers that the broker took, the errors of
those that it did not, and the seconds of the slowest. AIRFLOW_PLAN and AIRFLOW_SECRETS are as in wall_app.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))
import wall_app

SECONDS = 0.3
QUEUE = "etl"
ATTEMPTS_AGAIN = 3
"""[celery] task_publish_max_retries, where nobody sets it."""


def application(pool: str | None) -> Any:
    made = wall_app.application(pool)
    # A busy machine's nodes take their time to choose a leader.
    importlib.import_module("airflow_backbone.celery_transport").PATIENCE = 120

    @made.task(name="leave_trace")
    def leave_trace(number: int) -> None:
        time.sleep(SECONDS)
        with Path(os.environ["CLUSTER_TRACE"]).open("a", encoding="utf-8") as trace:
            trace.write(f"{number}\n")

    return made


class GivenUpError(BaseException):
    """As Airflow's AirflowTaskTimeout, which no retry catches either."""


def give_up(*_signal: object) -> None:
    raise GivenUpError


def publish(count: int, pause: float, limit: float) -> dict[str, Any]:
    """Send numbered tasks, one after the other, as Airflow's executor does.

    It gives each so many seconds, and tries again where these are over, but not after an error.
    """
    signal.signal(signal.SIGALRM, give_up)
    task = application(None).tasks["leave_trace"]
    taken, errors, slowest = [], {}, 0.0
    for number in range(count):
        begun = time.monotonic()
        for _attempt in range(1 + ATTEMPTS_AGAIN):
            signal.setitimer(signal.ITIMER_REAL, limit)
            try:
                task.apply_async(args=[number], queue=QUEUE)
                taken.append(number)
                break
            except GivenUpError:
                continue
            except Exception as error:
                errors[number] = f"{type(error).__name__}: {error} ({error.__cause__!r})"
                break
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            errors[number] = "no node took it in time"
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(pause)
    return {"taken": taken, "errors": errors, "slowest": round(slowest, 1)}


if __name__ == "__main__":
    json.dump(publish(int(sys.argv[1]), *map(float, sys.argv[2:])), sys.stdout)
elif "WALL_POOL" in os.environ:
    app = application(os.environ["WALL_POOL"])
