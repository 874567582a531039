#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: swift_container
short_description: Make a container of OpenStack Swift and say who may use it
version_added: 0.1.0
description:
  - Makes a container, which is a bucket to the clients of Swift's S3 interface, and sets its access control lists.
  - Swift has no bucket policies. Where its C(s3api) runs with C(s3_acl=false), these lists are the only way to let users
    who are no administrators use a bucket through S3.
  - The containers that were there and their objects stay. None is ever removed.
extends_documentation_fragment:
  - airstack.backbone.attributes
  - airstack.backbone.swift
options:
  name:
    description: The container.
    type: str
    required: true
  readers:
    description:
      - Who may list the container and read its objects, each as V(account:user).
      - Whoever else could is no longer allowed to.
    type: list
    elements: str
    default: []
  writers:
    description:
      - Who may write and delete its objects, each as V(account:user).
      - Whoever else could is no longer allowed to.
    type: list
    elements: str
    default: []
  segments:
    description:
      - Also make the container in which C(s3api) keeps the parts of multipart uploads, with the same grants. Only an
        administrator could make it later.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description:
      - Can run in check mode and say what it would change, without changing anything.
      - There, a Swift that does not answer or does not know the user is taken for one that an earlier task would have
        set up. The module warns and says that it would make the container.
  diff_mode:
    support: full
    description: Shows the grants of each container.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.swift_container_info
  - module: amazon.aws.s3_bucket
    description: The same for Amazon S3, and for stores with bucket policies.
"""

EXAMPLES = r"""
- name: Make a bucket that two users share
  airstack.backbone.swift_container:
    auth_url: http://objects1:8080/auth/v1.0
    user: airflow:admin
    key: "{{ object_store_key }}"
    name: airflow-logs
    segments: true
    readers: [airflow:core, airflow:pool-etl]
    writers: [airflow:core, airflow:pool-etl]
  delegate_to: localhost
"""

RETURN = r"""
containers:
  description: The containers as they are now, or would be.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The container.
      type: str
      sample: airflow-logs
    readers:
      description: Who may read it.
      type: list
      elements: str
      sample: ["airflow:core"]
    writers:
      description: Who may write into it.
      type: list
      elements: str
      sample: ["airflow:core"]
    objects:
      description: How many objects it has.
      type: int
      sample: 42
    bytes:
      description: Their size together.
      type: int
      sample: 420000
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils import _swift


def main() -> None:
    """Read the arguments, compare, apply, say what changed."""
    module = AnsibleModule(
        argument_spec={
            **_swift.ARGUMENT_SPEC,
            "name": {"type": "str", "required": True},
            "readers": {"type": "list", "elements": "str", "default": []},
            "writers": {"type": "list", "elements": "str", "default": []},
            "segments": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names = _swift.names(module.params["name"], segments=module.params["segments"])
    wanted = _swift.grants(module.params["readers"], module.params["writers"])
    swift = None
    try:
        swift = _swift.connect(module.params)
    except _swift.SwiftUnavailableError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        module.warn(f"{error} The containers are taken for missing.")
    except _swift.SwiftError as error:
        module.fail_json(msg=str(error))
    try:
        found = {name: swift.container(name) if swift else None for name in names}
        changes = _swift.changes(found, wanted)
        if swift and not module.check_mode:
            for name in changes:
                swift.put(name, wanted)
    except _swift.SwiftError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(changes),
        containers=[container.as_dict() for container in _swift.after(found, wanted)],
        diff=_swift.difference(found, wanted),
    )


if __name__ == "__main__":
    main()
