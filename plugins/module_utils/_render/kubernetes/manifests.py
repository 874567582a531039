# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders a platform as Kubernetes manifests, in the order of their application.

Pure: the result is plain data. Who applies it waits as each step says, and removes what is left over (pruning) last, once
every workload runs what it shall.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import configuration, entrance, naming, network, publisher, scaling, secrets, storage, workloads
from .cluster import Cluster, Component, Manifest, Platform, Target

WAVES = (("api-server",), ("scheduler", "dag-processor", "triggerer"), ("worker",))
"""The kinds of component that are updated together, as on hosts (_render.rollout.WAVES)."""


@dataclass(frozen=True)
class Step:
    """Manifests that are applied together.

    wait: what has to be so before the next step: ``exists``, ``ready`` (condition of an ExternalSecret), ``complete``
    (of a Job) or ``rolled_out`` (of a workload, whose workers may take as long as their tasks).
    """

    title: str
    wait: str
    manifests: Sequence[Manifest]


def steps(components: Sequence[Component], platform: Platform, cluster: Cluster) -> list[Step]:
    """All steps; those without a manifest are left out.

    components: of components.model, in its order.
    """
    target = Target(platform, cluster)
    once = [component for component in components if component["once"]]
    staying = [component for component in components if not component["once"]]
    means, pod = (publisher.means(target), [publisher.workload(target)]) if platform.has_publisher else ([], [])
    first, *others = (Step(", ".join(kinds), "rolled_out", [*_wave(staying, kinds, target)]) for kinds in WAVES)
    made = [
        Step("namespace", "exists", _namespace(target)),
        Step("identities", "exists", [workloads.service_account(component, target) for component in components]),
        Step("network policies", "exists", network.policies(components, target)),
        Step("configuration", "exists", [*_configuration(components, target)]),
        Step("secrets", "ready", [*_secrets(components, target)]),
        Step("DAG storage", "exists", [*storage.claim(target), *means]),
        Step("database set-up", "complete", [workloads.job(component, target) for component in once]),
        Step("services", "exists", [made for each in staying for made in workloads.service(each, target)]),
        Step("publisher", "exists", pod),
        first,
        # Before those that wait for their tasks: people shall not.
        Step("entrance", "exists", [made for each in staying for made in _entrance(each, target)]),
        *others,
    ]
    return [step for step in made if step.manifests]


def publishing(platform: Platform, cluster: Cluster) -> list[Step]:
    """The steps to a pod that DAGs are published from, before anything reads them. What they make is in the whole, too."""
    target = Target(platform, cluster)
    made = [
        Step("namespace", "exists", _namespace(target)),
        Step("DAG storage", "exists", [*storage.claim(target), *publisher.means(target)]),
        Step("publisher", "rolled_out", [publisher.workload(target)]),
    ]
    return [step for step in made if step.manifests]


def manifests(components: Sequence[Component], platform: Platform, cluster: Cluster) -> list[Manifest]:
    """The manifests of all steps."""
    return [manifest for step in steps(components, platform, cluster) for manifest in step.manifests]


def _namespace(target: Target) -> list[Manifest]:
    """The namespace, where it is to be made here."""
    if not target.cluster.creates_namespace:
        return []
    return [naming.namespace(target.cluster.namespace, target.platform.environment)]


def _configuration(components: Sequence[Component], target: Target) -> Iterator[Manifest]:
    yield configuration.routing(target)
    for component in components:
        yield configuration.of_component(component, target)
        yield from configuration.queues(component, target)


def _secrets(components: Sequence[Component], target: Target) -> Iterator[Manifest]:
    for component in components:
        for holder in (secrets.of_component(component), *scaling.holders(component, target)):
            yield from secrets.manifests(holder, target)


def _wave(components: Sequence[Component], kinds: Sequence[str], target: Target) -> Iterator[Manifest]:
    for component in components:
        if component["kind"] in kinds:
            yield workloads.workload(component, target)
            yield workloads.disruption_budget(component, target)
            yield from scaling.manifests(component, target)


def _entrance(component: Component, target: Target) -> list[Manifest]:
    return entrance.manifests(component, target) if component["kind"] == "api-server" else []
