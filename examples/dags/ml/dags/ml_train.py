"""Trains the churn model."""

from __future__ import annotations

import socket
import time

from airflow.sdk import DAG, task

from churn.model import customers, train

with DAG("ml_train", schedule=None, tags=["ml"]):

    @task
    def fit() -> dict[str, str | float]:
        host = socket.gethostname()
        threshold = train(customers(batch=0))
        time.sleep(5)  # as if there were more of them
        print(f"{host}: customers leave after {threshold:.0f} days")
        return {"threshold": threshold, "host": host}

    fit()
