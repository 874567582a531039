#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_sync
short_description: Publish a DAG source as an immutable release
version_added: 0.1.0
description:
  - Publishes the content of a directory in the DAG storage as a release, C(<storage>/<source>/releases/<release>), and
    then renames the symbolic link C(<storage>/<source>/current) to it. Readers see either all of the old release or
    all of the new one.
  - A release is named after its content, so that the same content is the same release, whoever publishes it and when.
    Content that is current already costs one round trip and no look at the storage's files.
  - Only contents that the current release does not have are sent and written. Files that stay the same are hard links
    to the current release's.
  - The release is made under another name and gets its own when it is complete and on disk. A publisher that is killed
    leaves the old release current, and the next one removes what was left.
  - Everything that cannot be published is reported at once. These are symbolic links that are absolute or climb out of
    the source, devices, pipes and sockets, names with line breaks or other control characters, and a source without
    any file.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  storage:
    description: The root of the DAG storage on the managed host, as M(airstack.backbone.dag_storage) lays it out.
    type: path
    required: true
  source:
    description: The source's name, which is its directory in the storage.
    type: str
    required: true
  src:
    description:
      - The directory to publish, on the controller or, with O(remote_src=true), on the managed host.
      - A relative path on the controller is looked for as in M(ansible.builtin.copy).
    type: path
    required: true
  remote_src:
    description: Whether O(src) is on the managed host.
    type: bool
    default: false
  subdirectory:
    description: The directory in O(src) whose content is published. By default, all of O(src) is.
    type: str
  exclude:
    description:
      - Shell patterns of what is not published. C(.git), C(__pycache__) and C(*.pyc) never are.
      - A pattern without a slash is for a name at any depth, one with a slash for a path from the top, and one that ends
        in a slash for directories alone.
    type: list
    elements: str
    default: []
  owner:
    description: The user, by name or number, who owns what is published. The one that the module runs as by default.
    type: str
  group:
    description: The group, by name or number. The module's own by default.
    type: str
  file_mode:
    description:
      - The files' mode, a quoted octal number. A file that is executable in the source is so for all who may read it.
      - Owner, group and modes are those of new releases; a release that is there is never changed.
    type: raw
    default: "0644"
  directory_mode:
    description: The directories' mode, a quoted octal number.
    type: raw
    default: "0755"
  sentinel:
    description: The file in O(storage) without which nothing is published, since the storage is then not mounted.
    type: str
    default: .airflow-dag-storage
  publisher:
    description: Who publishes, for C(.release.json). The user and the host that O(src) is read by, by default.
    type: str
  tree:
    description: Set by the action plugin, not by users. The hash of the content on the controller.
    type: str
  packed:
    description: Set by the action plugin, not by users. The content that it sent.
    type: path
attributes:
  action:
    support: full
    description: Runs on the controller first, where it reads O(src).
  check_mode:
    support: full
    description:
      - Can run in check mode and say what it would publish, without changing anything.
      - There, the storage, the owner and the group may be missing.
  diff_mode:
    support: full
    description: Shows the paths that change, and the text of small files.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.dag_storage
"""

EXAMPLES = r"""
- name: Publish the etl team's DAGs from the controller
  airstack.backbone.dag_sync:
    storage: /srv/airflow/dags
    source: etl
    src: /home/deploy/checkouts/etl
    subdirectory: dags
    exclude: [tests/, "*.md"]

- name: Publish what a build left on the managed host
  airstack.backbone.dag_sync:
    storage: /srv/airflow/dags
    source: ml
    src: /var/lib/builds/ml
    remote_src: true
"""

RETURN = r"""
release:
  description: The release that is current now. In check mode, the one that would be.
  returned: success
  type: str
  sample: 41c3a0e2b5d9f876
previous:
  description: The release that was current before. Null before the first.
  returned: success
  type: str
  sample: 9f86d081884c7d65
directory:
  description: The release's directory.
  returned: success
  type: str
  sample: /srv/airflow/dags/etl/releases/41c3a0e2b5d9f876
tree:
  description: The hash (SHA-256) of the release's paths and contents.
  returned: success
  type: str
counts:
  description: How many files were added, changed and removed from the previous release, and how many are the same.
  returned: success
  type: dict
  sample: {added: 1, changed: 2, removed: 0, unchanged: 37}
files:
  description: The paths that were added, changed and removed, up to 100 of each.
  returned: success
  type: dict
  sample: {added: [orders.py], changed: [etl_daily.py], removed: []}
bytes:
  description: The bytes of file content that were written.
  returned: success
  type: int
  sample: 5120
cleaned:
  description: What publishers that were killed had left behind, and was removed.
  returned: success
  type: list
  elements: str
  sample: []
seconds:
  description: Seconds by phase.
  returned: success
  type: dict
  sample: {read: 0.012, ask: 0.31, pack: 0.003, write: 0.02, flush: 0.05, switch: 0.001}
"""

import os
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._dags import sync
from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import ARGUMENTS
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, describe
from ansible_collections.airstack.backbone.plugins.module_utils._dags.ownership import (
    OwnershipError,
    group_number,
    mode_bits,
    user_number,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.sources import (
    NotSent,
    Packed,
    SourceProblems,
    directory_to_publish,
    identity,
    refusal,
    whole,
)

_SOURCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MODE = re.compile(r"0?[0-7]{3}")


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    parameters = module.params
    source = parameters["source"]
    try:
        module.exit_json(**_run(_job(parameters, module.check_mode, module._diff), parameters))
    except NotSent as error:
        module.fail_json(msg=refusal(source, error.problems), problems=error.problems, is_outdated=True)
    except SourceProblems as error:
        module.fail_json(msg=refusal(source, error.problems), problems=error.problems)
    except (PublishError, OwnershipError) as error:
        module.fail_json(msg=f"Source '{source}' was not published: {error}")
    except OSError as error:
        module.fail_json(msg=f"Source '{source}' was not published: {describe(error)}")


def _run(job: sync.Job, parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters["remote_src"]:
        root = directory_to_publish(Path(parameters["src"]), parameters["subdirectory"])
        return sync.from_directory(job, root, parameters["exclude"])
    if parameters["packed"]:
        with open(parameters["packed"], "rb") as file, whole():
            return sync.from_archive(job, Packed(file))
    if not parameters["tree"]:
        raise PublishError("only the action plugin can read a directory of the controller; set remote_src otherwise")
    return sync.take_up(job, parameters["tree"]) or {"changed": True, "is_missing": True, "held": sync.held(job)}


def _job(parameters: dict[str, Any], is_check: bool, is_diff: bool) -> sync.Job:
    if not _SOURCE.fullmatch(parameters["source"]):
        raise PublishError("a source's name is of letters, digits, ., _ and -, and begins with none of the last two")
    uid, gid = os.geteuid(), os.getegid()
    owner, group = parameters["owner"], parameters["group"]
    attributes = Attributes(
        uid=user_number(owner, uid if is_check else None) if owner else uid,
        gid=group_number(group, gid if is_check else None) if group else gid,
        file_mode=mode_bits("file_mode", parameters["file_mode"], _MODE),
        directory_mode=mode_bits("directory_mode", parameters["directory_mode"], _MODE),
    )
    return sync.Job(
        Directory(Path(parameters["storage"]), parameters["source"]),
        attributes,
        {"commit": None, "publisher": parameters["publisher"] or identity()},
        sentinel=parameters["sentinel"],
        is_check=is_check,
        is_diff=is_diff,
    )


if __name__ == "__main__":
    main()
