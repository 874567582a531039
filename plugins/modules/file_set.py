#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Write a set of small files as a whole, in one round trip
version_added: 0.1.0
description:
  - Makes directories, writes files, corrects their owners and modes, and removes files that no longer belong, all in
    one round trip. A host of an Airflow platform takes some forty small files, and M(ansible.builtin.template) costs two
    round trips for each.
  - All or nothing. Every new file is written aside and validated there, then all of them are renamed into place. What
    fails on the way leaves the host as it was, and all problems are reported at once.
  - Secrets neither stand in a diff nor in the system's log, while the other files keep their real diff, so that a task
    needs no C(no_log) that would hide everything.
  - Says in RV(changed_for) what has to be restarted.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  directories:
    description: Directories to make (parents first) or to correct. None is ever removed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory. A symlink in its place is refused.
        type: path
        required: true
      owner:
        description: Name of its user, or its number, which is below 4294967295. As it is when left out.
        type: str
      group:
        description: Name of its group, or its number, which is below 4294967295. As it is when left out.
        type: str
      mode:
        description: Its mode, a quoted string of four octal digits. V("0755") when left out.
        type: raw
  files:
    description: The files. Their directories are there already, or stand in O(directories).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. A symlink in its place is refused.
        type: path
        required: true
      content:
        description: The text in it. Either this or O(files[].secret) is required.
        type: raw
      secret:
        description: The key in O(secrets) of the text in it.
        type: str
      owner:
        description: Name of its user, or its number, which is below 4294967295. As it is when left out.
        type: str
      group:
        description: Name of its group, or its number, which is below 4294967295. As it is when left out.
        type: str
      mode:
        description:
          - Its mode, a quoted string of four octal digits.
          - When left out, V("0644"), or V("0600") with O(files[].secret).
        type: raw
      validate:
        description:
          - A command that must succeed before the file is taken, with V(%s) for the file's path.
          - It sees the file under its own name, in another directory. No shell reads it. Check mode does not run it.
        type: str
      restarts:
        description: Labels, such as names of units, that RV(changed_for) contains when the file was changed.
        type: list
        elements: str
        default: []
  secrets:
    description:
      - Texts for the files that say O(files[].secret). Each must be used by a file.
      - This is an option of its own because Ansible hides a secret that stands in a list of dictionaries from the
        system's log only when it is one line without quotes.
    type: dict
    default: {}
  prune:
    description: Directories in which regular files that are not in O(files) are removed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory. It may be missing.
        type: path
        required: true
      patterns:
        description: Only files whose name matches one of these shell patterns. V([*]) when left out.
        type: list
        elements: str
      recurse:
        description:
          - Also in the directories below it, on the same file system.
          - Those that are empty then, and not in O(directories), are removed too.
        type: bool
        default: false
      restarts:
        description: Labels that RV(changed_for) contains when a file was removed.
        type: list
        elements: str
        default: []
  pending:
    description:
      - A file on the host that holds the labels that are still to be acted on, one on each line. A symlink in its place
        is refused.
      - The labels of what changes are added to it, safe on disk, before the first file is replaced. When a run dies
        before it has restarted what reads the files, the next one finds the labels there, and RV(changed_for) contains
        them although no file differs any more.
      - Remove it when all of RV(changed_for) has been acted on. Nothing else empties it.
      - Each set has a file of its own, and it is none of O(files). It can be read by its owner only. Directories on its
        path that are missing are made with the mode V("0755"). Neither it nor they are ever pruned.
      - With it, a label is one line that is not empty.
    type: path
attributes:
  check_mode:
    support: full
    description:
      - Can run in check mode and say what it would change, without changing anything.
      - There, users, groups and parent directories that earlier tasks would have made may be missing.
  diff_mode:
    support: full
    description:
      - Shows the difference of each file. Of a secret, only that it is another one.
      - The former text of a file that its owner alone could read, and others will, is not shown.
notes:
  - New files are written aside in directories whose names begin with C(.file_set-), beside their targets. Such names
    are refused in paths. One that a killed run left is removed after an hour, with what is in it; a younger one, which
    may be another run's at work, is neither removed nor pruned.
  - A changed file is a new file. Extended attributes, access control lists and hard links of the former one are not
    kept. Its SELinux context is the policy's own.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: Write the scheduler's configuration, credentials and unit
  airstack.backbone.file_set:
    directories:
      - path: /etc/airflow/scheduler
        group: airflow
        mode: "0750"
      - path: /etc/airflow/credentials/scheduler
        mode: "0700"
    files:
      - path: /etc/airflow/scheduler/airflow.cfg
        content: "{{ lookup('ansible.builtin.template', 'airflow.cfg.j2') }}"
        group: airflow
        mode: "0640"
        restarts: [airflow-scheduler]
      - path: /etc/airflow/credentials/scheduler/fernet_key
        secret: fernet_key
        restarts: [airflow-scheduler]
      - path: /etc/systemd/system/airflow-scheduler.service
        content: "{{ lookup('ansible.builtin.template', 'airflow.service.j2') }}"
        validate: systemd-analyze verify %s
        restarts: [daemon-reload, airflow-scheduler]
    secrets:
      fernet_key: "{{ airflow_secrets.fernet_key }}"
    prune:
      - path: /etc/airflow/credentials
        recurse: true
  register: written

- name: Restart what reads a changed file
  ansible.builtin.systemd_service:
    name: airflow-scheduler
    state: restarted
  when: "'airflow-scheduler' in written.changed_for"

