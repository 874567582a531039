#!/usr/bin/python
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: core_image_push
short_description: Have an image of the core in its registry
version_added: 0.1.0
description:
  - Pushes an image of this host to the repository that its name tells, unless the registry has it under this tag already, and
    returns the digest that names it there for good.
  - Docker's daemon has its own settings of which registries it trusts, C(insecure-registries) and C(/etc/docker/certs.d). O(tls)
    and O(ca_path) are then for the question alone whether the registry has the image.
extends_documentation_fragment:
  - airstack.backbone.attributes
options:
  reference:
    description: The image, as M(airstack.backbone.core_image) returns it.
    type: str
    required: true
  builder:
    description: The program that built it.
    type: str
    choices: [podman, docker]
    default: podman
  tls:
    description: Whether the registry speaks TLS.
    type: bool
    default: true
  ca_path:
    description:
      - The file with the certificates of all authorities that sign for the registry, and for its token server where it has one.
      - When left out, the system's are trusted.
    type: path
  username:
    description:
      - Who pushes. When left out, the builder's own credentials hold, and the registry is asked without any what it has.
    type: str
  password:
    description:
      - The password or token of O(username). It reaches the builder through a file that only the user who runs this can read.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say whether the registry has the image, without changing anything.
  diff_mode:
    support: full
    description: Shows the digest that the tag has before and after.
author:
  - Airstack Founders (@airstack)
seealso:
  - module: airstack.backbone.core_image
  - module: airstack.backbone.core_registry_info
"""

EXAMPLES = r"""
- name: Push the core's image
  airstack.backbone.core_image_push:
    reference: registry.example.com/data/airflow:3.3.2-0a1b2c3d4e5f
    username: builder
    password: "{{ airflow_secret_registry }}"
  register: pushed
"""

RETURN = r"""
digest:
  description: The hash of its manifest in the registry.
  returned: unless check mode would push it
  type: str
  sample: sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
reference:
  description: The image by its digest.
  returned: unless check mode would push it
  type: str
  sample: registry.example.com/data/airflow@sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airstack.backbone.plugins.module_utils._core import asking, registry
from ansible_collections.airstack.backbone.plugins.module_utils._core.builder import BUILDERS, Builder
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError, reason


def push(builder: Builder, place: registry.Repository, parameters: Mapping[str, Any]) -> None:
    """Push the image, with credentials in a file, and trust in a directory."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if parameters["username"]:
            file = scratch / "config.json"
            file.touch(0o600)
            file.write_text(
                registry.credentials(place, parameters["username"], parameters["password"]), encoding="utf-8"
            )
        if parameters["ca_path"]:
            (scratch / "trusted").mkdir()
            shutil.copyfile(parameters["ca_path"], scratch / "trusted" / "ca.crt")
        builder.run(f"push {parameters['reference']}", *_COMMANDS[builder.name](scratch, parameters))


def _podman(scratch: Path, parameters: Mapping[str, Any]) -> list[str]:
    credentials, trusted = scratch / "config.json", scratch / "trusted"
    return [
        *("push", "--quiet", f"--tls-verify={str(parameters['tls']).lower()}"),
        *(["--authfile", str(credentials)] if credentials.exists() else []),
        *(["--cert-dir", str(trusted)] if trusted.exists() else []),
        parameters["reference"],
    ]


def _docker(scratch: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Its daemon pushes, whose own settings say what it trusts."""
    credentials = ["--config", str(scratch)] if (scratch / "config.json").exists() else []
    return [*credentials, "push", "--quiet", parameters["reference"]]


_COMMANDS = {"podman": _podman, "docker": _docker}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "reference": {"type": "str", "required": True},
            "builder": {"type": "str", "default": "podman", "choices": list(BUILDERS)},
            **asking.ARGUMENTS,
        },
        supports_check_mode=True,
    )
    name, _colon, tag = module.params["reference"].rpartition(":")
    builder = Builder(module, module.params["builder"])
    result: dict[str, Any] = {"changed": False}
    before: registry.Manifest | None = None
    try:
        place = registry.repository(name)
        if place is None:
            raise CoreError(
                f"{module.params['reference']} names no registry. Say in airflow_core_image where images are kept, such as"
                " registry.example.com/data/airflow."
            )
        server = asking.registry(module.params)
        image = builder.image(module.params["reference"]) if builder.path else None
        if image is None:
            raise CoreError(
                f"{module.params['reference']} is not on this host; build it first, with {module.params['builder']}."
            )
        before = after = server.manifest(place, tag)
        result["changed"] = before is None or not before.is_image(image.id)
        if result["changed"] and not module.check_mode:
            push(builder, place, module.params)
            after = server.manifest(place, tag)
            if after is None or not after.is_image(image.id):
                raise CoreError(
                    f"{module.params['reference']} was pushed, and {place.host} has {'another image' if after else 'none'} of"
                    " that name now. Somebody else may have pushed to it; run this again."
                )
        if after and (not result["changed"] or not module.check_mode):
            result.update(digest=after.digest, reference=f"{name}@{after.digest}")
    except CoreError as error:
        module.fail_json(msg=str(error), exception=None)
    except OSError as error:
        module.fail_json(msg=f"The image was not pushed: {reason(error)}.", exception=None)
    if module._diff and result["changed"]:
        result["diff"] = {
            "before_header": module.params["reference"],
            "after_header": module.params["reference"],
            "before": f"{before.digest}\n" if before else "",
            "after": f"{result.get('digest', 'what it is pushed as')}\n",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
