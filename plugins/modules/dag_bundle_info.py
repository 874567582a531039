#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_bundle_info
short_description: Tell what Airflow knows of DAG bundles, and which of their releases are in use
version_added: 0.1.0
description:
  - Asks Airflow's REST API for the DAGs and import errors of each bundle, for the releases that unfinished DagRuns and
    running tasks use, and for pools.
  - Used before releases are pruned, and before a release is published whose DAGs must not be those of another source.
  - An API that does not answer is no failure of this module, unless O(required).
extends_documentation_fragment:
  - airstack.backbone.api
  - airstack.backbone.attributes
  - airstack.backbone.attributes.info
options:
  bundles:
    description: Names of the bundles to tell about. All that Airflow knows when left out.
    type: list
    elements: str
  required:
    description: Whether to fail when no API server answers.
    type: bool
    default: false
author:
  - Airstack Founders (@airstack)
notes:
  - The bundles have to be versioned, as those of C(airflow_backbone.bundle.ReleaseDagBundle) are. Of a DAG with
    C(disable_bundle_versioning) no run says what it uses.
seealso:
  - module: airstack.backbone.dag_bundle_refresh
  - module: airstack.backbone.dag_sync
"""

EXAMPLES = r"""
- name: Look which releases are in use
  airstack.backbone.dag_bundle_info:
    hosts: [10.0.0.21, 10.0.0.22]
    port: 8080
    user: admin
    password: "{{ airflow_secrets.admin }}"
    bundles: [etl]
  register: known

- name: Tell which must not be pruned
  ansible.builtin.debug:
    msg: "{{ known.bundles.etl.needed }}"
  when: known.is_answering
"""

RETURN = r"""
is_answering:
  description: Whether an API server answered all questions. Without one, what follows is empty and nothing is known.
  returned: success
  type: bool
  sample: true
reason:
  description: What each of the servers said instead; empty where one answered.
  returned: success
  type: str
  sample: "http://10.0.0.21:8080: Connection refused"
url:
  description: The server that answered. Null without one.
  returned: success
  type: str
  sample: http://10.0.0.21:8080
bundles:
  description: What is known of each bundle, by its name. A bundle that was asked for is there in any case.
  returned: success
  type: dict
  contains:
    versions:
      description: How many DAGs Airflow has of each release. New DagRuns begin with these.
      type: dict
      sample: {3f9c1b7a2d40-91d5e0c2b7f3a684: 3}
    dags:
      description: The dag_ids that Airflow has of it, those of removed files left out.
      type: list
      elements: str
      sample: [extract, load]
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
    in_use:
      description: The releases that unfinished DagRuns began with, and those of tasks that still run in finished ones.
      type: list
      elements: str
      sample: [1c77aa0b9e52-0a6f5d1e3c2b4788]
    needed:
      description: The releases that must not be pruned, which are those in use and those that new DagRuns begin with.
      type: list
      elements: str
      sample: [1c77aa0b9e52-0a6f5d1e3c2b4788, 3f9c1b7a2d40-91d5e0c2b7f3a684]
pools:
  description: The names of Airflow's pools.
  returned: success
  type: list
  elements: str
  sample: [default_pool]
pool_teams:
  description: The team of each of these pools that has one, where Airflow knows teams.
  returned: success
  type: dict
  sample: {etl_small: etl}
dags:
  description: The bundle of each DAG that Airflow has, whichever bundles were asked for.
  returned: success
  type: dict
  sample: {extract: etl, load: etl}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _api
from ansible_collections.airstack.backbone.plugins.module_utils._dags import bundles

NOT_FOUND = 404


def look(api: _api.Api, names: list[str] | None) -> dict[str, Any]:
    """What a server knows: bundles, pools and dags as the module returns them."""
    dags = api.all("dags", "dags", order_by="dag_id")
    errors = api.all("importErrors", "import_errors", order_by="id")
    pools = api.all("pools", "pools", order_by="id")
    # The tasks last: one that starts meanwhile belongs to a run that was unfinished before.
    runs = api.walk("dags/~/dagRuns", "dag_runs", order_by="id", state=bundles.UNFINISHED)
    tasks = api.walk("dags/~/dagRuns/~/taskInstances", "task_instances", order_by="id", state=bundles.AT_A_WORKER)
    runs += [run for stray in bundles.strays(runs, tasks) for run in _run(api, *stray)]
    return {
        "bundles": bundles.describe(names, dags, errors, runs, tasks),
        "pools": sorted(pool["name"] for pool in pools),
        "pool_teams": {pool["name"]: pool["team_name"] for pool in pools if pool.get("team_name")},
        "dags": {dag["dag_id"]: dag["bundle_name"] for dag in dags},
    }


def _run(api: _api.Api, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """The one DagRun; none where it was deleted meanwhile."""
    try:
        return [api.get(f"dags/{_api.quoted(dag_id)}/dagRuns/{_api.quoted(run_id)}")]
    except _api.Failed as error:
        if error.status == NOT_FOUND:
            return []
        raise


def main() -> None:
    """Read the arguments, ask, say what was answered."""
    module = AnsibleModule(
        argument_spec={
            **_api.ARGUMENT_SPEC,
            "bundles": {"type": "list", "elements": "str"},
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names = module.params["bundles"]
    answer, said = _api.first_answer(module.params, _api.trusted(module), lambda api: look(api, names))
    if answer is None and module.params["required"]:
        module.fail_json(msg=f"Airflow's REST API was asked for its DAG bundles and did not answer: {said}")
    nothing = {"bundles": bundles.describe(names or [], [], [], [], []), "pools": [], "pool_teams": {}, "dags": {}}
    module.exit_json(
        changed=False,
        is_answering=answer is not None,
        reason="" if answer else said,
        url=said if answer else None,
        **(answer or nothing),
    )


if __name__ == "__main__":
    main()
