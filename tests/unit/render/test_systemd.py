# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the components of a host become under systemd. The golden files show it whole."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._model import components
from ansible_collections.airstack.backbone.plugins.module_utils._render import configuration, systemd
from ansible_collections.airstack.backbone.plugins.plugin_utils.filters.components import (
    component_files,
    component_setup_files,
    component_units,
)
from ansible_collections.airstack.backbone.tests.unit import needs
from ansible_collections.airstack.backbone.tests.unit.render import golden_files

CORE = "/opt/airflow/core/3.3.2-0123456789ab"
HOSTS = ("control1", "control2", "worker-etl1", "worker-ml1", "backbone1")
PLACE = systemd.Place("control1", "local", CORE, "/srv/airflow/dags", ".airflow-dag-storage")

FileSet = dict[str, Any]


@pytest.fixture(name="file_sets")
def file_sets_of_hosts(planned: Any, endpoints: Any, secrets: Any) -> dict[str, FileSet]:
    return {host: component_files(planned, endpoints, host, CORE, secrets, 30) for host in HOSTS}


def contents(file_set: FileSet) -> dict[str, str]:
    """Content of the files that are no secret, by path."""
    return {file["path"]: file["content"] for file in file_set["files"] if "content" in file}


def units(file_set: FileSet) -> dict[str, str]:
    return {Path(path).stem: text for path, text in contents(file_set).items() if path.endswith(".service")}


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


@pytest.mark.parametrize("host", ["control1", "worker-etl1"])
def test_files_are_the_golden_ones(file_sets: dict[str, FileSet], host: str) -> None:
    made = contents(file_sets[host])
    assert made == golden_files.of(host, made)


@pytest.mark.parametrize("host", HOSTS)
def test_what_sets_up_the_database_is_a_part_of_all_files(
    planned: Any, endpoints: Any, secrets: Any, file_sets: dict[str, FileSet], host: str
) -> None:
    part = component_setup_files(planned, endpoints, host, CORE, secrets)
    assert all(each in file_sets[host][key] for key in ("directories", "files") for each in part[key])
    assert part["secrets"].items() <= file_sets[host]["secrets"].items()
    assert set(units(part)) == ({"airflow-setup"} if host == "control1" else set())


@pytest.mark.parametrize("host", HOSTS)
def test_secrets_stand_in_credential_files_alone(file_sets: dict[str, FileSet], host: str) -> None:
    text = json.dumps({key: value for key, value in file_sets[host].items() if key != "secrets"})
    assert "value-of-" not in text


@pytest.mark.parametrize("host", HOSTS)
def test_every_secret_has_one_file_that_root_alone_reads(file_sets: dict[str, FileSet], host: str) -> None:
    files = [file for file in file_sets[host]["files"] if "secret" in file]
    assert sorted(file["secret"] for file in files) == sorted(file_sets[host]["secrets"])
    assert {(file["owner"], file["mode"]) for file in files} <= {("root", "0600")}
    closed = {entry["path"] for entry in file_sets[host]["directories"] if entry["mode"] == "0700"}
    assert {str(Path(file["path"]).parent) for file in files} <= closed


@pytest.mark.parametrize("host", HOSTS)
def test_a_unit_loads_just_the_credentials_that_its_configuration_reads(
    file_sets: dict[str, FileSet], host: str
) -> None:
    for name, unit in units(file_sets[host]).items():
        component = name.removeprefix("airflow-")
        text = unit + contents(file_sets[host])[f"/etc/airflow/{component}/airflow.cfg"]
        loaded = {f"/run/credentials/{name}.service/{entry.split(':')[0]}" for entry in values(unit, "LoadCredential")}
        assert loaded
        assert set(re.findall(r"/run/credentials/[^\s\"]+", text)) == loaded


@pytest.mark.parametrize(
    ("cpu", "quota"), [("1500m", "150%"), ("2", "200%"), ("10", "1000%"), ("0.5", "50%"), ("5m", "0.5%")]
)
def test_a_component_takes_no_more_than_its_limits(
    planned: Any, endpoints: Any, secrets: Any, cpu: str, quota: str
) -> None:
    told = {"worker-etl": {"requests": {"cpu": "1"}, "limits": {"cpu": cpu, "memory": "4Gi"}}}
    made = component_files({**planned, "resources": told}, endpoints, "worker-etl1", CORE, secrets, 30)
    (unit,) = units(made).values()
    assert (values(unit, "CPUQuota"), values(unit, "MemoryMax")) == ([quota], [str(4 * 2**30)])


def test_a_worker_sees_the_sources_of_its_pool_and_no_others(file_sets: dict[str, FileSet]) -> None:
    worker = units(file_sets["worker-etl1"])["airflow-worker-etl"]
    assert values(worker, "TemporaryFileSystem") == ["/srv/airflow/dags:ro"]
    assert values(worker, "BindReadOnlyPaths") == ["-/srv/airflow/dags/.airflow-dag-storage", "-/srv/airflow/dags/etl"]
    assert values(worker, "BindPaths") == values(worker, "ReadWritePaths") == []


def test_who_reads_no_dags_sees_none(file_sets: dict[str, FileSet]) -> None:
    control = units(file_sets["control1"])
    readers = [name for name, unit in control.items() if values(unit, "TemporaryFileSystem")]
    assert readers == ["airflow-dag-processor"]
    others = [unit for name, unit in control.items() if name not in readers]
    assert {tuple(values(unit, "InaccessiblePaths")) for unit in others} == {("-/srv/airflow/dags",)}


