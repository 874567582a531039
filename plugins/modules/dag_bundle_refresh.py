#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_bundle_refresh
short_description: Tell Airflow of new DAG releases, and wait until it has them
version_added: 0.1.0
description:
  - Asks Airflow's REST API to parse a file of each bundle, which makes the dag-processor look which release is current
    instead of waiting for the bundle's C(refresh_interval).
  - Then has it parse what it does not have as the release says, until all of it is there or until O(timeout).
  - Of a bundle without any DAG nothing can be announced. Its release is found within the C(refresh_interval).
  - Nothing lasting is changed. In check mode nothing is asked.
extends_documentation_fragment:
  - airstack.backbone.api
  - airstack.backbone.attributes
options:
  bundles:
    description: The release that is current now, by the bundle's name.
    type: dict
    required: true
  dags:
    description:
      - The dag_ids that a release defines, by the bundle's name, where they are known. All of them are waited for.
      - Of another bundle the release is seen when nothing is behind in two looks in a row. Airflow tells nothing of new
        files before it has parsed them, so one that takes longer can come after that.
    type: dict
    default: {}
  wait:
    description:
      - Whether to wait until Airflow has the releases.
      - Without waiting, the file that is announced may stand as in the former release for
        C([dag_processor] min_file_process_interval), since the dag-processor reads it from there once more.
    type: bool
    default: true
  timeout:
    description: Seconds to wait.
    type: int
    default: 60
  required:
    description: Whether to fail when no API server answers, or when a release was not seen whole in time.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode, where it asks nothing.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
author:
  - Airstack Founders (@airstack)
notes:
  - The bundles have to be those of C(airflow_backbone.bundle.ReleaseDagBundle), each named as its source.
  - With a C([core] min_serialized_dag_update_interval) of more than 0 a DAG that was changed twice within it shows its
    second change only then. This is waited for, except where the second change is a rollback.
seealso:
  - module: airstack.backbone.dag_bundle_info
  - module: airstack.backbone.dag_sync
"""

EXAMPLES = r"""
- name: Show the new release in the UI within seconds
  airstack.backbone.dag_bundle_refresh:
    hosts: [10.0.0.21, 10.0.0.22]
    port: 8080
    user: admin
    password: "{{ airflow_secrets.admin }}"
    bundles:
      etl: 3f9c1b7a2d40-91d5e0c2b7f3a684
  register: announced

- name: Say what is not there yet
  ansible.builtin.debug:
    msg: "{{ announced.message }}"
  when: announced.message
"""

RETURN = r"""
is_answering:
  description: Whether an API server answered. False in check mode.
  returned: success
  type: bool
  sample: true
reason:
  description: What each of the servers said instead; empty where one answered.
  returned: success
  type: str
  sample: "http://10.0.0.21:8080: Connection refused"
message:
  description: What a person should know of releases that were not seen, or have import errors. Empty when all is well.
  returned: success
  type: str
  sample: "etl: Airflow did not take up the release 3f9c1b7a2d40-91d5e0c2b7f3a684 within 60 s; look at ..."
bundles:
  description: How far Airflow is with each release, by the bundle's name. Empty without an API server's answer.
  returned: success
  type: dict
  contains:
    release:
      description: The release that was announced.
      type: str
    seen:
      description: Whether all of the bundle's DAGs are those of the release, or stand among its import errors.
      type: bool
    was_told:
      description: Whether it was announced. False for a release that was seen at once, and for a bundle without DAGs.
      type: bool
    seconds:
      description: How long it took until it was seen. Null where it was not.
      type: float
    dags:
      description: The dag_ids that Airflow has of the bundle.
      type: list
      elements: str
    behind:
      description: Those that are not as the release has them.
      type: list
      elements: str
    former_errors:
      description: Files whose import error comes from another release.
      type: list
      elements: str
    import_errors:
      description: The files that could not be read, each with the text that Airflow's UI shows.
      type: list
      elements: dict
      contains:
        file:
          description: Its path in the bundle.
          type: str
        text:
          description: What went wrong.
          type: str
  sample:
    etl:
      release: 3f9c1b7a2d40-91d5e0c2b7f3a684
      seen: true
      was_told: true
      seconds: 2.1
      dags: [extract, load]
      behind: []
      former_errors: []
      import_errors: []
