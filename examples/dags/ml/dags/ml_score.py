"""Scores batches of customers, one task for each."""

from __future__ import annotations

import socket

from airflow.sdk import DAG, task

from churn.model import customers, score, train

BATCHES = [1, 2, 3]

with DAG("ml_score", schedule=None, tags=["ml"]):

    @task
    def threshold() -> float:
        print(f"{socket.gethostname()}: training")
        return train(customers(batch=0))

    @task
    def rate(batch: int, threshold: float) -> str:
        host = socket.gethostname()
        print(f"{host}: right about {score(threshold, customers(batch)):.0%} of batch {batch}")
        return host

    rate.partial(threshold=threshold()).expand(batch=BATCHES)
