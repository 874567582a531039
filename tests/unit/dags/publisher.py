# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A publisher in a process of its own, to be killed or raced: `publisher.py <storage> <source> <directory>`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._dags import jobs, staging, switching
from ansible_collections.airstack.backbone.plugins.module_utils._dags.files import Attributes
from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.directory import DirectoryOrigin
from ansible_collections.airstack.backbone.plugins.module_utils._dags.releases import Directory


def publish(job: jobs.Job, directory: Path) -> dict[str, Any]:
    """Publish a directory of this host."""
    return switching.switch(job, staging.stage(job, DirectoryOrigin(directory)))


def main(storage: str, source: str, directory: str) -> None:
    job = jobs.Job(Directory(Path(storage), source), Attributes(os.geteuid(), os.getegid()), "test")
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    sys.stdout.write(publish(job, Path(directory))["release"])


if __name__ == "__main__":
    main(*sys.argv[1:])
