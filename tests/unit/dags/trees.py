# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Directory trees as dictionaries: path -> content, with `Link` and `Executable` for what is not a plain file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Union

from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._dags.origins.origin import Before, Known
from ansible_collections.airstack.backbone.plugins.module_utils._dags.tree import RESERVED, Entry


class Link(NamedTuple):
    target: str


class Executable(NamedTuple):
    data: bytes


Content = Union[bytes, Executable, Link]
Tree = Mapping[str, Content]

# Few names and contents, so that trees share paths, files and directories often.
NAMES = st.sampled_from(["a", "b", "c.py", "d e", "é", ".hidden", "-f"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.sampled_from([b"", b"x", b"y\n", b"z" * 5000, b"\xff\0"])


def _without_clashes(tree: Tree) -> Tree:
    """Only paths that are not beneath another one."""
    kept: dict[str, Content] = {}
    for path in sorted(tree):
        if not any(path.startswith(f"{other}/") for other in kept):
            kept[path] = tree[path]
    return kept


TREES = (
    st.dictionaries(PATHS, DATA | DATA.map(Executable), min_size=1, max_size=8)
    .map(_without_clashes)
    .filter(lambda tree: not RESERVED & set(tree))
)


def make(root: Path, tree: Tree) -> Path:
    """Write a tree, and return its root."""
    root.mkdir(parents=True, exist_ok=True)
    for path, content in tree.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            os.symlink(content.target, place)
        elif isinstance(content, Executable):
            place.write_bytes(content.data)
            place.chmod(0o700)
        else:
            place.write_bytes(content)
            place.chmod(0o600)
    return root


def read(root: Path) -> Tree:
    """Read a tree back, without what the publisher adds to a release."""
    found: dict[str, Content] = {}
    for directory, directories, names in os.walk(root):
        for name in [*names, *(each for each in directories if (Path(directory) / each).is_symlink())]:
            place = Path(directory) / name
            path = str(place.relative_to(root))
            if path in RESERVED:
                continue
            if place.is_symlink():
                found[path] = Link(os.readlink(place))
            else:
                data = place.read_bytes()
                found[path] = Executable(data) if place.stat().st_mode & 0o100 else data
    return found


def before(known: Mapping[str, Known]) -> Before:
    """What was published before, of which nothing but the contents is known, by their marks."""
    entries = [Entry(mark, "f", each.digest, each.size) for mark, each in known.items()]
    return Before(entries, {mark: mark for mark in known})
