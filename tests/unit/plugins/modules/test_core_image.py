# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""core_image on a host that has no builder. tests/image builds."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.modules import core_image, core_image_info

Run = Callable[..., dict[str, Any]]


@pytest.fixture(name="wheelhouse")
def wheelhouse_of_one_wheel(tmp_path: Path) -> wheelhouses.Wheelhouse:
    aside = tmp_path / wheelhouses.FOLDER / ".aside"
    aside.mkdir(parents=True)
    with zipfile.ZipFile(aside / "a-1-py3-none-any.whl", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.py", (2026, 9, 17, 0, 0, 0)), "")
    return wheelhouses.keep(tmp_path, aside, wheels.read(aside), "inputs", "3.12")


@pytest.fixture(name="run")
def run_core_image(
    run_module: Any, wheelhouse: wheelhouses.Wheelhouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """On a host whose PATH has nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "uv").write_text("uv", encoding="utf-8")
    return partial(
        run_module,
        core_image.main,
        name="localhost/none",
        airflow_version="3.3.2",
        context={"Containerfile": "FROM scratch\n"},
        labels={"a": "b"},
        wheelhouse=str(wheelhouse.path),
        uv=str(tmp_path / "uv"),
    )


def test_check_mode_foresees_the_image_without_a_builder(run: Run, wheelhouse: wheelhouses.Wheelhouse) -> None:
    result = run(check=True)
    assert result["changed"]
    assert "image" not in result
    assert result["diff"]["before"] == ""
    lines = result["diff"]["after"].splitlines()
    assert lines[0] == "a: b"
    assert f"airstack.core.wheelhouse: {wheelhouse.hash}" in lines
    assert "org.opencontainers.image.created: 2026-09-17T00:00:00Z" in lines


def test_check_mode_needs_no_wheelhouse(run: Run) -> None:
    result = run(check=True, wheelhouse=None, uv=None)
    assert (result["changed"], result["diff"]["after"]) == (True, "a: b\n")


def test_a_build_without_a_builder_is_refused_with_what_to_do(run: Run, tmp_path: Path) -> None:
    said = run()["msg"]
    assert "was to be built by podman, which is not on this host's PATH" in said
    assert "apt-get install --no-install-recommends podman" in said
    assert list(tmp_path.glob(".context*")) == []


def test_a_build_without_wheels_is_refused(run: Run) -> None:
    assert "core_wheelhouse returns them" in run(wheelhouse=None)["msg"]


def test_what_is_no_wheelhouse_is_refused(run: Run, tmp_path: Path) -> None:
    assert f"{tmp_path} is no wheelhouse" in run(wheelhouse=str(tmp_path))["msg"]


def test_a_builder_that_is_missing_is_told(run_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = run_module(core_image_info.main, name="localhost/none", base="localhost/base")
    assert found["builder"] == {"problem": "podman is not on this host's PATH"}
    assert (found["has_base"], found["images"]) == (False, [])
