# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster is told, out of a plain dictionary as an inventory has it.

Its keys are Cluster's own. Of several kinds of one thing, the dictionary's only key says which one is meant:
``secrets: {made: {}}``, ``{existing: {names: {...}}}`` or ``{external: {store: vault}}``; ``dags: {existing: {name: dags}}`` or
``{new: {...}}``; ``entrance: {ingress: {...}}``, ``{route: {...}}`` or ``{gateway: {...}}``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ..._model import resources
from ..._model.fields import Entry, Field, flag, listing, mapping, matching, record, whole_number
from ..._model.problems import Problem
from . import cluster, services, storage
from .cluster import Cluster, MadeSecrets, NewClaim

_SEGMENT = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"

label = matching(_SEGMENT, "a name of lower-case letters, digits and hyphens, up to 63 characters")
name = matching(rf"(?=.{{1,253}}\Z){_SEGMENT}(\.{_SEGMENT})*", "a name of lower-case letters, digits, hyphens and dots")
host = matching(rf"(?=.{{1,253}}\Z)(\*\.)?{_SEGMENT}(\.{_SEGMENT})+", "a host's name, such as airflow.example.com")
text = matching(r"[^\x00-\x1f]{1,500}", "a text on one line")
path = matching(r"[A-Za-z0-9_./-]{0,500}", "a path of letters, digits, . _ - and /")
quantity = matching(
    r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?", "a quantity in quotes, such as 500m, 2 or 4Gi"
)
interval = matching(r"([0-9]+[hms])+", "an interval, such as 1h or 30m")
address = matching(
    r"[0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:]+/[0-9]{1,3}",
    "a network's address, such as 10.0.0.0/24",
)
mode = matching(
    "ReadOnlyMany|ReadWriteMany|ReadWriteOnce",
    "ReadOnlyMany, ReadWriteMany where a class gives no such or a pod publishes, or ReadWriteOnce where there is one node",
)
store = matching("SecretStore|ClusterSecretStore", "SecretStore or ClusterSecretStore")
label_key = matching(
    rf"((?=.{{1,253}}/){_SEGMENT}(\.{_SEGMENT})*/)?{_WORD}",
    "a label's or a taint's key, such as example.com/accelerator",
)
label_value = matching(rf"({_WORD})?", "a label's or a taint's value in quotes, up to 63 letters, digits, . _ and -")
operator = matching("Equal|Exists", "Equal, to a value, or Exists, with any")
effect = matching("NoSchedule|PreferNoSchedule|NoExecute", "NoSchedule, PreferNoSchedule or NoExecute")
empty_or_name = matching(rf"|{_SEGMENT}(\.{_SEGMENT})*", "a storage class; empty for a volume of none")

port = whole_number(1, 65535)
group = whole_number(1, 2**31 - 1)
_texts = mapping(text, text)


def made(build: Callable[..., Any], entries: Mapping[str, Entry]) -> Field:
    """A record that becomes what ``build`` makes of those of its keys that are given."""
    fields = record(entries)

    def read(value: Any, where: str, problems: list[Problem]) -> Any:
        found = fields(value, where, problems)
        return None if found is None else build(**{key: each for key, each in found.items() if each is not None})

    return read


def one_of_kinds(kinds: Mapping[str, Field]) -> Field:
    """A dictionary of one key, which says what its value is."""

    def read(value: Any, where: str, problems: list[Problem]) -> Any:
        if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in kinds:
            (kind,) = value
            return kinds[kind](value[kind] or {}, f"{where}.{kind}", problems)
        problems.append(Problem(where, value, "a dictionary with one of the keys " + ", ".join(kinds)))
        return None

    return read


peer = made(cluster.Peer, {"cidr": Entry(address), "namespace": Entry(_texts), "pods": Entry(_texts)})
_peers = Entry(listing(peer))
outlet = made(cluster.Outlet, {"peers": _peers, "ports": Entry(listing(port))})

dags = one_of_kinds(
    {
        "existing": made(
            cluster.ExistingClaim,
            {"name": Entry(name, required=True), "path": Entry(path), "groups": Entry(listing(group))},
        ),
        "new": made(
            cluster.NewClaim,
            {
                "name": Entry(name, required=True),
                "size": Entry(quantity, required=True),
                "storage_class": Entry(empty_or_name),
                "volume": Entry(name),
                "access_mode": Entry(mode),
                "path": Entry(path),
                "groups": Entry(listing(group)),
            },
        ),
    }
)

entrance = one_of_kinds(
    {
        "ingress": made(
            cluster.Ingress,
            {
                "host": Entry(host, required=True),
                "tls_secret": Entry(name, required=True),
                "ingress_class": Entry(name),
                "annotations": Entry(_texts),
                "peers": _peers,
            },
        ),
        "route": made(
            cluster.Route,
            {
                "host": Entry(host, required=True),
                "gateway": Entry(name, required=True),
                "namespace": Entry(label),
                "section": Entry(name),
                "peers": _peers,
            },
        ),
        "gateway": made(
            cluster.Gateway,
            {
                "host": Entry(host, required=True),
                "gateway_class": Entry(name, required=True),
                "tls_secret": Entry(name, required=True),
                "peers": _peers,
            },
        ),
    }
)


def _secrets(values: MadeSecrets) -> Field:
    return one_of_kinds(
        {
            "made": made(lambda: values, {}),
            "existing": made(cluster.ExistingSecrets, {"names": Entry(mapping(text, name), required=True)}),
            "external": made(
                cluster.ExternalSecrets,
                {
                    "store": Entry(name, required=True),
                    "kind": Entry(store),
                    "prefix": Entry(text),
                    "refresh": Entry(interval),
                },
            ),
        }
    )


