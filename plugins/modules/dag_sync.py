#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_sync
short_description: Publish DAG sources as immutable releases, go back to earlier ones, and remove old ones
version_added: 0.1.0
description:
  - Publishes the content of each source in the DAG storage as a release, C(<storage>/<source>/releases/<release>), and
    then renames the symbolic link C(<storage>/<source>/current) to it. Readers see either all of the old release or
    all of the new one.
  - A content comes from a directory, a Git repository, an archive or an S3 store. Sources are worked on at the same time.
    Where one of them cannot be published, no source gets another release, and everything that is wrong with any is told.
  - A release's name ends in a hash of its content, after the commit where there is one. The same content is the same
    release, whoever publishes it and when. A commit that is published already costs one question to its server and no look
    at the storage's files.
  - Only contents that the current release does not have are fetched and written. Files that stay the same are hard links
    to the current release's.
  - A release is made under another name and gets its own when it is complete and on disk. A publisher that is killed
    leaves the old release current, and the next one removes what was left.
  - Refused, and named, is what could reach outside of its release. These are symbolic links that are absolute or climb out
    of the source, devices, pipes and sockets, files with the setuid or setgid bit, and names with line breaks or other
    control characters; furthermore a source without any file.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  storage:
    description: The root of the DAG storage on the managed host, as M(airstack.backbone.dag_storage) lays it out.
    type: path
    required: true
  sources:
    description: The sources, each with one of O(sources[].path), O(sources[].repository), O(sources[].archive),
      O(sources[].s3) and O(sources[].release).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The source's name, which is its directory in the storage.
        type: str
        required: true
      path:
        description:
          - A directory on the controller or, with O(sources[].remote_src=true), on the managed host.
          - A relative path on the controller is looked for as in M(ansible.builtin.copy).
        type: path
      repository:
        description:
          - The address of a Git repository, which the managed host reaches by HTTPS, SSH, Git's own protocol or as a path.
          - Nothing is checked out, and neither hooks nor filters run.
        type: str
      archive:
        description: A tar file, whichever way it is compressed, or a ZIP file, on the controller or, with
          O(sources[].remote_src=true), on the managed host.
        type: path
      s3:
        description:
          - C(s3://<bucket>/<prefix>/) for all objects below a prefix, C(s3://<bucket>/<key>) for one that is an archive.
          - Needs boto3 on the managed host.
        type: str
      remote_src:
        description: Whether O(sources[].path) or O(sources[].archive) is on the managed host.
        type: bool
        default: false
      release:
        description:
          - A release that is there already, which becomes the current one.
          - With O(state=rolled_back), the one to go back to, instead of the one before. It has to have been current once.
        type: str
      subdirectory:
        description: The directory in the source whose content is published. By default, all of the source is.
        type: str
      exclude:
        description:
          - Shell patterns of what is not published. C(.git), C(__pycache__) and C(*.pyc) never are.
          - A pattern without a slash is for a name at any depth, one with a slash for a path from the top, and one that
            ends in a slash for directories alone.
        type: list
        elements: str
        default: []
      tree:
        description: The hash that the content has to have, as RV(sources.tree) gives it. Anything else is refused.
        type: str
      version:
        description: A branch, tag or commit of O(sources[].repository). The default branch by default.
        type: str
      submodules:
        description: Whether the repository's submodules are published, too. A submodule is refused otherwise.
        type: bool
        default: false
      lfs:
        description: Whether files are fetched that the repository keeps in Git LFS. Needs git-lfs on the managed host.
        type: bool
        default: false
      username:
        description: The user whose O(sources[].token) it is, where the server asks for one.
        type: str
      token:
        description: The token or password for the repository's server, by HTTPS.
        type: str
      ssh_key:
        description: The private key for the repository's server, by SSH.
        type: str
      known_hosts:
        description: Lines of a known_hosts file that the server's key is checked against. The system's own by default.
        type: str
      sha256:
        description: The checksum that the archive has to have.
        type: str
      endpoint_url:
        description: The address of an S3 store that is not AWS's.
        type: str
      region:
        description: The S3 store's region.
        type: str
      access_key:
        description: The access key's ID. The machine's own role by default.
        type: str
      secret_key:
        description: The secret part of O(sources[].access_key).
        type: str
      in_use:
        description: Releases that unfinished DAG runs use, which stay. M(airstack.backbone.dag_bundle_info) tells them.
        type: list
        elements: str
        default: []
      read:
        description: Set by the action plugin, not by users. What it found on the controller.
        type: dict
      packed:
        description: Set by the action plugin, not by users. The content that it sent.
        type: path
  state:
    description:
      - With V(present), each source's release is made and becomes the current one.
      - With V(staged), it is made and looked at by nobody, until it is named in O(sources[].release).
      - With V(rolled_back), the release becomes current that was so before the present one.
      - With V(absent), the source goes out of the storage with all its releases, unless runs use one of them.
    type: str
    choices: [present, staged, rolled_back, absent]
    default: present
  keep:
    description: How many releases of each source stay, the current one among them, at least 1. By default, all do.
    type: int
  minimum_age:
    description:
      - Seconds that a release stays after it was the current one, whatever O(keep) says.
      - Readers on a network filesystem may find the old link for as long as they cache a directory's attributes, which
        NFS does for 60 seconds (C(acdirmax) in nfs(5)) unless told otherwise.
    type: int
    default: 600
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
  lock_timeout:
    description: Seconds to wait for another publisher of the same source. The lock ends with its process, and works over NFS.
    type: int
    default: 60
  cache:
    description: A directory of the managed host's own for what has been fetched from repositories. It may be lost.
    type: path
    default: /var/cache/airflow-dags
  publisher:
    description: Who publishes, for C(.release.json). The user and the host that runs Ansible by default.
    type: str
attributes:
  action:
    support: full
    description: Runs on the controller first, where it reads directories and archives.
  check_mode:
    support: full
    description:
      - Can run in check mode and say what it would publish, without changing anything in the storage. What is fetched from a
        repository stays in the O(cache).
      - There, the storage, the owner and the group may be missing.
  diff_mode:
    support: full
    description: Shows the paths that change, and the text of small files.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.dag_storage
  - module: airstack.backbone.dag_sync_info
"""

EXAMPLES = r"""
- name: Publish what the teams' repositories hold
  airstack.backbone.dag_sync:
    storage: /srv/airflow/dags
    sources:
      - name: etl
        repository: https://git.example.com/etl/dags.git
        version: main
        token: "{{ airflow_secret_source_etl }}"
        subdirectory: dags
        exclude: [tests/, "*.md"]
      - name: ml
        repository: git@git.example.com:ml/dags.git
        version: v2.1.0
        ssh_key: "{{ airflow_secret_source_ml }}"
        known_hosts: git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
    keep: 10

- name: Publish a directory of the controller
  airstack.backbone.dag_sync:
    storage: /srv/airflow/dags
    sources:
      - name: etl
        path: /home/deploy/checkouts/etl

- name: Go back to what etl was before
  airstack.backbone.dag_sync:
    storage: /srv/airflow/dags
    sources: [{name: etl}]
    state: rolled_back
"""

RETURN = r"""
sources:
  description: What became of each source, by its name. On failure, of those that were done before.
  returned: success, or failure after something was done
  type: dict
  contains:
    changed:
      description: Whether anything of this source changed.
      type: bool
    release:
      description: The release that is current now, or was staged. In check mode, the one that would be.
      type: str
      sample: 3f9c2ab81d04-41c3a0e2b5d9f876
    previous:
      description: The release that was current before. Null before the first.
      type: str
      sample: 9f86d081884c7d65
    is_current:
      description: Whether the release is the current one.
      type: bool
    directory:
      description: The release's directory.
      type: str
      sample: /srv/airflow/dags/etl/releases/3f9c2ab81d04-41c3a0e2b5d9f876
    tree:
      description: The hash (SHA-256) of the release's paths and contents.
      type: str
    commit:
      description: The commit that was asked for, in full. Null where the content is no commit's.
      type: str
    sha256:
      description: The checksum of the archive that the content came from. Null where it came from none.
      type: str
    counts:
      description: How many files were added, changed and removed from the release that was current, and how many are the same.
      type: dict
      sample: {added: 1, changed: 2, removed: 0, unchanged: 37}
    files:
      description: The paths that were added, changed and removed, up to 100 of each.
      type: dict
      sample: {added: [orders.py], changed: [etl_daily.py], removed: []}
    bytes:
      description: The bytes of file content that were written.
      type: int
      sample: 5120
    cleaned:
      description: What publishers that were killed had left behind, and was removed.
      type: list
      elements: str
      sample: []
    pruned:
      description: The releases that were removed.
      type: list
      elements: str
      sample: []
    left:
      description: What could not be removed, and why. It is out of its readers' way, and tried again the next time.
      type: list
      elements: str
      sample: []
    seconds:
      description: Seconds by phase on the managed host.
      type: dict
      sample: {ask: 0.12, read: 0.31, write: 0.02, flush: 0.05, switch: 0.001}
seconds:
  description: Seconds by phase as the controller sees them.
  returned: always
  type: dict
  sample: {read: 0.012, ask: 0.31, pack: 0.003, send: 0.05, publish: 0.2}
"""

import os
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._dags import history, staging, switching
from ansible_collections.airstack.backbone.plugins.module_utils._dags.arguments import (
    ARGUMENTS,
    argument_problems,
    given_origin,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes, describe
from ansible_collections.airstack.backbone.plugins.module_utils._dags.jobs import Job, Staged
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins import kinds
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.sent import SentOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.ownership import (
    OwnershipError,
    group_number,
    mode_bits,
    user_number,
)
from ansible_collections.airstack.backbone.plugins.module_utils._dags.pruning import Retention
from ansible_collections.airstack.backbone.plugins.module_utils._dags.publishing import identity
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory, PublishError
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import NotSent, SourceProblems, refusal

_MODE = re.compile(r"0?[0-7]{3}")

SOURCES_AT_ONCE = 8
"""Most of a source's time is spent waiting for a server or a disk."""

Source = dict[str, Any]

_DONE = {"present": "published", "staged": "published", "rolled_back": "rolled back", "absent": "removed"}


class Refused(Exception):
    """What one source cannot have, in one message."""

    def __init__(self, message: str, is_outdated: bool = False) -> None:
        self.is_outdated = is_outdated
        super().__init__(message)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    sources: list[Source] = module.params["sources"]
    try:
        problems = argument_problems(module.params)
        if problems:
            module.fail_json(msg="\n".join(problems))
        jobs = [_job(module, source) for source in sources]
    except (PublishError, OwnershipError) as error:
        module.fail_json(msg=f"Nothing was published: {error}")
    module.exit_json(**_results(module, sources, jobs))


def _results(module: AnsibleModule, sources: list[Source], jobs: list[Job]) -> dict[str, Any]:
    state = module.params["state"]
    if state == "absent":
        return _told(
            module, sources, _each(module, jobs, sources, lambda job, source: switching.remove(job, source["in_use"]))
        )
    missing = _missing(module, sources, jobs)
    if missing:
        return {"changed": True, "missing": missing}
    staged = _each(module, jobs, sources, lambda job, source: _stage(job, source, state, module.params["cache"]))
    if state == "staged":
        return _told(module, sources, [switching.told(job, each) for job, each in zip(jobs, staged)])
    action = history.ROLLED_BACK if state == "rolled_back" else history.PUBLISHED
    by_name = {source["name"]: each for source, each in zip(sources, staged)}
    return _told(
        module,
        sources,
        _each(module, jobs, sources, lambda job, source: switching.switch(job, by_name[source["name"]], action)),
    )


def _told(module: AnsibleModule, sources: Sequence[Source], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by_name = {source["name"]: result for source, result in zip(sources, results)}
    found = {"changed": any(result["changed"] for result in results), "sources": by_name}
    for name, result in by_name.items():
        for left in result.get("left", []):
            module.warn(f"Source '{name}': {left}. It is tried again the next time.")
    differences = [each for result in results for each in result.pop("diff", [])]
    return {**found, "diff": differences} if differences else found


def _missing(module: AnsibleModule, sources: list[Source], jobs: list[Job]) -> dict[str, list[str]]:
    """By source, what the controller need not send, for those whose content it has to."""

    def held(job: Job, source: Source) -> list[str] | None:
        if not source["read"] or source["packed"] or staging.taken_up(job, source["read"]["tree"]):
            return None
        return staging.held(job)

    answers = _each(module, jobs, sources, held)
    return {source["name"]: answer for source, answer in zip(sources, answers) if answer is not None}


def _stage(job: Job, source: Source, state: str, cache: str) -> Staged:
    if state == "rolled_back":
        return staging.earlier(job, source["release"])
    if source["release"]:
        return staging.named(job, source["release"])
    if source["read"]:
        found = source["read"]
        there = staging.taken_up(job, found["tree"], found["revision"])
        return there or staging.stage(job, SentOrigin(Path(source["packed"]), found["revision"]))
    kind = given_origin(source)
    if kind in ("path", "archive") and not source["remote_src"]:
        raise PublishError(f"only the action plugin can read the controller's {kind}; set remote_src otherwise")
    return staging.stage(job, kinds.origin(source, Path(cache), kinds.on_host(socket.gethostname())))


def _each(module: AnsibleModule, jobs: list[Job], sources: list[Source], do: Callable[[Job, Source], Any]) -> list[Any]:
    """Do the same for each source, at the same time. Ends the module where one is refused, with what is wrong with all."""
    with ThreadPoolExecutor(SOURCES_AT_ONCE) as pool:
        state = module.params["state"]
        answers = list(pool.map(lambda job, source: _answer(source["name"], state, do, job, source), jobs, sources))
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    if refused:
        done = [(source, answer) for source, answer in zip(sources, answers) if isinstance(answer, dict)]
        module.fail_json(
            msg="\n".join(str(error) for error in refused),
            is_outdated=all(error.is_outdated for error in refused),
            **(_told(module, *zip(*done)) if done else {}),
        )
    return answers


def _answer(name: str, state: str, do: Callable[[Job, Source], Any], job: Job, source: Source) -> Any:
    """Do something for a source; what keeps it from being done is the answer then, told in one way."""
    was_not = f"Source '{name}' was not {_DONE[state]}"
    try:
        return do(job, source)
    except SourceProblems as error:
        return Refused(refusal(name, error.problems), isinstance(error, NotSent))
    except PublishError as error:
        return Refused(f"{was_not}: {error}")
    except OSError as error:
        return Refused(f"{was_not}: {describe(error)}")


def _job(module: AnsibleModule, source: Source) -> Job:
    parameters, is_check = module.params, module.check_mode
    uid, gid = os.geteuid(), os.getegid()
    owner, group, keep = parameters["owner"], parameters["group"], parameters["keep"]
    attributes = Attributes(
        uid=user_number(owner, uid if is_check else None) if owner else uid,
        gid=group_number(group, gid if is_check else None) if group else gid,
        file_mode=mode_bits("file_mode", parameters["file_mode"], _MODE),
        directory_mode=mode_bits("directory_mode", parameters["directory_mode"], _MODE),
    )
    return Job(
        Directory(Path(parameters["storage"]), source["name"]),
        attributes,
        parameters["publisher"] or identity(),
        tree=source["tree"],
        retention=None if keep is None else Retention(keep, parameters["minimum_age"], source["in_use"]),
        sentinel=parameters["sentinel"],
        lock_timeout=parameters["lock_timeout"],
        is_check=is_check,
        is_diff=module._diff,
    )


if __name__ == "__main__":
    main()
