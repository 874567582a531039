# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a DAG source on the controller, asks the managed host for that release, and sends what is missing there."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import ARGUMENTS
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import Timer
from ansible_collections.airstack.backbone.plugins.module_utils._dags.sources import (
    Entry,
    SourceProblems,
    directory_to_publish,
    identity,
    pack,
    refusal,
    scan,
    tree_hash,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.sync import DIFF_BYTES, wanted

MODULE = "airstack.backbone.dag_sync"

ATTEMPTS = 2
"""The second is for when somebody else publishes between the asking and the sending."""


class ActionModule(ActionBase):
    """With `remote_src`, all of it happens on the managed host."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See plugins/modules/dag_sync.py for the arguments and what is returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, read = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if not read["src"]:  # a path without a name is the directory that Ansible happens to run in
            raise AnsibleActionFail("src is empty; name the directory to publish")
        # Paths in them are the managed host's; the module reads them again, and the same way.
        arguments = dict(self._task.args)
        if read["remote_src"]:
            return {**result, **self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)}
        arguments["publisher"] = read["publisher"] or identity()
        try:
            return {**result, **self._publish(read, arguments, task_vars or {})}
        except SourceProblems as error:
            message = refusal(read["source"], error.problems)
            return {**result, "failed": True, "msg": message, "problems": error.problems}

    def _publish(self, read: Mapping[str, Any], arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        timer = Timer()
        root = directory_to_publish(self._find(read["src"]), read["subdirectory"])
        with timer.phase("read"):
            entries = scan(root, read["exclude"])
        arguments["tree"] = tree_hash(entries)
        for _attempt in range(ATTEMPTS):
            with timer.phase("ask"):
                answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
            if answer.get("is_missing"):
                answer = self._send(root, entries, answer["held"], arguments, task_vars, timer)
            if not answer.pop("is_outdated", False):
                break
        return _timed(answer, timer)

    def _find(self, src: str) -> Path:
        if Path(src).is_absolute():
            return Path(src)
        try:
            return Path(self._find_needle("files", src))
        except AnsibleError as error:
            raise AnsibleActionFail(f"src: {error.message}") from None

    def _send(
        self,
        root: Path,
        entries: Sequence[Entry],
        held: Collection[str],
        arguments: Mapping[str, Any],
        task_vars: Mapping[str, Any],
        timer: Timer,
    ) -> dict[str, Any]:
        digests = self._to_send(entries, frozenset(held))
        try:
            # A directory of its own: what is in it goes with it, also when the transfer fails.
            with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP) as directory:
                packed = Path(directory) / "source.tar.gz"
                with timer.phase("pack"), packed.open("wb") as file:
                    pack(root, entries, digests, file)
                with timer.phase("send"):
                    # Without pipelining the asking made one already. Ansible removes it when the task ends.
                    folder = self._connection._shell.tmpdir or self._make_tmp_path()
                    remote = self._connection._shell.join_path(folder, packed.name)
                    self._transfer_file(str(packed), remote)
                    self._fixup_perms2((folder, remote))
        except OSError as error:
            place = error.filename or constants.DEFAULT_LOCAL_TMP
            raise AnsibleActionFail(
                f"The controller could not pack what is missing on the managed host: {place}: {error.strerror or error}."
                " Make room there, or set Ansible's local_tmp to another directory."
            ) from None
        return self._execute_module(
            module_name=MODULE, module_args={**arguments, "packed": remote}, task_vars=task_vars
        )

    def _to_send(self, entries: Sequence[Entry], held: frozenset[str]) -> set[str]:
        """Return the digests of the contents that the managed host lacks and needs; for a diff, only small ones."""
        missing = wanted(entries, held)
        if self._task.check_mode:
            missing = [entry for entry in missing if self._task.diff and entry.size <= DIFF_BYTES]
        return {entry.digest for entry in missing}


def _timed(answer: dict[str, Any], timer: Timer) -> dict[str, Any]:
    """Return the module's answer with the seconds of both sides."""
    if "seconds" not in answer:
        return answer
    return {**answer, "seconds": {**timer.seconds, **answer["seconds"]}}
