"""One task for each shop's orders, then a sum that wants a machine with more memory."""

from __future__ import annotations

import socket

from airflow.sdk import DAG, task

from orders import SHOPS, read_orders

with DAG("etl_orders", schedule=None, tags=["etl"]):

    @task
    def list_shops() -> list[str]:
        print(f"{socket.gethostname()}: {len(SHOPS)} shops")
        return list(SHOPS)

    @task
    def load(shop: str) -> dict[str, str | int]:
        host = socket.gethostname()
        cents = sum(read_orders(shop))
        print(f"{host}: {shop} sold for {cents} cents")
        return {"shop": shop, "cents": cents, "host": host}

    @task(queue="etl_highmem")
    def total(loads: list[dict[str, str | int]]) -> str:
        host = socket.gethostname()
        print(f"{host}: {sum(int(load['cents']) for load in loads)} cents in all")
        return host

    total(load.expand(shop=list_shops()))
