# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where secrets come from, and that nothing tells more of them than it must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import manifests
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import MadeSecrets
from ansible_collections.airstack.backbone.tests.unit.render.kubernetes.conftest import PLATFORMS, Rendered


def told(rendered: Rendered, **changes: Any) -> Rendered:
    """The same platform, whose cluster is told otherwise."""
    cluster = replace(rendered.target.cluster, **changes)
    target = replace(rendered.target, cluster=cluster)
    return replace(rendered, target=target, steps=manifests.steps(rendered.components, target.platform, cluster))


def secret_name(rendered: Rendered, component: str) -> str:
    volumes = rendered.pods()[component]["spec"]["volumes"]
    (found,) = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    return found


def test_another_value_is_another_secret_for_its_components_alone(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    values = {**rendered.values, "worker-etl": {**rendered.values["worker-etl"], "broker_url": "amqp://other"}}
    after = told(rendered, secrets=MadeSecrets(values, "a-key-that-nobody-knows"))
    changed = [
        each["name"] for each in rendered.components if after.pods()[each["name"]] != rendered.pods()[each["name"]]
    ]
    assert changed == ["worker-etl"]
    assert secret_name(after, "worker-etl") != secret_name(rendered, "worker-etl")


def test_a_name_can_be_guessed_by_no_one_without_the_key(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    after = told(rendered, secrets=MadeSecrets(rendered.values, "another-key"))
    names = {each["metadata"]["name"] for each in rendered.of_kind("Secret")}
    assert names.isdisjoint(each["metadata"]["name"] for each in after.of_kind("Secret"))


def test_a_key_is_not_shown(variables: dict[str, Any]) -> None:
    assert "a-key-that-nobody-knows" not in repr(PLATFORMS["small"](variables).target)


def test_secrets_that_are_made_do_not_change(variables: dict[str, Any]) -> None:
    made = PLATFORMS["small"](variables).of_kind("Secret")
    assert made
    assert all(each["immutable"] is True for each in made)


def test_existing_secrets_are_mounted_and_not_made(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["roles"](variables)
    assert rendered.of_kind("Secret", "ExternalSecret") == []
    assert secret_name(rendered, "scheduler") == "airflow-scheduler-login"


def test_external_secrets_hold_what_their_components_read(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["full"](variables)
    assert rendered.of_kind("Secret") == []
    external = {each["metadata"]["name"]: each["spec"] for each in rendered.of_kind("ExternalSecret")}
    for component in rendered.components:
        spec = external[secret_name(rendered, component["name"])]
        assert [entry["secretKey"] for entry in spec["data"]] == component["credentials"]
        assert {entry["remoteRef"]["key"] for entry in spec["data"]} == {f"airflow/local/{component['name']}"}
        assert spec["secretStoreRef"] == {"name": "vault", "kind": "ClusterSecretStore"}


def test_the_values_of_a_secret_are_not_shown(variables: dict[str, Any]) -> None:
    rendered = PLATFORMS["small"](variables)
    assert "value-of-" not in repr(rendered.target)
