# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what lies on the controller, asks the managed host for those releases, and sends what is missing there."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import (
    ARGUMENTS,
    argument_problems,
    given_origin,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import kinds
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import (
    NOTHING,
    Content,
    Origin,
    Revision,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.sent import pack
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import Timer, identity
from ansible_collections.airstack.backbone.plugins.module_utils._dags.report import DIFF_BYTES
from ansible_collections.airstack.backbone.plugins.module_utils._dags.staging import wanted
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import SourceProblems, refusal, tree_hash

MODULE = "airstack.backbone.dag_sync"

ATTEMPTS = 2
"""The second is for when somebody else publishes between the asking and the sending."""


KILLED_CODES = (-9, 137)
"""SIGKILL, as Python and as a shell tell it."""

KILLED = (
    "The publisher on the host was killed, by somebody or by the kernel for want of memory. What was current still is. Run"
    " this again: what was left half-made is removed then."
)


class ActionModule(ActionBase):
    """What is on the managed host, or on a server that it reaches, is the module's alone."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See plugins/modules/dag_sync.py for the arguments and what is returned."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, read = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # Paths in them are the managed host's; the module reads them again, and the same way.
        arguments = {**self._task.args, "publisher": read["publisher"] or identity()}
        problems = argument_problems(read)
        timer = Timer()
        try:
            with ExitStack() as stack:
                with timer.phase("read"):
                    local, unread = self._read(stack, read) if not problems else ({}, [])
                problems += unread
                if problems:
                    return {**result, "failed": True, "msg": "\n".join(problems)}
                answer = self._publish(local, arguments, read["sources"], task_vars or {}, timer)
        except SourceProblems as error:
            return {**result, "failed": True, "msg": "\n".join(error.problems)}
        return {**result, **answer, "seconds": timer.seconds}

    def _read(
        self, stack: ExitStack, read: Mapping[str, Any]
    ) -> tuple[dict[str, tuple[Content, Revision | None]], list[str]]:
        """The contents that lie on the controller and their revisions, by source, and everything that is wrong with them."""
        found: dict[str, tuple[Content, Revision | None]] = {}
        problems = []
        if read["state"] not in ("present", "staged"):
            return {}, []
        for source in read["sources"]:
            kind = given_origin(source)
            if source["remote_src"] or source["read"] or kind not in ("path", "archive"):
                continue
            try:
                origin = self._origin(source, kind)
                found[source["name"]] = stack.enter_context(origin.open(NOTHING)), origin.revision()
            except SourceProblems as error:
                problems.append(refusal(source["name"], error.problems))
        return found, problems

    def _origin(self, source: Mapping[str, Any], kind: str) -> Origin:
        place = Path(source[kind])
        if not place.is_absolute():
            try:
                place = Path(self._find_needle("files", str(place)))
            except AnsibleError as error:
                raise SourceProblems([f"{kind}: {error.message.rstrip('.')}{kinds.ELSEWHERE}"]) from None
        return kinds.origin({**source, kind: str(place)}, Path(constants.DEFAULT_LOCAL_TMP), kinds.ON_CONTROLLER)

    def _publish(
        self,
        local: Mapping[str, tuple[Content, Revision | None]],
        arguments: dict[str, Any],
        sources: list[dict[str, Any]],
        task_vars: Mapping[str, Any],
        timer: Timer,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for _attempt in range(ATTEMPTS):
            with timer.phase("ask"):
                answer = self._ask(arguments, sources, _told(local), task_vars)
            if "missing" in answer:
                with self._sent(local, answer["missing"], timer) as packed, timer.phase("publish"):
                    answer = self._ask(arguments, sources, _told(local, packed), task_vars)
            if not answer.pop("is_outdated", False):
                break
        return answer

    def _ask(
        self,
        arguments: Mapping[str, Any],
        sources: list[dict[str, Any]],
        told: Mapping[str, dict[str, Any]],
        task_vars: Mapping[str, Any],
    ) -> dict[str, Any]:
        raw = self._task.args["sources"] if isinstance(self._task.args["sources"], list) else sources
        given = [{**each, **told.get(source["name"], {})} for each, source in zip(raw, sources, strict=True)]
        answer: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args={**arguments, "sources": given}, task_vars=dict(task_vars)
        )
        return {**answer, "msg": KILLED} if answer.get("rc") in KILLED_CODES and "module_stdout" in answer else answer

    @contextmanager
    def _sent(
        self, local: Mapping[str, tuple[Content, Revision | None]], missing: Mapping[str, list[str]], timer: Timer
    ) -> Iterator[dict[str, str]]:
        """The paths on the managed host of what is missing there, by source."""
        packed = {}
        try:
            # A directory of its own: what is in it goes with it, also when the transfer fails.
            with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP) as directory:
                for number, (name, held) in enumerate(missing.items()):
                    content, _revision = local[name]
                    file = Path(directory) / f"{number}.tar.gz"  # a source's name may be as long as any can be
                    with timer.phase("pack"), file.open("wb") as stream:
                        pack(content, self._to_send(content, frozenset(held)), stream)
                    with timer.phase("send"):
                        packed[name] = self._send(file)
        except OSError as error:
            place = error.filename or constants.DEFAULT_LOCAL_TMP
            raise AnsibleActionFail(
                f"The controller could not pack what is missing on the managed host: {place}: {error.strerror or error}."
                " Make room there, or set Ansible's local_tmp to another directory."
            ) from None
        except SourceProblems as error:
            raise SourceProblems([refusal(name, error.problems)]) from None
        yield packed

    def _send(self, file: Path) -> str:
        # Without pipelining the asking made one already. Ansible removes it when the task ends.
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        remote = self._connection._shell.join_path(folder, file.name)
        self._transfer_file(str(file), remote)
        self._fixup_perms2((folder, remote))
        return str(remote)

    def _to_send(self, content: Content, held: Collection[str]) -> set[str]:
        """Return the digests of the contents that the managed host lacks and needs; for a diff, only small ones."""
        missing = wanted(content.entries, held)
        if self._task.check_mode:
            missing = [entry for entry in missing if self._task.diff and entry.size <= DIFF_BYTES]
        return {entry.digest for entry in missing}


def _told(
    local: Mapping[str, tuple[Content, Revision | None]], packed: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """What the module is told of the sources that were read here."""
    return {
        name: {
            "read": {"tree": tree_hash(content.entries), "revision": revision},
            **({"packed": packed[name]} if packed and name in packed else {}),
        }
        for name, (content, revision) in local.items()
    }
