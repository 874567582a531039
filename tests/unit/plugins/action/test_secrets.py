# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""secrets with real files, and variables that are templates of themselves."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.airstack.backbone.plugins.action import secrets
from ansible_collections.airstack.backbone.plugins.module_utils._model.secrets import MAKERS, flaw

Gather = Callable[..., dict[str, Any]]

KINDS = {"database": "password", "fernet_key": "fernet_key", "jwt": "key", "log_store": "given"}
GIVEN = {"airflow_secret_log_store": "issued elsewhere"}


@pytest.fixture(name="directory")
def secrets_directory(tmp_path: Path) -> Path:
    return tmp_path / "inventory" / ".secrets"


@pytest.fixture(name="gather")
def gather_secrets(directory: Path) -> Gather:
    def run(check: bool = False, generate: bool = True, **variables: Any) -> dict[str, Any]:
        needed = [{"name": name, "kind": kind, "purpose": "a test"} for name, kind in KINDS.items()]
        arguments = {"needed": needed, "directory": str(directory), "generate": generate}
        action = secrets.ActionModule(
            task=Mock(args=arguments, async_val=0, check_mode=check, action="secrets"),
            connection=Mock(),
            play_context=Mock(),
            loader=Mock(),
            templar=Mock(template=lambda value: value),
            shared_loader_obj=Mock(),
        )
        return action.run(task_vars={**GIVEN, **variables})

    return run


def test_missing_secrets_are_made_once(gather: Gather, directory: Path) -> None:
    first = gather()
    assert first["changed"]
    assert first["generated"] == ["database", "fernet_key", "jwt"]
    assert all(flaw(kind, first["secrets"][name]) is None for name, kind in KINDS.items())

    again = gather()
    assert (again["changed"], again["generated"], again["secrets"]) == (False, [], first["secrets"])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE((directory / name).stat().st_mode) for name in first["generated"]} == {0o600}
    assert (directory / ".gitignore").read_text() == "*\n"


def test_check_mode_keeps_nothing(gather: Gather, directory: Path) -> None:
    assert gather(check=True)["changed"]
    assert not directory.exists()


def test_a_variable_wins_over_a_file(gather: Gather, directory: Path) -> None:
    gather()
    (directory / "database").write_text("from the file\n")
    assert gather()["secrets"]["database"] == "from the file"
    assert gather(airflow_secret_database="from the vault\n")["secrets"]["database"] == "from the vault"


def test_what_may_not_be_made_is_named_at_once(gather: Gather, directory: Path) -> None:
    with pytest.raises(AnsibleActionFail) as refused:
        gather(generate=False)
    assert all(f"airflow_secret_{name}: a test" in str(refused.value) for name in ("database", "fernet_key", "jwt"))
    assert "log_store" not in str(refused.value)
    assert not directory.exists()


def test_flaws_are_told_at_once_and_not_shown(gather: Gather, directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "jwt").write_text("hunter2\n")
    with pytest.raises(AnsibleActionFail) as refused:
        gather(airflow_secret_database="", airflow_secret_fernet_key="hunter2", airflow_secret_log_store=123456)
    lines = str(refused.value).splitlines()
    assert "the variable airflow_secret_database: it is empty" in lines[1]
    assert "the variable airflow_secret_fernet_key: it is no Fernet key" in lines[2]
    assert f"the file {directory}/jwt: it is shorter than 64 bytes" in lines[3]
    assert "the variable airflow_secret_log_store: it is no text but int" in lines[4]
    assert not any(secret in str(refused.value) for secret in ("hunter2", "123456"))


def test_a_file_that_is_no_text_is_named(gather: Gather, directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "jwt").write_bytes(b"\xff\xfe")
    with pytest.raises(AnsibleActionFail, match=f"{directory}/jwt cannot be read: it is not UTF-8"):
        gather()


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_made_has_no_flaw(kind: str) -> None:
    assert flaw(kind, MAKERS[kind]()) is None


@pytest.mark.parametrize("value", ["two\nlines", "tab\there", " blank before", "blank after ", "\x00"])
def test_a_secret_is_one_line_without_control_characters(value: str) -> None:
    assert flaw("password", value)


def test_fernet_keys_may_be_rotated() -> None:
    make = MAKERS["fernet_key"]
    assert flaw("fernet_key", f"{make()},{make()}") is None
    assert flaw("fernet_key", f"{make()},")
