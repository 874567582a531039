# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The pipelines of DAG repositories and of the core: three vendors' files each, and the scripts that all of them call."""

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
PIPELINES = ROOT / "pipelines"
VENDORS = ("github-actions.yml", "gitlab-ci.yml", "Jenkinsfile")
TOOLS = pathlib.Path(sys.executable).parent

SECRETS = {"DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS", "DEPLOY_VAULT_PASSWORD", "PLATFORM_SSH_KEY"}

# Where the platform's repository is, which each vendor says in its own way
OWN_WORDS = {"PLATFORM_REPOSITORY", "PLATFORM_PUSH_URL"}


class Pipeline(t.NamedTuple):
    """A folder of pipelines: where its jobs find the collection, and its first job, with the script that this calls."""

    folder: str
    collection: str
    first: str
    script: str

    def text(self, name: str) -> str:
        return (PIPELINES / self.folder / name).read_text(encoding="utf-8")

    def loaded(self, name: str) -> dict[t.Any, t.Any]:
        return t.cast("dict[t.Any, t.Any]", yaml.safe_load(self.text(name)))

    def parameters(self, name: str) -> dict[str, str]:
        """What stands at a vendor file's top, to be set by a team."""
        if name == "Jenkinsfile":
            [block] = re.findall(r"^    environment \{\n(.*?)^    \}", self.text(name), re.MULTILINE | re.DOTALL)
            return dict(re.findall(r"^ +([A-Z_]+) = '([^']*)' *(?://.*)?$", block, re.MULTILINE))
        content = self.loaded(name)
        given = content["env"] if name == "github-actions.yml" else content["variables"]
        return {key: value for key, value in given.items() if not key.startswith("GIT_")}

    def calls(self, name: str) -> list[str]:
        scripts = rf"\bbash (\"{re.escape(self.collection)}/pipelines/{self.folder}/[a-z]+\.sh\"(?: [a-z]+)?)"
        return re.findall(scripts, self.text(name))


DAGS = Pipeline("dags", ".airstack/platform/$PLATFORM_COLLECTION", "gate", "gate.sh")
CORE = Pipeline("core", "$PLATFORM_COLLECTION", "build", "build.sh")
FILES = sorted(str(path.relative_to(PIPELINES)) for path in PIPELINES.glob("*/*"))

of_both = pytest.mark.parametrize("pipeline", [DAGS, CORE], ids=["dags", "core"])

_DOCUMENTED = re.compile(r"^#   ([A-Z_]+)  ", re.MULTILINE)
_USED = re.compile(r"\b(?:DAGS|DEPLOY|PLATFORM|ACCEPTANCE|PRODUCTION)_[A-Z_]+\b")
_SECRET = re.compile(
    r"-----BEGIN|\b(?:ghp|gho|ghs|github_pat|glpat|xox[bp])[-_]\w{8,}|\bAKIA[0-9A-Z]{16}\b|\$ANSIBLE_VAULT"
    r"|(?i:password|token|secret|api_?key)['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{8,}['\"]?\s*$|\b[0-9a-fA-F]{32,}\b",
    re.MULTILINE,
)


def script_text(name: str) -> str:
    return (PIPELINES / name).read_text(encoding="utf-8")


def with_shared(pipeline: Pipeline, script: str) -> list[str]:
    """A script's text, and those of the files that it sources."""
    text = pipeline.text(script)
    return [
        text,
        *(script_text(name) for name in re.findall(r"^# shellcheck source=pipelines/(.*)$", text, re.MULTILINE)),
    ]


