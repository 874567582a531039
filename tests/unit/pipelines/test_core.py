# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The core's build.sh and deploy.sh, run for real with Ansible, a Git server, and playbooks that deploy nothing."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.airstack.backbone.tests.unit.pipelines.running import (
    committed,
    git,
    run,
    served_platform,
    short_folder,
)

SECRETS = {"DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS", "DEPLOY_VAULT_PASSWORD", "PLATFORM_SSH_KEY"}

# Writes the lock that the real one would.
STUB_CORE = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Tell what was asked
      ansible.builtin.command: "{{ playbook_dir }}/tell core {{ from | quote }} {{ airflow_core_image | default('') | quote }}"
    - name: Record what would have been built or taken over
      ansible.builtin.copy:
        dest: "{{ airflow_core_lock_file | default(here.inventory_file) | dirname }}/core.lock.yml"
        mode: "0644"
        content: "{{ core | combine({'environment': here.environment_name}) | airstack.backbone.core_lock_text }}"
      when: lookup('env', 'UNSHARED') == ''
  vars:
    here: "{{ hostvars['here'] }}"
    from: "{{ airflow_core_promote_from | default('') }}"
    promoted: "{{ (lookup('file', lookup('env', 'PWD') ~ '/' ~ from) | from_yaml).all.vars.airflow_core_deployed }}"
    built:
      airflow_version: 3.3.2
      image: registry.example.com/airflow
      digest: "sha256:{{ 64 * 'd' }}"
      wheelhouse: "{{ 64 * 'c' }}"
      commit: "{{ lookup('pipe', 'git rev-parse HEAD') }}"
    core: "{{ promoted if from else built }}"
"""

STUB_SITE = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Tell what was asked
      ansible.builtin.command: "{{ playbook_dir }}/tell site {{ ansible_run_tags | sort | join(' ') }}"
      tags: always
"""

STUB_TELL = """\
#!/usr/bin/env python3
import json, os, pathlib, sys
key = pathlib.Path(os.environ.get("ANSIBLE_PRIVATE_KEY_FILE", os.devnull)).read_text()
with open(os.environ["SEEN"], "a") as seen:
    print(json.dumps({"play": sys.argv[1], "given": sys.argv[2:], "key": key, "names": list(os.environ)}), file=seen)
sys.exit(sys.argv[1] == os.environ.get("BROKEN"))
"""

HOSTS = """\
all:
  hosts:
    here:
      ansible_connection: local
  vars:
    environment_name: %s
"""