def test_a_worker_may_finish_its_tasks_when_it_stops(file_sets: dict[str, FileSet], planned: Any) -> None:
    worker = units(file_sets["worker-ml1"])["airflow-worker-ml"]
    assert values(worker, "KillMode") == ["mixed"]
    assert int(values(worker, "TimeoutStopSec")[0]) > planned["longest_task"]


def test_the_target_starts_what_stays(file_sets: dict[str, FileSet]) -> None:
    wanted = {
        host: values(contents(files).get("/etc/systemd/system/airflow.target", ""), "Wants")
        for host, files in file_sets.items()
    }
    assert wanted["worker-etl1"] == ["airflow-worker-etl.service"]
    assert wanted["control1"] == [
        f"airflow-{kind}.service" for kind in ("api-server", "scheduler", "dag-processor", "triggerer")
    ]


def test_the_database_is_set_up_on_one_host(file_sets: dict[str, FileSet]) -> None:
    assert [host for host, files in file_sets.items() if "airflow-setup" in units(files)] == ["control1"]


def test_a_host_without_components_is_cleaned(file_sets: dict[str, FileSet]) -> None:
    nothing = file_sets["backbone1"]
    assert (nothing["files"], nothing["directories"], nothing["secrets"]) == ([], [], {})
    assert nothing["prune"] == file_sets["control1"]["prune"]


def test_pruned_unit_files_are_all_the_kinds_that_are_written(file_sets: dict[str, FileSet]) -> None:
    (prune,) = [entry for entry in file_sets["control1"]["prune"] if entry["path"] == systemd.UNITS]
    written = {
        Path(path).name for host in HOSTS for path in contents(file_sets[host]) if path.startswith(systemd.UNITS)
    }
    unmatched = [name for name in written if not any(Path(name).match(pattern) for pattern in prune["patterns"])]
    assert unmatched == []


def test_each_file_restarts_the_unit_that_reads_it_and_no_other(file_sets: dict[str, FileSet]) -> None:
    for file in file_sets["control1"]["files"]:
        label = [entry for entry in file["restarts"] if entry != systemd.RELOAD]
        named = re.search(r"airflow-[a-z-]+\.service|(?<=/etc/airflow/)(?:credentials/)?([a-z-]+)/", file["path"])
        if named is None:
            assert label == []
        else:
            assert label == [f"airflow-{named[1]}.service" if named[1] else named[0]]


def test_watched_files_are_the_written_ones(planned: Any, endpoints: Any, file_sets: dict[str, FileSet]) -> None:
    written = {}
    for file in file_sets["control1"]["files"]:
        for unit in file["restarts"]:
            written.setdefault(unit, set()).add(file["path"])
    for unit in component_units(planned, endpoints, "control1"):
        assert {f"/etc/systemd/system/{unit['name']}", *unit["files"]} == written[unit["name"]]


def test_the_nearest_api_server_is_asked_first(planned: Any, endpoints: Any) -> None:
    health = {unit["component"]: unit["health"] for unit in component_units(planned, endpoints, "control2")}
    assert health["triggerer"]["urls"] == ["http://127.0.0.1:8080", "http://10.0.0.13:8080"]
    assert health["api-server"] == {"type": "http", "url": "http://127.0.0.1:8080/api/v2/version"}


@pytest.mark.parametrize(
    ("path", "mounts"),
    [
        ("/srv/dags", ["srv.mount", "srv-dags.mount"]),
        ("/srv/air-flow", ["srv.mount", r"srv-air\x2dflow.mount"]),
        ("/.nfs/dags.d", [r"\x2enfs.mount", r"\x2enfs-dags.d.mount"]),
        ("/srv/a_b/c", ["srv.mount", "srv-a_b.mount", "srv-a_b-c.mount"]),
    ],
)
def test_mount_units_are_named_as_systemd_names_them(path: str, mounts: list[str]) -> None:
    assert systemd.mount_units(path) == mounts


@needs.systemd_escape
@given(st.from_regex(r"(/[A-Za-z0-9_.-]*[A-Za-z0-9_-]){2,3}", fullmatch=True))
def test_mount_units_agree_with_systemd_escape(path: str) -> None:
    escaped = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", "--", path], check=True, capture_output=True, text=True
    )
    assert systemd.mount_units(path)[-1] == escaped.stdout.strip()


def test_configuration_survives_the_parser_that_airflow_uses(planned: Any, endpoints: Any) -> None:
    for component in components.model(planned, endpoints):
        parser = configparser.ConfigParser()
        parser.read_string(configuration.text(component, systemd._places(component)))
        read = {section: dict(parser[section]) for section in parser.sections()}
        for section, keys in component["settings"].items():
            assert {key: read[section][key] for key in keys} == keys


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40))
def test_a_word_of_a_unit_file_is_taken_literally(text: str) -> None:
    word = systemd._word(text)
    plain = word[1:-1] if word.startswith('"') else word
    assert re.sub(r'\\(["\\])', r"\1", plain).replace("%%", "%") == text
    assert word.startswith('"') or not re.search(r"[\s\"'\\;]", word, re.ASCII)
