# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The component model as Kubernetes manifests, and what of them is left over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.airstack.backbone.plugins.module_utils._model import components, credentials
from ansible_collections.airstack.backbone.plugins.module_utils._model.problems import report
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import (
    manifests,
    problems,
    pruning,
    reading,
)
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes.cluster import (
    MadeSecrets,
    Platform,
    Target,
)

VARIABLE = "cluster"
"""What messages call the argument that holds what the cluster is told."""


def component_manifests(
    plan: Mapping[str, Any],
    endpoints: Mapping[str, Any],
    cluster: Mapping[str, Any],
    secrets: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Steps of manifests, in the order of their application."""
    model = components.model(plan, endpoints)
    values = {each["name"]: credentials.values(each, endpoints, secrets) for each in model} if secrets else {}
    made = MadeSecrets(values, (secrets or {}).get("fernet_key", ""))
    told, found = reading.read(cluster, VARIABLE, made)
    platform = Platform.of(plan, endpoints)
    if told is not None:
        found = problems.of(model, Target(platform, told), VARIABLE)
    if told is None or found:
        raise AnsibleFilterError(report(found))
    if isinstance(told.secrets, MadeSecrets) and not secrets:
        raise AnsibleFilterError("Secrets are to be made, and component_manifests was given none to make them from.")
    return [asdict(step) for step in manifests.steps(model, platform, told)]


def component_leftovers(
    plan: Mapping[str, Any], found: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The objects that may go, of those that a cluster has."""
    wanted = [manifest for step in steps for manifest in step["manifests"]]
    return pruning.leftovers([dict(each) for each in found], wanted, plan["environment"])


class FilterModule:
    """Filters over the plan's components, for Kubernetes."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters, as playbooks use them."""
        return {"component_leftovers": component_leftovers, "component_manifests": component_manifests}
