"""A very small model of which customers leave."""

from __future__ import annotations

import random
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple


class Customer(NamedTuple):
    """A customer, described by the days since the last order, and whether it left."""

    days: int
    left: bool


def customers(batch: int, size: int = 200) -> list[Customer]:
    """Return the customers of a batch; the same ones each time."""
    source = random.Random(batch)
    return [Customer(days, days + source.randrange(-60, 60) > 180) for days in source.choices(range(365), k=size)]


def train(known: Iterable[Customer]) -> float:
    """Return the number of days after which more customers have left than stayed."""
    left, stayed = [], []
    for customer in known:
        (left if customer.left else stayed).append(customer.days)
    return (fmean(left) + fmean(stayed)) / 2


def score(threshold: float, asked: Iterable[Customer]) -> float:
    """Return the share of customers that the model is right about."""
    return fmean((customer.days > threshold) == customer.left for customer in asked)
