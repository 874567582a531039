# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Wheels and wheelhouses, with real files."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._core import wheelhouses, wheels
from ansible_collections.airstack.backbone.plugins.module_utils._core.errors import CoreError

LOCK = """\
# by somebody
apache-airflow==3.3.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r airflow.in
Typing_Extensions[extra]==4.15.0 --hash=sha256:cc
"""
WHEELS = [
    wheels.Wheel("apache-airflow", "3.3.2", "apache_airflow-3.3.2-py3-none-any.whl", "aa"),
    wheels.Wheel("typing-extensions", "4.15.0", "typing_extensions-4.15.0-py3-none-any.whl", "cc"),
]
HOOKS = wheels.Wheel("hooks", "1.0", "hooks-1.0-py3-none-any.whl", "dd")


def make_wheel(folder: Path, file: str, *when: tuple[int, int, int, int, int, int]) -> Path:
    path = folder / file
    with zipfile.ZipFile(path, "w") as archive:
        for number, time in enumerate(when):
            archive.writestr(zipfile.ZipInfo(f"{number}.py", time), file)
    return path


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("hooks-1.0-py3-none-any.whl", "hooks", "1.0"),
        ("PyYAML-6.0.3-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", "pyyaml", "6.0.3"),
        ("ruamel.yaml_clib-0.2-1build-cp312-cp312-linux_x86_64.whl", "ruamel-yaml-clib", "0.2"),
        ("own-1!2.0+team.1-py3-none-any.whl", "own", "1!2.0+team.1"),
    ],
)
def test_a_wheel_is_what_its_name_says(file: str, name: str, version: str) -> None:
    assert wheels.wheel(file, "aa") == wheels.Wheel(name, version, file, "aa")


@pytest.mark.parametrize("file", ["hooks.whl", "hooks-1.0.tar.gz", "hooks-1.0-any.whl"])
def test_what_is_no_wheel_is_refused(file: str) -> None:
    with pytest.raises(CoreError, match="is not named like a wheel"):
        wheels.wheel(file, "aa")


def test_a_wheelhouse_is_named_by_its_files(tmp_path: Path) -> None:
    make_wheel(tmp_path, "b-1-py3-none-any.whl", (2026, 1, 2, 3, 4, 6))
    make_wheel(tmp_path, "a-1-py3-none-any.whl", (1980, 1, 1, 0, 0, 0))
    (tmp_path / "notes.txt").write_text("no wheel")
    found = wheels.read(tmp_path)
    assert [each.name for each in found] == ["a", "b"]
    assert found[0].sha256 == hashlib.sha256((tmp_path / found[0].file).read_bytes()).hexdigest()
    listed = "".join(sorted(f"{each.sha256}  {each.file}\n" for each in found))
    assert wheels.wheelhouse_hash(found) == hashlib.sha256(listed.encode()).hexdigest()


@given(st.permutations([*WHEELS, HOOKS]))
def test_the_order_of_wheels_does_not_count(order: list[wheels.Wheel]) -> None:
    assert wheels.wheelhouse_hash(order) == wheels.wheelhouse_hash([*WHEELS, HOOKS])
    assert wheels.requirements(order) == wheels.requirements([*WHEELS, HOOKS])


@pytest.mark.parametrize("other", [HOOKS._replace(file="hooks-1.1-py3-none-any.whl"), HOOKS._replace(sha256="ee")])
def test_another_file_is_another_wheelhouse(other: wheels.Wheel) -> None:
    assert wheels.wheelhouse_hash([*WHEELS, other]) != wheels.wheelhouse_hash([*WHEELS, HOOKS])


def test_wheels_are_requirements_that_read_back() -> None:
    text = wheels.requirements([*WHEELS, HOOKS])
    assert wheels.locked(text) == {"apache-airflow": "3.3.2", "hooks": "1.0", "typing-extensions": "4.15.0"}
    assert text.startswith("apache-airflow==3.3.2 \\\n    --hash=sha256:aa\n")


