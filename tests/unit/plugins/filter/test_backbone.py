# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.airstack.backbone.plugins.filter import backbone

LOOK = """
import json, sys
from ansible_collections.airstack.backbone.plugins.filter.backbone import FilterModule
filters = FilterModule().filters()
before = [name for name in sys.modules if "backbone.plugins." in name and ".plugins.filter" not in name]
after = filters["lab_hosts"]({"a": {"ansible_host": "192.0.2.1"}}, ["a"])
print(json.dumps([before, after]))
"""


def test_every_filter_is_a_function_and_described() -> None:
    assert all(callable(pkgutil.resolve_name(f"{backbone.PLUGINS}.{place}")) for place in backbone.FILTERS.values())
    described = {path.stem for path in Path(backbone.__file__).parent.glob("*.yml")}
    assert set(backbone.FILTERS) == described


def test_what_a_filter_needs_is_imported_when_it_is_used() -> None:
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", LOOK], env=path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], [{"name": "a", "address": "192.0.2.1"}]]
