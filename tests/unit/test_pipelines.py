# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The pipelines that a team drops into its DAG repository: three vendors' files, and the scripts that all of them call."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines" / "dags"
VENDORS = ("github-actions.yml", "gitlab-ci.yml", "Jenkinsfile")
SCRIPTS = ("deploy.sh", "gate.sh", "uv.sh")
TOOLS = pathlib.Path(sys.executable).parent

SECRETS = {"DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS", "DEPLOY_VAULT_PASSWORD", "PLATFORM_SSH_KEY"}

# Where the platform's repository is, which each vendor says in its own way
OWN_WORDS = {"PLATFORM_REPOSITORY", "PLATFORM_PUSH_URL"}

_CALL = re.compile(r'\bbash ("\.airstack/platform/\$PLATFORM_COLLECTION/pipelines/dags/[a-z]+\.sh"(?: [a-z]+)?)')
_DOCUMENTED = re.compile(r"^#   ([A-Z_]+)  ", re.MULTILINE)
_SECRET = re.compile(
    r"-----BEGIN|\b(?:ghp|gho|ghs|github_pat|glpat|xox[bp])[-_]\w{8,}|\bAKIA[0-9A-Z]{16}\b|\$ANSIBLE_VAULT"
    r"|(?i:password|token|secret|api_?key)['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{8,}['\"]?\s*$|\b[0-9a-fA-F]{32,}\b",
    re.MULTILINE,
)


def text_of(name: str) -> str:
    return (PIPELINES / name).read_text(encoding="utf-8")


def loaded(name: str) -> dict[t.Any, t.Any]:
    return t.cast("dict[t.Any, t.Any]", yaml.safe_load(text_of(name)))


def parameters(name: str) -> dict[str, str]:
    """What stands at a vendor file's top, to be set by a team."""
    if name == "Jenkinsfile":
        [block] = re.findall(r"^    environment \{\n(.*?)^    \}", text_of(name), re.MULTILINE | re.DOTALL)
        return dict(re.findall(r"^ +([A-Z_]+) = '([^']*)' *(?://.*)?$", block, re.MULTILINE))
    content = loaded(name)
    given = content["env"] if name == "github-actions.yml" else content["variables"]
    return {key: value for key, value in given.items() if not key.startswith("GIT_")}