def test_an_image_bears_the_time_of_the_newest_file_in_its_wheels(tmp_path: Path) -> None:
    old = make_wheel(tmp_path, "a-1-py3-none-any.whl", (1980, 1, 1, 0, 0, 0))
    assert wheels.newest([old]) == wheels.FIRST_ZIP_TIME
    new = make_wheel(tmp_path, "b-1-py3-none-any.whl", (2026, 9, 17, 0, 0, 0), (1980, 1, 1, 0, 0, 0))
    assert wheels.newest([old, new]) == 1789603200


@pytest.mark.parametrize(
    ("downloaded", "own", "problems"),
    [
        (WHEELS, [HOOKS], []),
        (WHEELS[1:], [], ["of apache-airflow==3.3.2 there is no wheel"]),
        (
            [WHEELS[0]._replace(version="3.3.1", file="apache_airflow-3.3.1-py3-none-any.whl"), WHEELS[1], HOOKS],
            [],
            [
                "apache_airflow-3.3.1-py3-none-any.whl is there, and the lock asks for apache-airflow 3.3.2",
                "hooks-1.0-py3-none-any.whl is there, and the lock asks for hooks not at all",
            ],
        ),
        (
            WHEELS,
            [WHEELS[0], HOOKS, HOOKS._replace(file="hooks-2.0-py3-none-any.whl")],
            [
                f"{WHEELS[0].file} was built, and the lock has apache-airflow==3.3.2; take it out of one of them",
                "hooks-2.0-py3-none-any.whl and hooks-1.0-py3-none-any.whl are both hooks; leave one out",
            ],
        ),
    ],
)
def test_all_differences_from_the_lock_are_told(
    downloaded: list[wheels.Wheel], own: list[wheels.Wheel], problems: list[str]
) -> None:
    assert wheels.wheelhouse_problems(LOCK, downloaded, own) == problems


def test_a_lock_for_several_pythons_is_refused() -> None:
    assert wheels.lock_problems(LOCK) == []
    assert wheels.lock_problems("# empty\n") == ["the lock pins no package (name==version)"]
    assert wheels.lock_problems(LOCK + 'tomli==2.0 ; python_version < "3.11" \\\n    --hash=sha256:ff\n') == [
        "the lock has a condition (after a semicolon) for tomli"
    ]


def test_platforms_are_those_of_an_older_glibc_too() -> None:
    tags = wheels.platforms("x86_64")
    assert tags[:2] == ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"]
    assert tags.index("manylinux2014_x86_64") == tags.index("manylinux_2_17_x86_64") + 1
    assert tags[-2:] == ["manylinux1_x86_64", "linux_x86_64"]


def keep(root: Path, inputs: str, *files: str) -> wheelhouses.Wheelhouse:
    aside = root / wheelhouses.FOLDER / ".aside"
    aside.mkdir(parents=True)
    for file in files:
        make_wheel(aside, file, (2026, 9, 17, 0, 0, 0))
    return wheelhouses.keep(root, aside, wheels.read(aside), inputs, "3.12")


def test_wheels_become_a_wheelhouse_under_their_hash(tmp_path: Path) -> None:
    made = keep(tmp_path, "one", "a-1-py3-none-any.whl", "b-2-py3-none-any.whl")
    assert made.path == tmp_path / "wheelhouses" / wheels.wheelhouse_hash(made.wheels)
    assert made.timestamp == 1789603200
    assert wheelhouses.there(tmp_path) == [made]
    assert (made.path / "requirements.txt").read_text() == wheels.requirements(wheels.read(made.path))


def test_the_same_wheels_are_one_wheelhouse_whatever_they_came_from(tmp_path: Path) -> None:
    keep(tmp_path, "one", "a-1-py3-none-any.whl")
    again = keep(tmp_path, "two", "a-1-py3-none-any.whl")
    assert wheelhouses.there(tmp_path) == [again]
    assert again.inputs == "two"


def test_old_wheelhouses_go_and_the_current_one_stays(tmp_path: Path) -> None:
    made = [keep(tmp_path, f"{number}", f"a-{number}-py3-none-any.whl") for number in range(3)]
    assert wheelhouses.prune(tmp_path, 1, made[0].hash) == [made[2].hash, made[1].hash]
    assert [each.hash for each in wheelhouses.there(tmp_path)] == [made[0].hash]


def test_a_directory_that_is_no_wheelhouse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=r"is no wheelhouse, for .*/wheelhouse\.json does not say"):
        wheelhouses.read(tmp_path)