class Platform(t.NamedTuple):
    """The platform's repository, as its server has it and as a job checked it out."""

    server: pathlib.Path
    checkout: pathlib.Path
    seen: pathlib.Path
    temporary: pathlib.Path

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {
            "ACCEPTANCE_INVENTORY": "inventories/acceptance",
            "PRODUCTION_INVENTORY": "inventories/prod",
            "SEEN": str(self.seen),
            "TMPDIR": str(self.temporary),
            "ANSIBLE_HOME": str(self.server.parent / "ansible"),
            **variables,
        }
        return run(self.checkout, self.checkout / "pipelines" / "core" / script, *arguments, **given)

    def deploy(self, environment: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {
            "PLATFORM_BRANCH": "main",
            "PLATFORM_PUSH_URL": str(self.server),
            "DEPLOY_SSH_KEY": "the key of the hosts",
            "DEPLOY_KNOWN_HOSTS": "host ssh-ed25519 AAAA",
            "PLATFORM_SSH_KEY": "the key of the platform",
        }
        return self.run("deploy.sh", environment, **{**given, **variables})

    def played(self) -> list[dict[str, t.Any]]:
        """What the playbooks were given since this was asked last."""
        lines = self.seen.read_text(encoding="utf-8").splitlines() if self.seen.exists() else []
        self.seen.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def recorded(self, inventory: str) -> dict[str, t.Any]:
        lock = git(self.server, "show", f"main:inventories/{inventory}/core.lock.yml")
        return t.cast("dict[str, t.Any]", yaml.safe_load(lock)["all"]["vars"]["airflow_core_deployed"])

    def commits(self) -> list[str]:
        return git(self.server, "log", "--format=%s", "main").splitlines()

    def check_out(self, commit: str) -> None:
        """As a job does that begins."""
        git(self.checkout, "fetch", "--quiet", f"file://{self.server}", "main")
        git(self.checkout, "checkout", "--quiet", "--force", "--detach", commit)

    def push(self, **files: str) -> str:
        """What a person does: returns the commit."""
        self.check_out("FETCH_HEAD")
        commit = committed(self.checkout, **files)
        git(self.checkout, "push", "--quiet", str(self.server), "HEAD:main")
        return commit


@pytest.fixture(name="platform")
def platform_repository(tmp_path: pathlib.Path) -> t.Iterator[Platform]:
    server = served_platform(tmp_path, HOSTS, core_yml=STUB_CORE, site_yml=STUB_SITE, tell=STUB_TELL)
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", f"file://{server}", str(checkout))
    with short_folder() as temporary:
        yield Platform(server, checkout, tmp_path / "seen", pathlib.Path(temporary))


def test_a_build_pushes_nothing_writes_nothing_and_needs_no_secret(platform: Platform) -> None:
    done = platform.run("build.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    (core,) = platform.played()
    assert (core["play"], core["given"], core["key"]) == ("core", ["", "localhost/airflow"], "")
    assert git(platform.checkout, "status", "--short") == ""
    done = platform.run("build.sh", ACCEPTANCE_INVENTORY="inventories/accptance")
    assert done.returncode == 1
    assert done.stderr == "build: the repository has no inventories/accptance\n"


def test_a_commit_goes_to_acceptance_and_then_to_production(platform: Platform) -> None:
    commit = git(platform.checkout, "rev-parse", "HEAD")
    done = platform.deploy("acceptance", DEPLOY_VAULT_PASSWORD="opens the vault")
    assert done.returncode == 0, done.stdout + done.stderr
    core, site = platform.played()
    assert (core["play"], core["given"]) == ("core", ["", ""])
    assert (site["play"], site["given"]) == ("site", ["airflow_components", "airflow_core", "airflow_verify"])
    assert site["key"] == "the key of the hosts\n"
    assert not SECRETS & set(site["names"])
    assert platform.recorded("acceptance")["commit"] == commit
    assert platform.commits() == [f"core in acceptance: {commit[:12]}", "change"]
    # The job of production begins where that of acceptance did.
    platform.check_out(commit)
    done = platform.deploy("production")
    assert done.returncode == 0, done.stdout + done.stderr
    core, _site = platform.played()
    assert core["given"] == ["inventories/acceptance/core.lock.yml", ""]
    assert "acceptance and production have the same core" in done.stdout
    assert platform.recorded("prod") == {**platform.recorded("acceptance"), "environment": "production"}
    assert platform.commits()[0] == f"core in production: {commit[:12]}"
    assert list(platform.temporary.iterdir()) == []


def test_what_was_recorded_is_neither_built_nor_deployed(platform: Platform) -> None:
    assert platform.deploy("acceptance").returncode == 0
    platform.played()
    platform.check_out("FETCH_HEAD")
    for done in (platform.run("build.sh"), platform.deploy("acceptance"), platform.deploy("production")):
        assert done.returncode == 0
        assert "nothing but records came after the commit that acceptance's core is of" in done.stdout
    assert platform.played() == []
    assert platform.run("changed.sh").stdout == "false\n"


def test_a_change_that_a_record_came_after_is_not_lost(platform: Platform) -> None:
    """A vendor may look at the branch's end alone."""
    assert platform.run("changed.sh").stdout == "true\n"
    assert platform.deploy("acceptance").returncode == 0
    platform.push(notes="more words\n")
    (platform.checkout / "inventories" / "acceptance" / "dags.lock.yml").write_text("{}\n", encoding="utf-8")
    committed(platform.checkout)
    assert platform.run("changed.sh").stdout == "true\n"
    platform.played()
    assert platform.run("build.sh").returncode == 0
    assert [each["play"] for each in platform.played()] == ["core"]


def test_production_is_refused_what_acceptance_has_not(platform: Platform) -> None:
    first = git(platform.checkout, "rev-parse", "HEAD")
    done = platform.deploy("production")
    assert done.returncode == 1
    assert "there is no inventories/acceptance/core.lock.yml, so acceptance has no core" in done.stderr
    assert platform.deploy("acceptance").returncode == 0
    platform.played()
    second = platform.push(notes="more words\n")
    done = platform.deploy("production")
    assert done.returncode == 1
    assert f"has the core of the commit {first}, and this pipeline is for {second}" in done.stderr
    platform.check_out(first)
    done = platform.deploy("production")
    assert done.returncode == 1
    assert f"main is not what this pipeline's commit {first} is, which alone acceptance tried" in done.stderr
    assert platform.played() == []


def test_dags_that_were_deployed_meanwhile_are_no_other_description(platform: Platform) -> None:
    commit = git(platform.checkout, "rev-parse", "HEAD")
    assert platform.deploy("acceptance").returncode == 0
    platform.check_out("FETCH_HEAD")
    (platform.checkout / "inventories" / "acceptance" / "dags.lock.yml").write_text("{}\n", encoding="utf-8")
    committed(platform.checkout)
    git(platform.checkout, "push", "--quiet", str(platform.server), "HEAD:main")
    platform.check_out(commit)
    done = platform.deploy("production")
    assert done.returncode == 0, done.stdout + done.stderr
    assert platform.recorded("prod")["commit"] == commit


def test_a_core_that_is_not_deployed_is_not_recorded(platform: Platform) -> None:
    done = platform.deploy("acceptance", BROKEN="site")
    assert done.returncode != 0
    assert platform.commits() == ["change"]
    assert [each["play"] for each in platform.played()] == ["core", "site"]
    # A job that is run again may find what this one left behind.
    assert platform.deploy("acceptance").returncode == 0
    assert [each["play"] for each in platform.played()] == ["core", "site"]
    assert len(platform.commits()) == 2


def test_a_core_that_nobody_else_can_have_is_not_deployed(platform: Platform) -> None:
    done = platform.deploy("acceptance", UNSHARED="yes")
    assert done.returncode == 1
    assert "say in airflow_core_image which registry keeps the image" in done.stderr
    assert [each["play"] for each in platform.played()] == ["core"]


def test_a_deployment_says_at_once_what_it_lacks(platform: Platform) -> None:
    done = platform.deploy("acceptence", PLATFORM_BRANCH="", DEPLOY_SSH_KEY="")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deploy: 'acceptence' is not an environment; it is acceptance or production",
        "deploy: the parameter PLATFORM_BRANCH is not given",
        "deploy: the secret DEPLOY_SSH_KEY is not given",
    ]
    done = platform.deploy("acceptance", PLATFORM_PUSH_URL=f"{platform.server}.elsewhere")
    assert done.returncode == 1
    assert "cannot be pushed to, for the reason above, so nothing was deployed" in done.stderr
    assert platform.played() == []