"""

import ssl
import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _api
from ansible_collections.airstack.backbone.plugins.module_utils._dags import bundles

POLL_SECONDS = 1.0
"""The dag-processor's loop takes 1 s at least (dag_processing/manager.py: _run_parsing_loop)."""

CONFLICT = 409
"""The same file was announced before, and the dag-processor did not come to it yet."""

NOT_FOUND = 404


class Announced:
    """One release of a bundle, from its announcement until Airflow has it."""

    def __init__(self, bundle: str, release: str, expected: list[str] | None = None) -> None:
        self.bundle = bundle
        self.release = release
        self.seen: bundles.Standing | None = None
        self.seconds: float | None = None
        self._expected = expected
        self._begun = time.monotonic()
        self._told: dict[str, bundles.Told] = {}
        self._was_empty: bool | None = None
        self._former: dict[str, str] = {}

    @property
    def is_done(self) -> bool:
        return self.seconds is not None

    def look(self, api: _api.Api) -> None:
        """Look how far Airflow is, and announce what is due."""
        dags = api.all("dags", "dags", order_by="dag_id", bundle_name=self.bundle)
        errors = api.all("importErrors", "import_errors", order_by="id", bundle_name=self.bundle)
        if self._was_empty is None:
            self._was_empty = not (dags or errors)
            self._former = {error["filename"]: error["timestamp"] for error in errors}
        before, self.seen = self.seen, self._standing(api, dags, errors)
        if self.seen.is_seen:
            # DAGs and errors are two answers between which a file may be parsed, and new files may be still to come
            if self._expected is not None or self.seen == before:
                self.seconds = round(time.monotonic() - self._begun, 1)
            return
        if self.seen.is_taken_up and self.seen.former_errors:
            dags += self._stale(api, limit=_api.PAGE, has_import_errors="true")
        elif not dags:
            dags = self._stale(api, limit=1)
        self._tell(api, self.seen, dags, errors)

    def report(self) -> dict[str, Any]:
        """The bundle as the module returns it."""
        seen = self.seen or bundles.Standing((), (), (), (), is_taken_up=False)
        return {
            "release": self.release,
            "seen": seen.is_seen,
            "was_told": bool(self._told),
            "seconds": self.seconds,
            "dags": list(seen.dags),
            "behind": list(seen.behind),
            "former_errors": list(seen.former_errors),
            "import_errors": list(seen.import_errors),
        }

    def message(self) -> str:
        """What a person should know of it; empty where all is well."""
        if self.seen and self.seen.is_seen:
            return bundles.broken(self.bundle, self.release, self.seen)
        seconds = time.monotonic() - self._begun
        return bundles.explain(self.bundle, self.release, self.seen, was_told=bool(self._told), seconds=seconds)

    def _standing(self, api: _api.Api, dags: list[dict[str, Any]], errors: list[dict[str, Any]]) -> bundles.Standing:
        def standing(written: set[str] | None) -> bundles.Standing:
            return bundles.standing(
                self.bundle,
                self.release,
                dags,
                errors,
                expected=self._expected,
                written=written,
                was_empty=bool(self._was_empty),
                fresh={
                    error["filename"] for error in errors if self._former.get(error["filename"]) != error["timestamp"]
                },
            )

        seen = standing(None)
        if not (seen.is_seen and dags):
            return seen
        of_release = {"bundle_name": self.bundle, "bundle_version": self.release}
        versions = api.all("dags/~/dagVersions", "dag_versions", order_by="id", **of_release)
        return standing({version["dag_id"] for version in versions})

    def _stale(self, api: _api.Api, **query: Any) -> list[dict[str, Any]]:
        """DAGs that the bundle had, too: announcing one makes the bundle look, even if its file is gone."""
        found: list[dict[str, Any]] = api.get(
            "dags", bundle_name=self.bundle, exclude_stale="false", order_by="dag_id", **query
        )["dags"]
        return found

    def _tell(
        self, api: _api.Api, seen: bundles.Standing, dags: list[dict[str, Any]], errors: list[dict[str, Any]]
    ) -> None:
        due = bundles.to_tell(seen, self.release, dags, errors, self._told, time.monotonic())
        for token, parsed in due.items():
            try:
                api.put(f"parseDagFile/{_api.quoted(token)}")
            except _api.Failed as error:
                if error.status == NOT_FOUND:
                    continue
                if error.status != CONFLICT:
                    raise
            self._told[token] = bundles.Told(time.monotonic(), parsed)


