# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.airstack.backbone.plugins.callback.stages import Stages, elapsed


@pytest.fixture(name="stages")
def three_stages() -> Stages:
    stages = Stages(started=100.0)
    stages.begin("Plan", "a", now=100.0)
    stages.count(changed=False)
    stages.begin("Services and core", "b", now=100.7)
    for changed in (True, False, True):
        stages.count(changed)
    stages.begin("Verify", "c", now=150.2)
    stages.end(now=151.2)
    return stages


def test_a_stage_lasts_until_the_next_one_begins(stages: Stages) -> None:
    assert [(s.name, round(s.seconds, 3)) for s in stages.stages] == [
        ("Plan", 0.7),
        ("Services and core", 49.5),
        ("Verify", 1.0),
    ]


def test_results_count_for_the_stage_that_runs(stages: Stages) -> None:
    assert [(s.tasks, s.changed) for s in stages.stages] == [(1, 0), (3, 2), (0, 0)]


def test_serial_batches_of_a_play_are_one_stage() -> None:
    stages = Stages(started=0.0)
    assert stages.begin("Components", "a", now=0.0) is True
    stages.count(changed=True)
    assert stages.begin("Components", "a", now=4.0) is False
    stages.count(changed=True)
    stages.end(now=10.0)
    assert [(s.name, s.seconds, s.tasks) for s in stages.stages] == [("Components", 10.0, 2)]


def test_two_plays_of_one_name_are_two_stages() -> None:
    stages = Stages(started=0.0)
    stages.begin("Components", "a", now=0.0)
    assert stages.begin("Components", "b", now=4.0) is True
    assert len(stages.stages) == 2


def test_time_after_the_end_counts_for_no_stage(stages: Stages) -> None:
    before = stages.report()
    stages.end(now=999.0)
    assert stages.report() == before


def test_a_result_before_the_first_stage_is_left_out() -> None:
    stages = Stages(started=0.0)
    stages.count(changed=True)
    assert stages.report() == {"stages": [], "seconds": 0, "tasks": 0, "changed": 0, "check_mode": False}


def test_report_adds_up(stages: Stages) -> None:
    report = stages.report()
    assert report["stages"][1] == {"name": "Services and core", "seconds": 49.5, "tasks": 3, "changed": 2}
    assert (report["seconds"], report["tasks"], report["changed"]) == (51.2, 4, 2)


def test_table(stages: Stages) -> None:
    assert stages.table() == [
        "   stage               seconds   tasks  changed",
        "1  Plan                    0.7       1        0",
        "2  Services and core      49.5       3        2",
        "3  Verify                  1.0       0        0",
        "   total                  51.2       4        2",
    ]


def test_table_of_a_dry_run_says_what_would_change() -> None:
    stages = Stages(started=0.0)
    stages.begin("Plan", "a", now=0.0, check_mode=True)
    stages.count(changed=True)
    stages.end(now=1.0)
    assert stages.table() == [
        "   stage   seconds   tasks  would change",
        "1  Plan        1.0       1             1",
        "   total       1.0       1             1",
    ]


@pytest.mark.parametrize(("check_mode", "text"), [(False, "Nothing was changed."), (True, "Nothing would be changed.")])
def test_a_run_that_changed_nothing_says_so(check_mode: bool, text: str) -> None:
    stages = Stages(started=0.0)
    stages.begin("Plan", "a", now=0.0, check_mode=check_mode)
    stages.count(changed=False)
    stages.end(now=1.0)
    assert stages.table()[-1] == text


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "0:00"), (59.99, "0:59"), (187, "3:07"), (3661, "61:01")])
def test_elapsed(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
