# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""On which hosts the playbooks' plays run, where no host runs a component of Airflow's."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

PLAYBOOKS = sorted((pathlib.Path(__file__).parents[2] / "playbooks").glob("*.yml"))

OF_HOSTS_ALONE = {"Nodes"}
"""The plays that are about the hosts of components, which a cluster has not."""


def plays() -> list[Any]:
    return [
        pytest.param(play, id=f"{path.stem}-{play['name']}")
        for path in PLAYBOOKS
        for play in yaml.safe_load(path.read_text(encoding="utf-8"))
        if "airflow_control" in play.get("hosts", "").split(":")
    ]


def test_there_are_such_plays() -> None:
    assert {play.id.split("-")[0] for play in plays()} == {"dags", "queues", "rollback_dags", "site", "verify"}


@pytest.mark.parametrize("play", plays())
def test_the_publisher_stands_in_for_the_hosts_of_components(play: dict[str, Any]) -> None:
    assert ("airflow_publisher" in play["hosts"].split(":")) == (play["name"] not in OF_HOSTS_ALONE)