- name: Write a file whose restart is owed until it has happened, even when this run dies before
  airstack.backbone.file_set:
    files:
      - path: /etc/airflow/triggerer/airflow.cfg
        content: "{{ lookup('ansible.builtin.template', 'airflow.cfg.j2') }}"
        restarts: [airflow-triggerer]
    pending: /var/lib/airstack/pending/triggerer
  register: written

- name: Restart what reads it
  ansible.builtin.systemd_service:
    name: airflow-triggerer
    state: restarted
  when: "'airflow-triggerer' in written.changed_for"

- name: Note that it was restarted
  ansible.builtin.file:
    path: /var/lib/airstack/pending/triggerer
    state: absent
  when: written.changed_for | length > 0
"""

RETURN = r"""
changed_for:
  description:
    - The labels of all files that were changed or removed, or would be in check mode.
    - With O(pending), also those of earlier runs that were not acted on.
  returned: success
  type: list
  elements: str
  sample: [airflow-scheduler, daemon-reload]
changed_files:
  description: Files that were written, or whose owner, group or mode was corrected.
  returned: success
  type: list
  elements: str
  sample: [/etc/airflow/scheduler/airflow.cfg]
changed_directories:
  description: Directories that were made or corrected.
  returned: success
  type: list
  elements: str
  sample: [/etc/airflow/scheduler]
removed_files:
  description: Files that were removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/airflow/credentials/worker-old/broker_url]
removed_directories:
  description: Directories that were removed, and those in which a killed run had written files aside.
  returned: success
  type: list
  elements: str
  sample: [/etc/airflow/credentials/worker-old]
pending:
  description:
    - The labels that O(pending) held already, since an earlier run did not act on them. RV(changed_for) contains them.
    - Where there are some, the module says that it has changed something even when no file differs.
  returned: success, when O(pending) is given
  type: list
  elements: str
  sample: [airflow-triggerer]
problems:
  description: Everything that stands in the way, also told in the message.
  returned: failure
  type: list
  elements: str
  sample: ["/etc/airflow/scheduler: there is no group 'airflow' on this host"]
"""

import shlex
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._files.change import apply
from ansible_collections.airstack.backbone.plugins.module_utils._files.comparison import compare
from ansible_collections.airstack.backbone.plugins.module_utils._files.problems import FileSetError
from ansible_collections.airstack.backbone.plugins.module_utils._files.report import diff
from ansible_collections.airstack.backbone.plugins.module_utils._files.wanted import WantedFile, read

_OWNERSHIP = {"owner": {"type": "str"}, "group": {"type": "str"}, "mode": {"type": "raw"}}
_RESTARTS = {"type": "list", "elements": "str", "default": []}
_PATH = {"type": "path", "required": True}


class Module(AnsibleModule):
    def _log_invocation(self) -> None:
        """Log which files are meant, not what stands in them: that would fill the system's log.

        This is no protection of secrets. Those are safe by being no_log, should Ansible stop calling this.
        """
        options = ("directories", "files", "prune")
        self.log("Invoked for " + " ".join(entry["path"] for option in options for entry in self.params[option]))


def main() -> None:
    module = Module(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": _PATH, **_OWNERSHIP},
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": _PATH,
                    "content": {"type": "raw"},
                    "secret": {"type": "str", "no_log": False},
                    **_OWNERSHIP,
                    "validate": {"type": "str"},
                    "restarts": _RESTARTS,
                },
            },
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "prune": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": _PATH,
                    "patterns": {"type": "list", "elements": "str"},
                    "recurse": {"type": "bool", "default": False},
                    "restarts": _RESTARTS,
                },
            },
            "pending": {"type": "path"},
        },
        supports_check_mode=True,
    )

    def validate(file: WantedFile, staged: Path) -> str | None:
        words = [word.replace("%s", str(staged)) for word in file.validate]
        try:
            code, out, err = module.run_command(words, handle_exceptions=False)
        except OSError as error:
            return f"{words[0]!r}, which validates it, cannot be run: {error.strerror}"
        if code == 0:
            return None
        said = (err or out).strip().replace(str(staged), str(file.path))
        if file.is_secret:
            said = "its words are withheld, since they may quote the secret"
        return f"refused by {shlex.join(file.validate)!r} with exit status {code}: {said}"

    def label(path: Path, target: Path) -> None:
        if module.selinux_enabled():
            module.set_context_if_different(str(path), module.selinux_default_context(str(target)), False)

    try:
        wanted = read(module.params)
        changes = compare(wanted, is_check=module.check_mode)
        if not module.check_mode:
            apply(changes, validate=validate, label=label)
    except FileSetError as error:
        module.fail_json(
            msg="\n".join(["The files were not written:", *(f"- {problem}" for problem in error.problems)]),
            problems=error.problems,
            exception=None,
        )
    module.exit_json(
        **({"diff": diff(changes)} if module._diff else {}),
        **({} if changes.pending is None else {"pending": sorted(changes.pending_for)}),
        changed=bool(changes),
        changed_for=changes.changed_for,
        changed_files=sorted(str(change.wanted.path) for change in changes.files),
        changed_directories=sorted(str(change.wanted.path) for change in changes.directories),
        removed_files=sorted(str(path) for path in changes.removed_files),
        removed_directories=sorted(str(path) for path in changes.removed_directories),
    )


if __name__ == "__main__":
    main()
