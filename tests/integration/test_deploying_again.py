# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What site.yml says of a platform that stands, before it touches anything."""

from __future__ import annotations

import re

from ansible_collections.airstack.backbone.plugins.module_utils._model.secrets import MAKERS
from ansible_collections.airstack.backbone.tests.integration.deployed import Platform, ansible_playbook


def test_check_mode_foresees_no_change(platform: Platform) -> None:
    output = ansible_playbook(platform.inventory, "site.yml", {}, "--check", "--diff")
    assert set(re.findall(r"changed=(\d+)", output)) == {"0"}, output


def test_what_hosts_cannot_take_is_refused_at_once(platform: Platform) -> None:
    other_key = MAKERS["fernet_key"]()
    wrong = {"airflow_secret_fernet_key": other_key, "airflow_core_python": "/usr/bin/python9"}
    output = ansible_playbook(platform.inventory, "site.yml", wrong, succeeds=False)
    for component in platform.plan["components"]:
        for host in component["hosts"]:
            assert f"{host}: /usr/bin/python9 cannot be run" in output
    assert "fernet_key holds another Fernet key" in output
    assert other_key not in output
    assert output.rstrip().endswith("Nothing was changed.")
