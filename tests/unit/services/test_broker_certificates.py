# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said of a broker's certificate before a server has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from ansible_collections.airstack.backbone.plugins.module_utils._services import certificates
from ansible_collections.airstack.backbone.tests.unit.services.certificates import Authority
from ansible_collections.airstack.backbone.tests.unit.services.role_runs import Deployer

ADDRESS = "10.0.0.11"


@pytest.fixture(name="authority")
def authority_of_the_platform(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture(name="texts")
def what_fits(authority: Authority) -> dict[str, str]:
    return certified(authority)


def certified(authority: Authority) -> dict[str, str]:
    path, key = authority.certify(ADDRESS)
    return {"certificate": path.read_text(), "key": key, "ca": authority.ca.read_text()}


def test_what_fits_is_believed_at_its_address(texts: dict[str, str]) -> None:
    assert certificates.problems(texts, ADDRESS) == []


def test_what_stands_beside_an_authoritys_certificate_does_no_harm(texts: dict[str, str]) -> None:
    texts["ca"] = f"# Főtanúsítvány\n{texts['ca']}"
    assert certificates.problems(texts, ADDRESS) == []


def test_the_address_of_another_node_is_missed(texts: dict[str, str]) -> None:
    (found,) = certificates.problems(texts, "10.0.0.12")
    assert found.startswith("clients would refuse airflow_broker_tls_certificate at 10.0.0.12: IP address mismatch")
    assert "It has to name 10.0.0.12 in its subjectAltName" in found


def test_another_authority_is_told(texts: dict[str, str], tmp_path: Path) -> None:
    texts["ca"] = Authority(tmp_path, "stranger").ca.read_text()
    (found,) = certificates.problems(texts, ADDRESS)
    assert "certificate" in found
    assert "to be signed by airflow_broker_tls_ca" in found


def test_a_key_of_another_certificate_is_told_without_it(texts: dict[str, str], authority: Authority) -> None:
    texts["key"] = certified(authority)["key"]
    (found,) = certificates.problems(texts, ADDRESS)
    assert found.startswith("airflow_secret_broker_tls_key is the key of another certificate than airflow_broker_tls_")


def test_a_locked_key_is_told_instead_of_asked_for_its_passphrase(texts: dict[str, str]) -> None:
    key = serialization.load_pem_private_key(texts["key"].encode(), None)
    locked = serialization.BestAvailableEncryption(b"passphrase")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    texts["key"] = key.private_bytes(*form, locked).decode()
    (found,) = certificates.problems(texts, ADDRESS)
    assert "is locked by a passphrase" in found


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"key": "no key"}, ["no server takes airflow_broker_tls_certificate with airflow_secret_broker_tls_key"]),
        ({"certificate": "x"}, ["airflow_broker_tls_certificate holds no certificate"]),
        ({"ca": ""}, ["airflow_broker_tls_ca holds no certificate"]),
        (
            {"ca": f"{certificates.BEGIN}\nAAAA\n-----END CERTIFICATE-----\n", "certificate": ""},
            ["airflow_broker_tls_certificate holds no", "airflow_broker_tls_ca holds no"],
        ),
    ],
)
def test_what_is_no_pem_is_told_by_its_name(texts: dict[str, str], broken: dict[str, str], words: list[str]) -> None:
    found = certificates.problems({**texts, **broken}, ADDRESS)
    assert [text in sentence for text, sentence in zip(words, found, strict=True)] == [True] * len(words)


def test_the_role_refuses_it_with_what_else_is_in_the_way_and_before_it_changes_anything(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, _key = authority.certify("10.0.0.11")
    _other, key = authority.certify("10.0.0.12")
    described = {
        "airflow_environment": "local",
        "airflow_longest_task": "8h",
        "airflow_dag_sources": [{"name": "etl", "path": "/dags/etl", "queues": ["etl"]}],
        "airflow_worker_pools": [{"name": "etl", "queues": ["etl"]}],
        "airflow_broker_provider": "redis",
        "airflow_broker_tls": True,
        "airflow_broker_tls_certificate": str(certificate),
        "airflow_broker_tls_ca": str(authority.ca),
        "given": {"broker": "a", "broker_etl": "b", "redis_operator": "c", "broker_tls_key": key},
    }
    facts = {"airflow_plan": "{{ planned.airflow_plan }}", "airflow_secrets": "{{ given }}"}
    role = {"name": "airstack.backbone.airflow_broker"}
    tasks: list[dict[str, Any]] = [
        {"airstack.backbone.plan": {}, "register": "planned"},
        {"ansible.builtin.set_fact": facts, "no_log": True},
        {"ansible.builtin.include_role": {**role, "tasks_from": "preflight"}},
        {"ansible.builtin.debug": {"msg": "in the way: {{ airflow_broker_problems }}"}},
        {"ansible.builtin.include_role": role},
    ]
    groups = {
        **{f"airflow_{name}": [name.replace("_", "-")] for name in ("database", "control", "workers_etl")},
        "airflow_broker": ["redis1"],
    }
    play = {"hosts": "airflow_broker", "gather_facts": False, "tasks": tasks}
    run = Deployer(tmp_path, [play], groups, described, {})("--check")
    assert (run.failed, run.changed) == (1, 0), run.said
    said = "airflow_secret_broker_tls_key is the key of another certificate"
    report, refusal = " ".join(run.said.split()).split("Refuse a certificate that nobody would believe", 1)
    assert f"in the way: ['{said}" in report.replace('"', "'").replace("''", "'"), run.said
    assert said in refusal
    assert "Install Redis" not in run.said
    assert key.splitlines()[1] not in run.said
