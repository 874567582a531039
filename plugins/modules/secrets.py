#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Gather the secrets of an Airflow platform
version_added: 0.1.0
description:
  - Takes each needed secret from the variable C(airflow_secret_<name>), else from the file of its name in O(directory).
  - A secret that is in neither place is made once, and kept in O(directory) with mode 0600, beside a C(.gitignore).
  - Secrets that are empty or of the wrong form are refused, all at once and without being shown.
  - Runs on the controller alone.
extends_documentation_fragment:
  - airstack.backbone.attributes.controller
options:
  needed:
    description: The secrets that the plan asks for.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the secret, and of its file.
        type: str
        required: true
      kind:
        description:
          - What it is.
          - What somebody else issues is V(given) or, with lines in it, V(ssh_key) or V(tls_key), and is never made.
        type: str
        required: true
        choices: [password, fernet_key, key, given, ssh_key, tls_key]
      purpose:
        description: What it is for, shown to a person who must provide it.
        type: str
        required: true
  directory:
    description: Where made secrets are kept. Back it up, and keep it out of version control.
    type: path
    required: true
  generate:
    description: Whether missing secrets may be made. Where not, they are all named in one error.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Missing secrets are made for the run alone, and not kept.
  diff_mode:
    support: none
    description: Secrets are not shown.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.plan
"""

EXAMPLES = r"""
- name: Gather the secrets of the platform
  airstack.backbone.secrets:
    needed: "{{ airflow_plan.secrets }}"
    directory: "{{ inventory_dir }}/.secrets"
  register: gathered
  no_log: "{{ airflow_secure_logging }}"
"""

RETURN = r"""
secrets:
  description: Values by name. The whole result is hidden from output.
  returned: success
  type: dict
generated:
  description: Names of the secrets that were made by this run.
  returned: success
  type: list
  elements: str
"""
