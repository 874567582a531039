# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the roles make of a plan, evaluated by Ansible itself and read back as Swift reads it."""

from __future__ import annotations

import base64
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[3] / "roles"

IDENTITIES = [
    {"name": "core", "access_key": "airflow:core", "secret": "log_store"},
    {"name": "etl", "access_key": "airflow:pool-etl", "secret": "log_store_etl"},
    {"name": "deep_learning", "access_key": "airflow:pool-deep_learning", "secret": "log_store_deep_learning"},
]
SECRETS = {
    "object_store_admin": "admins",
    "log_store": "cores",
    "log_store_etl": "p%rcent%(here)s$#;=",
    "log_store_deep_learning": "deeps",
}


def plan(**changed: Any) -> dict[str, Any]:
    store = {"port": 8080, "account": "airflow", "provider": "swift"}
    store["admin"] = {"user": "admin", "secret": "object_store_admin"}
    log_store = {
        "provider": "s3",
        "region": "us-east-1",
        "endpoint_url": "http://objects1:8080",
        "service": None,
        "object_store": store,
        "identities": IDENTITIES,
    }
    return {"environment": "local", "log_store": {**log_store, **changed}}


class Role:
    """A role's variables, evaluated."""

    def __init__(
        self,
        name: str,
        airflow_plan: dict[str, Any],
        airflow_secrets: dict[str, str] | None = None,
        provider: str | None = None,
        **facts: str,
    ) -> None:
        self.folder = ROLES / name
        self.defaults = self._read("defaults")
        of_provider = self._read("vars", provider) if provider else {}
        variables = {**self.defaults, **self._read("vars"), **of_provider}
        given = {
            "airflow_plan": airflow_plan,
            "airflow_secrets": airflow_secrets or SECRETS,
            "ansible_managed": "Ansible managed",
            **facts,
        }
        self._variables = {name: _trusted(value) for name, value in variables.items()} | given
        self._templar = Templar(DataLoader(), self._variables)

    def _read(self, folder: str, file: str = "main") -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.folder / folder / f"{file}.yml").read_text(encoding="utf-8"))
        return found

    def __getitem__(self, name: str) -> Any:
        return self._templar.template(trust_as_template("{{ " + name + " }}"))

    def file(self, template: str, **variables: str) -> str:
        text = (self.folder / "templates" / template).read_text(encoding="utf-8")
        with self._templar.set_temporary_context(available_variables={**self._variables, **variables}):
            return str(self._templar.template(trust_as_template(text)))


def _trusted(value: Any) -> Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return {key: _trusted(item) for key, item in value.items()} if isinstance(value, dict) else value


def as_swift_reads(text: str) -> ConfigParser:
    """Paste's loader: interpolation, names as they are."""
    parser = ConfigParser(strict=True, delimiters=("=",), defaults={"here": "/etc/swift"})
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def tempauth_users(parser: ConfigParser) -> dict[str, list[str]]:
    """As TempAuth.__init__ of swift/common/middleware/tempauth.py does it."""
    users = {}
    for option, value in parser["filter:tempauth"].items():
        if option.startswith(("user_", "user64_")):
            account, name = option.split("_", 1)[1].split("_")
            if option.startswith("user64_"):
                account, name = (base64.b64decode(each + "=" * (len(each) % 4)).decode() for each in (account, name))
            users[f"{account}:{name}"] = value.split()
    return users


def test_swift_knows_the_identities_and_one_administrator() -> None:
    parser = as_swift_reads(Role("airflow_object_store", plan()).file("proxy-server.conf.j2"))
    assert tempauth_users(parser) == {
        "airflow:admin": ["admins", ".admin"],
        "airflow:core": ["cores"],
        "airflow:pool-etl": ["p%rcent%(here)s$#;="],
        "airflow:pool-deep_learning": ["deeps"],
    }
    assert parser["filter:s3api"]["s3_acl"] == "false"
    assert parser["filter:s3api"]["location"] == "us-east-1"


@pytest.mark.parametrize("template", ["proxy-server.conf.j2", "storage-server.conf.j2"])
def test_every_part_of_a_pipeline_is_configured(template: str) -> None:
    role = Role("airflow_object_store", plan())
    kinds = ["account", "container", "object"] if template.startswith("storage") else ["proxy"]
    for kind in kinds:
        parser = as_swift_reads(role.file(template, kind=kind))
        *filters, app = parser["pipeline:main"]["pipeline"].split()
        assert f"app:{app}" in parser
        assert {f"filter:{name}" for name in filters} <= set(parser)


def test_storage_answers_on_loopback_alone_where_the_rings_say() -> None:
    role = Role("airflow_object_store", plan())
    ports = role["__airflow_object_store_ports"]
    for kind, port in ports.items():
        server = as_swift_reads(role.file("storage-server.conf.j2", kind=kind))["DEFAULT"]
        assert (server["bind_ip"], server["bind_port"]) == ("127.0.0.1", str(port))
    assert len(set(ports.values())) == len(ports)


def test_tls_is_asked_for_by_a_certificate() -> None:
    role = Role("airflow_object_store", plan())
    assert "cert_file" not in as_swift_reads(role.file("proxy-server.conf.j2"))["DEFAULT"]
    text = role.file(
        "proxy-server.conf.j2", airflow_object_store_tls_certificate="/etc/c", airflow_object_store_tls_key="/etc/k"
    )
    server = as_swift_reads(text)["DEFAULT"]
    assert (server["cert_file"], server["key_file"]) == ("/etc/c", "/etc/k")


@pytest.mark.parametrize(
    ("access_key", "secret", "is_refused"),
    [
        ("airflow:core", "fine", False),
        ("airflow:pool-deep_learning", "fine", False),
        ("other:core", "fine", True),
        ("airflow:core:more", "fine", True),
        ("airflow:", "fine", True),
        ("AKIAIOSFODNN7EXAMPLE", "fine", True),
        ("airflow:co re", "fine", True),
        ("airflow:core", "two words", True),
        ("airflow:core", "", True),
    ],
)
def test_keys_that_swift_cannot_hold_are_refused(access_key: str, secret: str, is_refused: bool) -> None:
    identity = {"name": "core", "access_key": access_key, "secret": "log_store"}
    role = Role("airflow_object_store", plan(identities=[identity]), {**SECRETS, "log_store": secret})
    assert role["__airflow_object_store_refused"] == (["core"] if is_refused else [])


def test_the_target_runs_what_is_not_masked() -> None:
    role = Role("airflow_object_store", plan())
    masked = {Path(each["path"]).name for each in role["__airflow_object_store_masks"]}
    assert not masked & set(role["__airflow_object_store_units"])
    assert all(not each["content"] for each in role["__airflow_object_store_masks"])


def test_a_pod_has_its_rings_where_it_may_write_and_a_host_where_they_are_looked_for() -> None:
    role = Role("airflow_object_store", plan())
    for template in ("proxy-server.conf.j2", "storage-server.conf.j2"):
        assert "swift_dir" not in as_swift_reads(role.file(template, kind="object"))["DEFAULT"]
        in_pod = as_swift_reads(role.file(template, kind="object", __airflow_object_store_rings="/tmp/rings"))
        assert in_pod["DEFAULT"]["swift_dir"] == "/tmp/rings"
    assert in_pod["object-updater"]["recon_cache_path"] == "/tmp/rings"
