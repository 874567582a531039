# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: text_files
short_description: Read all text files below a directory
version_added: 0.1.0
author: Airstack Founders (@airstack)
description:
  - Reads the files below a directory of the controller, so that M(airstack.backbone.file_set) can write all of them in
    one round trip, and so that their content can be hashed.
  - Leaves out hidden directories and C(__pycache__).
options:
  _terms:
    description: Absolute paths of directories.
    type: list
    elements: str
    required: true
  patterns:
    description: Only files whose name matches one of these shell patterns.
    type: list
    elements: str
    default: ["*"]
"""

EXAMPLES = r"""
- name: Show the files of a package
  ansible.builtin.debug:
    msg: "{{ lookup('airstack.backbone.text_files', role_path ~ '/files/package', patterns=['*.py']) | list }}"
"""

RETURN = r"""
_raw:
  description: For each directory, the text of its files by their path relative to it, in the order of these.
  type: list
  elements: dict
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [read(Path(term), self.get_option("patterns")) for term in terms]


def read(directory: Path, patterns: Iterable[str]) -> dict[str, str]:
    if not directory.is_dir():
        raise AnsibleError(f"text_files: {directory} is no directory")
    texts = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        is_hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts[:-1])
        if path.is_file() and not is_hidden and any(fnmatchcase(path.name, pattern) for pattern in patterns):
            try:
                texts[relative.as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise AnsibleError(f"text_files: {path} is not text in UTF-8") from None
    return texts
