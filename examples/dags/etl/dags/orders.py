"""Where orders come from."""

from __future__ import annotations

import random

SHOPS = ("utrecht", "gent", "aachen", "lille")


def read_orders(shop: str) -> list[int]:
    """Return the amounts of a shop's orders, in cents; the same ones each time."""
    amounts = random.Random(shop)
    return [amounts.randrange(100, 20_000) for _order in range(50)]
