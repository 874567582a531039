# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from ansible_collections.airstack.backbone.plugins.lookup.text_files import read


def test_files_below_a_directory_come_by_their_relative_paths(tmp_path: Path) -> None:
    for name in ("b.py", "a.txt", "sub/c.py", "sub/__pycache__/c.py", ".git/d.py", "image.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")

    texts = read(tmp_path, ["*.py", "*.txt"])

    assert list(texts.items()) == [("a.txt", "a.txt\n"), ("b.py", "b.py\n"), ("sub/c.py", "sub/c.py\n")]


@pytest.mark.parametrize(("content", "message"), [(None, "is no directory"), (b"\xff", "is not text in UTF-8")])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "files"
    if content is not None:
        path.mkdir()
        (path / "file").write_bytes(content)
    with pytest.raises(AnsibleError, match=message):
        read(path, ["*"])
