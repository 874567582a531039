# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The forms of names that several parts of a description share."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from .fields import matching
from .problems import Problem

LONGEST_QUEUE = 80  # SQS's limit for a queue's name, the tightest of the brokers'

name = matching(
    r"[a-z][a-z0-9_]{0,31}",
    "a name of lower-case letters, digits and underscores that begins with a letter, up to 32 characters",
)
team = matching(
    r"[a-z][a-z0-9_]{2,49}",
    "a team's name of lower-case letters, digits and underscores that begins with a letter, of 3 to 50 characters",
)
queue = matching(
    rf"(?!celery)[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_QUEUE - 1}}}",
    f"a queue's name: letters, digits, underscores and hyphens, up to {LONGEST_QUEUE} characters, not beginning with"
    " celery",
)
url = matching(
    r"https?://[^\s/@]+(/[^\s@]*[^\s@/])?", "an address such as https://objects.example.com:8080, without credentials"
)
BROKER_URL = re.compile(
    r"(?P<scheme>amqps?|rediss?)://(?:(?P<user>[A-Za-z0-9_.~-]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<path>[A-Za-z0-9_.~-]*))?"
)
broker_url = matching(
    BROKER_URL.pattern,
    "a broker's address without a password, such as amqps://airflow@broker.example.com/airflow or"
    " rediss://airflow@broker.example.com:6379/0",
)
DATABASE_URL = re.compile(
    r"postgresql://(?P<user>[A-Za-z0-9_.~-]+)@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)(?::(?P<port>[0-9]{1,5}))?"
    r"/(?P<name>[A-Za-z0-9_.~-]+)"
)
database_url = matching(
    DATABASE_URL.pattern, "a database's address without a password, such as postgresql://airflow@db.example.com/airflow"
)
database_user = matching(r"[A-Za-z0-9_.~-]{1,63}", "a role of the database")
broker_user = matching(
    r"[A-Za-z0-9_.~+/=-]{1,128}", "a user of the broker or, of SQS, the public part of an access key"
)
region = matching(r"[a-z0-9-]{1,40}", "a region's name, such as eu-west-1")
access_key = matching(r"[^\s\0]{1,128}", "an access key's public part")


def network(value: Any, where: str, problems: list[Problem]) -> str | None:
    """The address of a network, as PostgreSQL's access list and a firewall take it."""
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) and "/" in value else ""))
    except ValueError:
        problems.append(
            Problem(where, value, "a network's address with its length and no host's bits, such as 10.244.0.0/16")
        )
        return None
