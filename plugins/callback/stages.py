# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: stages
type: aggregate
short_description: Shows how long each play of a run took
version_added: 0.1.0
author: Airstack Founders (@airstack)
description:
  - Takes each play of a run as one stage, says when it begins, and ends the run with a table of stages, their seconds,
    the number of task results that hosts returned, and how many of these were changes.
  - Counts results rather than task banners, so the figures hold under every strategy.
options:
  report:
    description:
      - File that receives the table as JSON when the run ends, for a program that compares runs.
      - Where it is not set, nothing is written.
    type: path
    env:
      - name: AIRSTACK_STAGES_REPORT
    ini:
      - section: callback_stages
        key: report
requirements:
  - O(ignore:callbacks_enabled) in C(ansible.cfg) must name it.
"""

EXAMPLES = r"""
configuration: |
  [defaults]
  callbacks_enabled = airstack.backbone.stages

sample output: |
  STAGES ****************************************************************
     stage               seconds  tasks  changed
  1  Plan                    0.7      2        0
  2  Hosts                  41.9     12        5
  3  Services and core      88.4    131       74
     total                 131.0    145       79

  # A run that had nothing to do ends so
  Nothing was changed.
"""

import dataclasses
import json
import pathlib
import time
import typing as t

from ansible.plugins.callback import CallbackBase

if t.TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook import Playbook
    from ansible.playbook.play import Play


@dataclasses.dataclass
class Stage:
    """One play. `seconds` is wall-clock time, over all of its serial batches."""

    name: str
    identity: str
    check_mode: bool = False
    seconds: float = 0.0
    tasks: int = 0
    changed: int = 0


class Stages:
    """What ran, in the order in which it began. Times are seconds of a clock that the caller reads."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.stages: list[Stage] = []
        self._running_since: float | None = None

    def begin(self, name: str, identity: str, now: float, check_mode: bool = False) -> bool:
        """Ends the running stage and begins one; False where it is only the next batch of the same play."""
        self.end(now)
        self._running_since = now
        if self.stages and self.stages[-1].identity == identity:
            return False
        self.stages.append(Stage(name=name, identity=identity, check_mode=check_mode))
        return True

    def end(self, now: float) -> None:
        """Ends the running stage; harmless where none runs."""
        if self._running_since is not None:
            self.stages[-1].seconds += now - self._running_since
            self._running_since = None

    def count(self, changed: bool) -> None:
        """Counts one host's result of one task."""
        if self.stages:
            self.stages[-1].tasks += 1
            self.stages[-1].changed += changed

    def report(self) -> dict[str, t.Any]:
        """The table as plain data: {stages: [{name, seconds, tasks, changed}], seconds, tasks, changed, check_mode}."""
        return {
            "stages": [
                {"name": s.name, "seconds": round(s.seconds, 1), "tasks": s.tasks, "changed": s.changed}
                for s in self.stages
            ],
            "seconds": round(sum(s.seconds for s in self.stages), 1),
            "tasks": sum(s.tasks for s in self.stages),
            "changed": sum(s.changed for s in self.stages),
            "check_mode": any(s.check_mode for s in self.stages),
        }

    def table(self) -> list[str]:
        """The table as lines for a person: the head, a line for each stage, the totals, and whether nothing changed."""
        report = self.report()
        rows = [(str(number), stage) for number, stage in enumerate(report["stages"], start=1)]
        rows.append(("", {**report, "name": "total"}))
        number_width = max(len(number) for number, stage in rows)
        name_width = max(len("stage"), *(len(stage["name"]) for number, stage in rows))
        changed = "would change" if report["check_mode"] else "changed"
        lines = [f"{'':>{number_width}}  {'stage':<{name_width}}  {'seconds':>8}  {'tasks':>6}  {changed}"]
        for number, stage in rows:
            lines.append(
                f"{number:>{number_width}}  {stage['name']:<{name_width}}  {stage['seconds']:>8.1f}"
                f"  {stage['tasks']:>6}  {stage['changed']:>{len(changed)}}"
            )
        if not report["changed"]:
            lines.append("Nothing would be changed." if report["check_mode"] else "Nothing was changed.")
        return lines


def elapsed(seconds: float) -> str:
    """Minutes and seconds as 3:07."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


class CallbackModule(CallbackBase):
    """Feeds Stages from the run and shows what it holds."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "airstack.backbone.stages"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._stages = Stages(started=time.monotonic())
        self._expected = 0

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._expected += len(playbook.get_plays())

    def v2_playbook_on_play_start(self, play: Play) -> None:
        now = time.monotonic()
        check_mode = bool(play.check_mode)
        if self._stages.begin(play.get_name().strip(), str(play._uuid), now, check_mode):
            number = len(self._stages.stages)
            mode = ", in check mode" if check_mode else ""
            self._display.display(
                f"stage {number} of {max(number, self._expected)}"
                f" begins {elapsed(now - self._stages.started)} after the start{mode}"
            )

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._stages.count(changed=result.is_changed())

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._stages.count(changed=result.is_changed())

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._stages.count(changed=False)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        self._stages.end(time.monotonic())
        if not self._stages.stages:
            return
        self._display.banner("STAGES")
        for line in self._stages.table():
            self._display.display(line)
        path = self.get_option("report")
        if path:
            pathlib.Path(path).write_text(json.dumps(self._stages.report(), indent=2) + "\n", encoding="utf-8")
