# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The DAG storage as a volume claim that many pods read, and the volumes that such a claim may have.

A volume belongs to the cluster and not to a namespace, so it is not among a platform's manifests: who administers the
cluster makes it, for a claim that names it (NewClaim.volume).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

from . import naming
from .cluster import Manifest, NewClaim, Target


@dataclass(frozen=True)
class Nfs:
    """A share of an NFS server's, as of Airflow's own hosts."""

    server: str
    path: str
    options: Sequence[str] = ("nfsvers=4.2", "hard")


@dataclass(frozen=True)
class Efs:
    """A file system of Amazon EFS, through its CSI driver. access_point: whose root the volume's is."""

    filesystem: str
    access_point: str | None = None


@dataclass(frozen=True)
class PersistentDisk:
    """A disk that is written elsewhere and read by many, through a CSI driver; Google's by default.

    handle: projects/<project>/zones/<zone>/disks/<disk>.
    """

    handle: str
    filesystem: str = "ext4"
    driver: str = "pd.csi.storage.gke.io"


Backing = Union[Nfs, Efs, PersistentDisk]


def claim(target: Target) -> list[Manifest]:
    """The claim, where it is made here. It is never pruned: what it holds, nobody would get back."""
    told = target.cluster.dags
    if not isinstance(told, NewClaim):
        return []
    return [naming.manifest("v1", "PersistentVolumeClaim", told.name, target, spec=claim_spec(told))]


def claim_spec(told: NewClaim) -> dict[str, Any]:
    """What a new claim asks for."""
    no_class = "" if told.volume else None
    storage_class = no_class if told.storage_class is None else told.storage_class
    return {
        "accessModes": [told.access_mode],
        **({} if storage_class is None else {"storageClassName": storage_class}),
        **({"volumeName": told.volume} if told.volume else {}),
        "resources": {"requests": {"storage": told.size}},
    }


def mount(part: str, target: Target) -> dict[str, str]:
    """Where a part of the DAG storage is in a pod, and in the claim's volume. part: "" for all of it."""
    root, folder = target.platform.endpoints["dag_storage"]["path"], target.cluster.dags.path.strip("/")
    inside = "/".join(filter(None, (folder, part)))
    return {"mountPath": f"{root}/{part}" if part else root, **({"subPath": inside} if inside else {})}


def volume(claimed: NewClaim, backing: Backing, environment: str, namespace: str) -> Manifest:
    """The volume that a claim in a namespace names, for who administers the cluster. It is kept when the claim goes."""
    makers: dict[type, Callable[[Any, bool], dict[str, Any]]] = {Nfs: _nfs, Efs: _efs, PersistentDisk: _persistent_disk}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": claimed.volume, "labels": naming.environment_labels(environment)},
        "spec": {
            "accessModes": [claimed.access_mode],
            "capacity": {"storage": claimed.size},
            "storageClassName": claimed.storage_class or "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": claimed.name,
            },
            **makers[type(backing)](backing, claimed.access_mode == "ReadOnlyMany"),
        },
    }


def _nfs(backing: Nfs, is_read_only: bool) -> dict[str, Any]:
    return {
        "mountOptions": [*backing.options, *(["ro"] if is_read_only else [])],
        "nfs": {"server": backing.server, "path": backing.path, "readOnly": is_read_only},
    }


def _efs(backing: Efs, is_read_only: bool) -> dict[str, Any]:
    handle = f"{backing.filesystem}::{backing.access_point}" if backing.access_point else backing.filesystem
    csi = {"driver": "efs.csi.aws.com", "volumeHandle": handle, "readOnly": is_read_only}
    return {"mountOptions": ["tls"], "csi": csi}


def _persistent_disk(backing: PersistentDisk, is_read_only: bool) -> dict[str, Any]:
    return {
        "csi": {
            "driver": backing.driver,
            "volumeHandle": backing.handle,
            "fsType": backing.filesystem,
            "readOnly": is_read_only,
        }
    }
