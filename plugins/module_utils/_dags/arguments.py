# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The arguments of dag_sync, which its action plugin and its module both read."""

from __future__ import annotations

from typing import Any

ARGUMENTS: dict[str, dict[str, Any]] = {
    "storage": {"type": "path", "required": True},
    "source": {"type": "str", "required": True},
    "src": {"type": "path", "required": True},
    "remote_src": {"type": "bool", "default": False},
    "subdirectory": {"type": "str"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "file_mode": {"type": "raw", "default": "0644"},
    "directory_mode": {"type": "raw", "default": "0755"},
    "sentinel": {"type": "str", "default": ".airflow-dag-storage"},
    "publisher": {"type": "str"},
    "tree": {"type": "str"},
    "packed": {"type": "path"},
}