def documented(script: str) -> set[str]:
    return set(_DOCUMENTED.findall(text_of(script)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("github-actions.yml", ["--builtin-schema", "vendor.github-workflows"]),
        ("gitlab-ci.yml", ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_a_file_is_of_its_vendors_schema(name: str, arguments: list[str], tmp_path: pathlib.Path) -> None:
    checker = TOOLS / "check-jsonschema"
    if not checker.exists():
        pytest.skip("check-jsonschema is not installed")
    broken = tmp_path / name
    broken.write_text(re.sub(r"(environment|name): acceptance", r"\1: []", text_of(name)), encoding="utf-8")
    report = [checker, *arguments, "--output-format", "json", PIPELINES / name, broken]
    checked = subprocess.run(report, check=False, capture_output=True, text=True)
    found = json.loads(checked.stdout)
    assert not found["parse_errors"]
    assert {error["filename"] for error in found["errors"]} == {str(broken)}


def test_a_jenkinsfile_closes_what_it_opens() -> None:
    code = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", text_of("Jenkinsfile"))
    assert not set(code) & set("'\"")
    opened = []
    for sign in code:
        if sign in "{[(":
            opened.append(sign)
        elif sign in "}])":
            assert opened.pop() + sign in ("{}", "[]", "()")
    assert not opened
    assert not re.search(r",\s*[\])]", code), "Groovy takes no comma after a call's last argument"


@pytest.mark.parametrize("name", VENDORS)
def test_every_vendor_calls_the_same_scripts(name: str) -> None:
    scripts = '".airstack/platform/$PLATFORM_COLLECTION/pipelines/dags/'
    assert _CALL.findall(text_of(name)) == [
        f'{scripts}gate.sh"',
        f'{scripts}deploy.sh" acceptance',
        f'{scripts}deploy.sh" production',
    ]
    assert text_of(name).count(".sh") == 3


def test_every_vendor_has_the_same_parameters() -> None:
    first, *others = [
        {key: value for key, value in parameters(name).items() if key not in OWN_WORDS} for name in VENDORS
    ]
    assert others == [first, first]
    assert all(set(parameters(name)) >= OWN_WORDS for name in VENDORS)


@pytest.mark.parametrize("script", ["deploy.sh", "gate.sh"])
def test_every_vendor_gives_what_a_script_takes(script: str) -> None:
    taken = documented(script)
    assert taken >= {"DAGS_SOURCE", "DAGS_SUBDIRECTORY"}
    for name in VENDORS:
        assert taken - SECRETS <= set(parameters(name))
    used = set(re.findall(r"\b(?:DAGS|DEPLOY|PLATFORM|ACCEPTANCE|PRODUCTION)_[A-Z_]+\b", text_of(script)))
    assert used == taken


def test_the_lock_of_the_default_core_is_there() -> None:
    given = parameters("Jenkinsfile")
    lock = f"airflow-{given['DAGS_AIRFLOW']}-python-{given['DAGS_PYTHON']}.txt"
    assert (ROOT / "roles" / "airflow_core" / "files" / "locks" / lock).is_file()


@pytest.mark.parametrize("name", [*VENDORS, *SCRIPTS, "README.md"])
def test_no_secret_stands_in_a_file(name: str) -> None:
    assert not _SECRET.findall(text_of(name))
    assert not re.search(r"\bset -\w*x|xtrace|\bbash -\w*x", text_of(name))


@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "  PLATFORM_TOKEN: glpat-abcdefghijkl",
        "DEPLOY_VAULT_PASSWORD = 'correct-horse'",
        "  api_key: abcdefgh12345678",
        "KEY: 0123456789abcdef0123456789abcdef",
    ],
)
def test_what_looks_like_a_secret_is_seen(line: str) -> None:
    assert _SECRET.search(line)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(PIPELINES / script, os.X_OK)


def test_github_gives_no_job_more_than_it_needs() -> None:
    workflow = loaded("github-actions.yml")
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert all("permissions" not in job for job in jobs.values())
    for job in jobs.values():
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
    for name in ("acceptance", "production"):
        assert jobs[name]["environment"] == name
        assert jobs[name]["concurrency"] == {"group": f"airflow-{name}", "cancel-in-progress": False}
        *before, deployment = jobs[name]["steps"]
        assert deployment["env"] == {secret: f"${{{{ secrets.{secret} }}}}" for secret in SECRETS}
        assert all("env" not in step for step in before)
    gate = jobs["gate"]["steps"][-1]
    assert "env" not in gate
    # A condition with a status function of its own has to name the jobs that must not have failed.
    assert "needs.gate.result == 'success'" in jobs["production"]["if"]


def test_gitlab_deploys_one_at_a_time_and_to_production_by_hand() -> None:
    pipeline = loaded("gitlab-ci.yml")
    for name in ("acceptance", "production"):
        assert pipeline[name]["environment"]["name"] == name
        assert pipeline[name]["resource_group"] == f"airflow-{name}"
    assert [rule.get("when") for rule in pipeline["production"]["rules"]] == ["manual"]
    assert "rules" not in pipeline["gate"]


def test_jenkins_deploys_one_at_a_time_and_to_production_after_a_question() -> None:
    _gate, acceptance, production = text_of("Jenkinsfile").split("stage('")[1:]
    assert "lock('airflow-acceptance')" in acceptance
    assert "lock('airflow-production')" in production
    assert "input {" in production
    assert "beforeInput true" in production
    for stage, environment in ((acceptance, "acceptance"), (production, "production")):
        assert set(re.findall(r"[vV]ariable: '([A-Z_]+)'", stage)) == SECRETS
        ids = re.findall(r"credentialsId: '([a-z-]+)'", stage.split("void checkoutPlatform")[0])
        assert {each.removeprefix(f"airflow-{environment}-") for each in ids} == {
            "ssh",
            "known-hosts",
            "vault",
            "airflow-platform",
        }