toleration = made(
    cluster.Toleration,
    {
        "key": Entry(label_key),
        "operator": Entry(operator),
        "value": Entry(label_value),
        "effect": Entry(effect),
        "seconds": Entry(whole_number(0, 2**31 - 1)),
    },
)
_count = whole_number(0, 10000)

ENTRIES: dict[str, Entry] = {
    "namespace": Entry(label, required=True),
    "image": Entry(text, required=True),
    "dags": Entry(dags, required=True),
    "creates_namespace": Entry(flag),
    "pull_secrets": Entry(listing(name)),
    "user": Entry(whole_number(0, 2**31 - 1)),
    "entrance": Entry(entrance),
    "scaling": Entry(
        mapping(
            text,
            made(
                cluster.Scaling,
                {
                    "least": Entry(_count, required=True),
                    "most": Entry(_count, required=True),
                    "cpu": Entry(whole_number(1, 1000)),
                },
            ),
        )
    ),
    "has_keda": Entry(flag),
    "nodes": Entry(
        mapping(
            text,
            made(
                cluster.Nodes,
                {"selector": Entry(mapping(label_key, label_value)), "tolerations": Entry(listing(toleration))},
            ),
        )
    ),
    "priority_classes": Entry(mapping(text, name)),
    "annotations": Entry(mapping(text, _texts)),
    "dns": Entry(peer),
    "dns_port": Entry(port),
    "reach": Entry(mapping(text, listing(peer))),
    "outlets": Entry(mapping(text, listing(outlet))),
}
"""All of Cluster's fields but its secrets."""


def _resources(value: Any, where: str, problems: list[Problem]) -> dict[str, dict[str, str]] | None:
    parts = resources.one(value, where, problems)
    if parts is None:
        return None
    problems += resources.beyond(parts, where)
    return resources.said(parts)


SERVICE_ENTRIES: dict[str, Entry] = {
    "image": Entry(text, required=True),
    "claim": Entry(
        one_of_kinds(
            {
                "existing": made(cluster.ExistingClaim, {"name": Entry(name, required=True)}),
                "new": made(
                    services.new_claim,
                    {
                        "name": Entry(name, required=True),
                        "size": Entry(quantity, required=True),
                        "storage_class": Entry(empty_or_name),
                        "volume": Entry(name),
                    },
                ),
            }
        ),
        required=True,
    ),
    "resources": Entry(_resources),
}
"""What is said of a service of the platform's in the cluster."""


_backing = one_of_kinds(
    {
        "nfs": made(
            storage.Nfs,
            {
                "server": Entry(text, required=True),
                "path": Entry(path, required=True),
                "options": Entry(listing(text)),
            },
        ),
        "efs": made(storage.Efs, {"filesystem": Entry(text, required=True), "access_point": Entry(text)}),
        "persistent_disk": made(
            storage.PersistentDisk,
            {"handle": Entry(text, required=True), "filesystem": Entry(text), "driver": Entry(text)},
        ),
    }
)


def read_volume(
    told: Any, where: str, backing: Any, backing_where: str
) -> tuple[tuple[NewClaim, storage.Backing, str] | None, list[Problem]]:
    """The claim that names a volume, what that volume is, and the claim's namespace; or None and everything that is wrong."""
    if not isinstance(told, Mapping):
        return None, [
            Problem(where, told, "what the cluster is told, such as {namespace: airflow, dags: {new: {...}}}")
        ]
    problems: list[Problem] = []
    namespace = label(told.get("namespace"), f"{where}.namespace", problems)
    claim = dags(told.get("dags"), f"{where}.dags", problems)
    settled = _backing(backing, backing_where, problems)
    if not problems and not (isinstance(claim, NewClaim) and claim.volume):
        problems.append(
            Problem(f"{where}.dags", told.get("dags"), "new, with a volume that shall be made, by its name")
        )
    return (None, problems) if problems else ((claim, settled, namespace), [])


_PLACE = ("namespace", "creates_namespace", "user", "pull_secrets", "nodes", "priority_classes")


def read_service(told: Any, where: str) -> tuple[services.Told | None, list[Problem]]:
    """What is said of a service, or None and everything that is wrong with it."""
    problems: list[Problem] = []
    found = made(services.Told, SERVICE_ENTRIES)(told, where, problems)
    return (None, problems) if problems else (found, [])


def read_place(told: Any, where: str, environment: str) -> tuple[services.Place | None, list[Problem]]:
    """Where a service of the platform's is put, out of what the cluster is told for the components as well."""
    if not isinstance(told, Mapping):
        return None, [Problem(where, told, f"what the cluster is told, such as {{namespace: airflow-{environment}}}")]
    problems: list[Problem] = []
    entries = {key: ENTRIES[key] for key in _PLACE}
    build = functools.partial(services.Place, environment)
    found = made(build, entries)({key: told[key] for key in entries if key in told}, where, problems)
    return (None, problems) if problems else (found, [])


def read(told: Any, where: str, values: MadeSecrets) -> tuple[Cluster | None, list[Problem]]:
    """The cluster, or None and everything that is wrong with what it is told.

    where: the variable that holds it. values: of the secrets, if they are made from these.
    """
    problems: list[Problem] = []
    field = made(Cluster, {**ENTRIES, "secrets": Entry(_secrets(values), default=values)})
    found = field(told, where, problems)
    return (None, problems) if problems else (found, [])
