# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Images of the core: what one is called, what it says of itself, and how a builder is asked for it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ansible_collections.airstack.backbone.plugins.module_utils._render.image import SCRATCH

INPUTS = "airstack.core.inputs"
"""The label with a hash over all that an image is made of."""

WHEELHOUSE = "airstack.core.wheelhouse"

ANYBODY = "23456:0"
"""A user that no image names."""


class Image(NamedTuple):
    """An image that a builder has."""

    id: str
    digest: str | None
    created: str
    size: int
    labels: Mapping[str, str]


def inputs(context: Mapping[str, str], labels: Mapping[str, str], wheelhouse: str, uv: str) -> str:
    """What names all that an image is made of.

    :param uv: the hash of the program that installs the wheels
    """
    given = [sorted(context.items()), sorted(labels.items()), wheelhouse, uv]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


def reference(repository: str, airflow_version: str, asked: str) -> str:
    """An image's name on the host that builds it. Elsewhere it goes by its digest."""
    return f"{repository}:{airflow_version}-{asked[:12]}"


def all_labels(labels: Mapping[str, str], wheelhouse: str, timestamp: int, asked: str) -> dict[str, str]:
    """What an image says of itself."""
    created = datetime.fromtimestamp(timestamp, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**labels, "org.opencontainers.image.created": created, WHEELHOUSE: wheelhouse, INPUTS: asked}


def build_command(
    builder: str, name: str, context: str, labels: Mapping[str, str], timestamp: int, *, network: bool
) -> list[str]:
    """What a builder is asked for an image with.

    podman's cache does not see what is mounted into a step, and Docker's would keep the wheels, so it is not used. podman makes
    one layer, since nothing would share others, and gives it a time; Docker has no such option without BuildKit's newest.
    """
    own = {"podman": ["--layers=false", "--timestamp", str(timestamp)], "docker": ["--force-rm"]}
    return [
        *("build", "--no-cache", *own[builder]),
        *("--network", "default" if network else "none"),
        *(option for key, value in sorted(labels.items()) for option in ("--label", f"{key}={value}")),
        *("--tag", name, "--file", f"{context}/Containerfile", context),
    ]


def trial_command(name: str) -> list[str]:
    """What a builder is asked with to let an image run the program that comes on standard input, in as little as it may need."""
    return [
        *("run", "--rm", "--interactive", "--read-only", "--tmpfs", SCRATCH, "--cap-drop", "all", "--network", "none"),
        # podman's own limits are more than a machine may allow that is a container itself.
        *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
        *("--security-opt", "no-new-privileges", "--user", ANYBODY, name, "python", "-"),
    ]


def inspected(text: str) -> Image:
    """What a builder's `image inspect` says of one image."""
    (found,) = json.loads(text)
    return Image(
        id=str(found["Id"]).removeprefix("sha256:"),
        digest=found.get("Digest") or None,
        created=found["Created"],
        size=found["Size"],
        labels=found.get("Labels") or (found.get("Config") or {}).get("Labels") or {},
    )


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels for a diff."""
    return "".join(f"{key}: {value}\n" for key, value in sorted(labels.items()))


def about(name: str, image: Image) -> dict[str, Any]:
    """An image as modules return it."""
    return {"reference": name, **image._asdict(), "labels": dict(image.labels)}


def names(listing: str) -> Sequence[str]:
    """The names of `image ls`, each once, in their order."""
    return list(dict.fromkeys(line.strip() for line in listing.splitlines() if line.strip()))
