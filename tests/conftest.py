# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is skipped in CI (CI=true) fails there, so that nothing is silently left out, but for reasons that hold in CI, too."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import TypeVar

import pytest

HOLDS_IN_CI = frozenset(
    {
        # What the platform of a scenario has not, and another's has.
        "needs RabbitMQ",
        "needs RabbitMQ on a host of the platform",
        "needs SQS",
        "needs a broker of several nodes",
        "needs a broker with remote control, which SQS has not",
        "needs a host of the platform that is no client of the database",
        "needs a platform of two teams",
        "needs a platform whose queues nobody consumes",
        "needs a pool and a source of one name",
        "needs a pool that does not run the first source",
        "needs a pool that reads other sources",
        "needs a platform on Docker Swarm",
        "needs a platform on Kubernetes",
        "needs a platform whose components run in containers",
        "needs a user of a team",
        "needs the platform's own object store",
        # What a pipeline may have somewhere, and scripts/setup installs nowhere.
        "needs a Kubernetes cluster",
        # What a container may not, whoever started it.
        "needs loop devices and a kernel with btrfs",
        "needs the right to make devices",
        "needs the right to mount a filesystem",
        # What depends on the machine's distribution.
        "needs Debian's python3-apt on this machine",
        "needs a package that this machine's lists have and that is not installed",
    }
)
"""The reasons, each up to its first colon or semicolon; what follows tells more."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped, by a mark, a fixture or itself."""
    return _in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that is skipped as a whole."""
    return _in_ci((yield))


def _in_ci(report: Report) -> Report:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if re.split("[:;]", reason)[0] not in HOLDS_IN_CI:
        report.outcome = "failed"
        report.longrepr = (
            f"Skipped in CI: {reason}.\nLet scripts/setup install what is missing, or, where the reason holds in CI as well, name"
            " it in HOLDS_IN_CI of tests/conftest.py."
        )
    return report
