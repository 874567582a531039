"""Sleeps for as long as the run asks."""

from __future__ import annotations

import socket
import time

from airflow.sdk import DAG, Param, task

with DAG(
    "etl_wait",
    schedule=None,
    params={"seconds": Param(20, type="integer", minimum=0, description="How long the first task sleeps")},
    tags=["etl"],
):

    @task
    def sleep(params: dict[str, int]) -> str:
        host = socket.gethostname()
        print(f"{host}: sleeping for {params['seconds']} s")
        time.sleep(params["seconds"])
        return host

    @task
    def report(slept_on: str) -> str:
        host = socket.gethostname()
        print(f"{host}: awake again, slept on {slept_on}")
        return host

    report(sleep())