def follow(api: _api.Api, announced: list[Announced], deadline: float | None) -> bool:
    """Look until all releases are seen or the time is over; once without a deadline. Returns that it was answered."""
    while True:
        begun = time.monotonic()
        for each in announced:
            if not each.is_done:
                each.look(api)
        # A look at thousands of DAGs takes long, and the API server has others to answer.
        pause = max(POLL_SECONDS, time.monotonic() - begun)
        if all(each.is_done for each in announced) or deadline is None or time.monotonic() + pause > deadline:
            return True
        time.sleep(pause)


def announce(wanted: Mapping[str, Any], context: ssl.SSLContext, announced: list[Announced]) -> tuple[bool | None, str]:
    """Follow the releases through whichever API server answers, as _api.first_answer gives it.

    One that stops answering after a first look is being restarted, and is waited for.
    """
    deadline = time.monotonic() + wanted["timeout"] if wanted["wait"] else None
    while True:
        answer = _api.first_answer(wanted, context, lambda api: follow(api, announced, deadline))
        was_there = any(each.seen for each in announced)
        if answer[0] or not was_there or deadline is None or time.monotonic() + POLL_SECONDS > deadline:
            return answer
        time.sleep(POLL_SECONDS)


def problems(wanted: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments, in words."""
    return [
        *(
            f"bundles.{bundle}: the name of a release is needed, found {release!r}"
            for bundle, release in wanted["bundles"].items()
            if not (isinstance(release, str) and release)
        ),
        *(
            f"dags.{bundle}: a list of dag_ids is needed, found {dags!r}"
            for bundle, dags in wanted["dags"].items()
            if not (isinstance(dags, list) and all(isinstance(dag, str) for dag in dags))
        ),
    ]


def main() -> None:
    """Read the arguments, announce, wait, say what was seen."""
    module = AnsibleModule(
        argument_spec={
            **_api.ARGUMENT_SPEC,
            "bundles": {"type": "dict", "required": True},
            "dags": {"type": "dict", "default": {}},
            "wait": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 60},
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    wrong = problems(wanted)
    if wrong:
        module.fail_json(msg="\n".join(wrong))
    if module.check_mode:
        module.exit_json(changed=False, is_answering=False, reason="check mode asks nothing", message="", bundles={})
    announced = [
        Announced(bundle, release, wanted["dags"].get(bundle)) for bundle, release in sorted(wanted["bundles"].items())
    ]
    is_answering, said = announce(wanted, _api.trusted(module), announced)
    if not is_answering:
        if wanted["required"]:
            module.fail_json(msg=f"Airflow's REST API was to be told of releases and did not answer: {said}")
        module.exit_json(changed=False, is_answering=False, reason=said, message="", bundles={})
    message = "\n".join(filter(None, (each.message() for each in announced))) if wanted["wait"] else ""
    outcome = {"message": message, "bundles": {each.bundle: each.report() for each in announced}}
    if wanted["wait"] and wanted["required"] and not all(each.seen and each.seen.is_seen for each in announced):
        module.fail_json(msg=message, is_answering=True, reason="", **outcome)
    module.exit_json(changed=False, is_answering=True, reason="", **outcome)


if __name__ == "__main__":
    main()