@of_both
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("github-actions.yml", ["--builtin-schema", "vendor.github-workflows"]),
        ("gitlab-ci.yml", ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_a_file_is_of_its_vendors_schema(
    pipeline: Pipeline, name: str, arguments: list[str], tmp_path: pathlib.Path
) -> None:
    checker = TOOLS / "check-jsonschema"
    if not checker.exists():
        pytest.skip("check-jsonschema is not installed")
    broken = tmp_path / name
    broken.write_text(re.sub(r"(environment|name): acceptance", r"\1: []", pipeline.text(name)), encoding="utf-8")
    report = [checker, *arguments, "--output-format", "json", PIPELINES / pipeline.folder / name, broken]
    checked = subprocess.run(report, check=False, capture_output=True, text=True)
    found = json.loads(checked.stdout)
    assert not found["parse_errors"]
    assert {error["filename"] for error in found["errors"]} == {str(broken)}


@of_both
def test_a_jenkinsfile_closes_what_it_opens(pipeline: Pipeline) -> None:
    code = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", pipeline.text("Jenkinsfile"))
    assert not set(code) & set("'\"")
    opened = []
    for sign in code:
        if sign in "{[(":
            opened.append(sign)
        elif sign in "}])":
            assert opened.pop() + sign in ("{}", "[]", "()")
    assert not opened
    assert not re.search(r",\s*[\])]", code), "Groovy takes no comma after a call's last argument"


@of_both
@pytest.mark.parametrize("name", VENDORS)
def test_every_vendor_calls_the_same_scripts(pipeline: Pipeline, name: str) -> None:
    scripts = f'"{pipeline.collection}/pipelines/{pipeline.folder}/'
    looks = [f'{scripts}changed.sh"'] if (pipeline, name) == (CORE, "Jenkinsfile") else []
    assert pipeline.calls(name) == [
        *looks,
        f'{scripts}{pipeline.script}"',
        f'{scripts}deploy.sh" acceptance',
        f'{scripts}deploy.sh" production',
    ]
    assert pipeline.text(name).count(".sh") == 3 + len(looks)


@of_both
def test_every_vendor_has_the_same_parameters(pipeline: Pipeline) -> None:
    first, *others = [
        {key: value for key, value in pipeline.parameters(name).items() if key not in OWN_WORDS} for name in VENDORS
    ]
    assert others == [first, first]
    assert all("PLATFORM_PUSH_URL" in pipeline.parameters(name) for name in VENDORS)


@pytest.mark.parametrize(
    ("pipeline", "script"), [(DAGS, "deploy.sh"), (DAGS, "gate.sh"), (CORE, "deploy.sh"), (CORE, "build.sh")]
)
def test_every_vendor_gives_what_a_script_takes(pipeline: Pipeline, script: str) -> None:
    taken = set(_DOCUMENTED.findall(pipeline.text(script)))
    assert taken
    for name in VENDORS:
        assert taken - SECRETS <= set(pipeline.parameters(name))
    own, *sourced = with_shared(pipeline, script)
    used = set(_USED.findall(own))
    assert used <= taken
    if script == "deploy.sh":
        assert used | set(_USED.findall("".join(sourced))) == taken


@of_both
def test_a_readme_tells_every_parameter(pipeline: Pipeline) -> None:
    told = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", pipeline.text("README.md")))
    assert told >= set(pipeline.parameters("Jenkinsfile"))


def test_the_lock_of_the_default_core_is_there() -> None:
    given = DAGS.parameters("Jenkinsfile")
    lock = f"airflow-{given['DAGS_AIRFLOW']}-python-{given['DAGS_PYTHON']}.txt"
    assert (ROOT / "roles" / "airflow_core" / "files" / "locks" / lock).is_file()


@pytest.mark.parametrize("name", FILES)
def test_no_secret_stands_in_a_file(name: str) -> None:
    assert not _SECRET.findall(script_text(name))
    assert not re.search(r"\bset -\w*x|xtrace|\bbash -\w*x", script_text(name))


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


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".sh")])
def test_what_is_run_can_be_run(name: str) -> None:
    is_sourced = any(f"source=pipelines/{name}\n" in script_text(other) for other in FILES)
    assert os.access(PIPELINES / name, os.X_OK) != is_sourced


@of_both
def test_github_gives_no_job_more_than_it_needs(pipeline: Pipeline) -> None:
    workflow = pipeline.loaded("github-actions.yml")
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
    assert all("env" not in step for step in jobs[pipeline.first]["steps"])


def test_github_deploys_to_production_after_what_must_not_have_failed() -> None:
    jobs = DAGS.loaded("github-actions.yml")["jobs"]
    # A condition with a status function of its own has to name the jobs that must not have failed.
    assert "needs.gate.result == 'success'" in jobs["production"]["if"]
    jobs = CORE.loaded("github-actions.yml")["jobs"]
    assert jobs["production"]["needs"] == "acceptance"
    assert "if" not in jobs["production"]


@of_both
def test_gitlab_deploys_one_at_a_time_and_to_production_by_hand(pipeline: Pipeline) -> None:
    jobs = pipeline.loaded("gitlab-ci.yml")
    for name in ("acceptance", "production"):
        assert jobs[name]["environment"]["name"] == name
        assert jobs[name]["resource_group"] == f"airflow-{name}"
    assert [rule.get("when") for rule in jobs["production"]["rules"]] == ["manual"]
    assert "environment" not in jobs[pipeline.first]


def test_what_pipelines_record_starts_no_build_of_the_core() -> None:
    titles = [f"core in acceptance: {12 * 'a'}", f"etl_2 in production: {12 * '0'}"]
    others = ["The core in acceptance: abc", f"etl in acceptance: {13 * 'a'}", f"etl in dev: {12 * 'a'}"]
    found = re.search(r"~ /(.*)/'$", CORE.text("gitlab-ci.yml"), re.MULTILINE)
    assert found
    assert [title for title in [*titles, *others] if re.fullmatch(found[1], title)] == titles
    # YAML takes the key "on" for a truth value.
    assert CORE.loaded("github-actions.yml")[True]["push"]["paths-ignore"] == ["**/core.lock.yml", "**/dags.lock.yml"]


@of_both
def test_jenkins_deploys_one_at_a_time_and_to_production_after_a_question(pipeline: Pipeline) -> None:
    *_others, acceptance, production = pipeline.text("Jenkinsfile").split("stage('")[1:]
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
