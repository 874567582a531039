# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""deploy.sh, run for real with Ansible, Git servers that are directories, and a playbook that deploys nothing."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.airstack.backbone.plugins.module_utils._dags import lock
from ansible_collections.airstack.backbone.tests.unit.pipelines.running import (
    committed,
    git,
    run,
    served_platform,
    short_folder,
)

SECRETS = {"DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS", "DEPLOY_VAULT_PASSWORD", "PLATFORM_SSH_KEY"}

STUB_DAGS = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Record what would have been deployed
      ansible.builtin.copy:
        dest: "{{ file }}"
        mode: "0644"
        content: "{{ plan | airstack.backbone.dags_lock_text({airflow_dags_only: deployed}, before) }}"
      when: lookup('pipe', playbook_dir ~ '/deploys ' ~ given | to_json | quote) == ''
      vars:
        given: {only: "{{ airflow_dags_only }}", versions: "{{ airflow_dags_versions | default({}) }}"}
        file: "{{ inventory_dir }}/dags.lock.yml"
        plan:
          environment: "{{ environment_name }}"
          sources:
            - {name: etl, origin: {repository: https://git.example.com/etl.git, subdirectory: dags}}
            - {name: ml, origin: {repository: https://git.example.com/ml.git}}
        accepted: "{{ lookup('file', inventory_dir ~ '/../acceptance/dags.lock.yml') | from_yaml }}"
        followed: "{{ accepted.all.vars.airflow_dags_deployed.sources.etl.commit }}"
        commit: "{{ (airflow_dags_versions | default({})).etl | default(followed) }}"
        tree: "{{ (commit ~ lookup('env', 'TORN')) | hash('sha256') }}"
        deployed: {commit: "{{ commit }}", release: "{{ commit[:12] }}", tree: "{{ tree }}"}
        before: "{{ lookup('file', file) if file is exists else '' }}"
"""

# Writes down what a playbook gets to see, and lets somebody else be faster.
STUB_DEPLOYMENT = """\
#!/usr/bin/env python3
import json, os, pathlib, subprocess, sys
key = pathlib.Path(os.environ["ANSIBLE_PRIVATE_KEY_FILE"])
modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in [key.parent, *key.parent.glob("*[!p]")]}
vault = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
seen = {"given": json.loads(sys.argv[1]), "names": list(os.environ), "modes": list(modes.values())}
seen |= {"key": key.read_bytes().decode(), "vault": vault and pathlib.Path(vault).read_text()}
pathlib.Path(os.environ["SEEN"]).write_text(json.dumps(seen))
if os.environ.get("MEANWHILE"):
    subprocess.run([os.environ["MEANWHILE"]], check=True)
"""

HOSTS = """\
all:
  hosts:
    here:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
  vars:
    environment_name: %s
"""


class Platform(t.NamedTuple):
    """The platform's repository, as its server has it and as the job checked it out."""

    server: pathlib.Path
    checkout: pathlib.Path
    repository: pathlib.Path
    seen: pathlib.Path
    temporary: pathlib.Path

    def deploy(self, environment: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {
            "DAGS_SOURCE": "etl",
            "DAGS_SUBDIRECTORY": "dags",
            "ACCEPTANCE_INVENTORY": "inventories/acceptance",
            "PRODUCTION_INVENTORY": "inventories/prod",
            "PLATFORM_BRANCH": "main",
            "PLATFORM_PUSH_URL": str(self.server),
            "DEPLOY_SSH_KEY": "the key of\r\nthe hosts",
            "DEPLOY_KNOWN_HOSTS": "host ssh-ed25519 AAAA",
            "PLATFORM_SSH_KEY": "the key of the platform",
            "SEEN": str(self.seen),
            "TMPDIR": str(self.temporary),
            "ANSIBLE_HOME": str(self.server.parent / "ansible"),
        }
        script = self.checkout / "pipelines" / "dags" / "deploy.sh"
        return run(self.repository, script, environment, **{**given, **variables})

    def recorded(self, inventory: str) -> dict[str, t.Any]:
        """What the server's main branch says that an environment has."""
        lock = git(self.server, "show", f"main:inventories/{inventory}/dags.lock.yml")
        return t.cast("dict[str, t.Any]", yaml.safe_load(lock)["all"]["vars"]["airflow_dags_deployed"]["sources"])

    def commits(self) -> list[str]:
        return git(self.server, "log", "--format=%s", "main").splitlines()

    def seen_by_the_playbook(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.seen.read_text(encoding="utf-8")))


@pytest.fixture(name="platform")
def platform_repository(tmp_path: pathlib.Path, repository: pathlib.Path) -> t.Iterator[Platform]:
    server = served_platform(tmp_path, HOSTS, dags_yml=STUB_DAGS, deploys=STUB_DEPLOYMENT)
    checkout = repository / ".airstack" / "platform"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=main", f"file://{server}", str(checkout))
    with short_folder() as temporary:
        yield Platform(server, checkout, repository, tmp_path / "seen", pathlib.Path(temporary))


def test_a_commit_goes_to_acceptance(platform: Platform) -> None:
    commit = git(platform.repository, "rev-parse", "HEAD")
    done = platform.deploy("acceptance", DEPLOY_VAULT_PASSWORD="opens the vault")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = platform.seen_by_the_playbook()
    assert seen["given"] == {"only": "etl", "versions": {"etl": commit}}
    assert seen["key"] == "the key of\nthe hosts\n"
    assert seen["vault"] == "opens the vault\n"
    assert seen["modes"] == ["0o700", *4 * ["0o600"]]
    assert not SECRETS & set(seen["names"])
    assert list(platform.temporary.iterdir()) == []
    assert platform.recorded("acceptance")["etl"]["commit"] == commit
    assert platform.commits() == [f"etl in acceptance: {commit[:12]}", "change"]


@pytest.fixture(name="accepted")
def accepted_platform(platform: Platform) -> Platform:
    """Acceptance has both sources, etl as it is checked out."""
    commit = git(platform.repository, "rev-parse", "HEAD")
    deployed = {"commit": commit, "release": commit[:12], "tree": hashlib.sha256(commit.encode()).hexdigest()}
    other = {"commit": 40 * "b", "release": "b", "tree": 64 * "b"}
    sources = [
        {"name": "etl", "repository": "https://git.example.com/etl.git", "subdirectory": "dags"},
        {"name": "ml", "repository": "https://git.example.com/ml.git"},
    ]
    content = lock.text(lock.lock("acceptance", sources, {"etl": deployed, "ml": other}, None))
    (platform.checkout / "inventories" / "acceptance" / "dags.lock.yml").write_text(content, encoding="utf-8")
    committed(platform.checkout)
    git(platform.checkout, "push", "--quiet", str(platform.server), "HEAD:main")
    return platform


def test_acceptance_that_has_a_commit_already_records_nothing(accepted: Platform) -> None:
    done = accepted.deploy("acceptance")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acceptance has had this already" in done.stdout
    assert accepted.commits() == ["change", "change"]


def test_production_gets_what_acceptance_has_and_nothing_else(accepted: Platform) -> None:
    before = git(accepted.repository, "rev-parse", "HEAD")
    commit = committed(accepted.repository, dags__orders_py="first = 2\n")
    done = accepted.deploy("production")
    assert done.returncode == 1
    assert f"acceptance has the commit {before} of etl, and this pipeline is for {commit}" in done.stderr
    assert not accepted.seen.exists()
    # A merge commit has the same DAGs, and so has a change beside them.
    git(accepted.repository, "reset", "--quiet", "--hard", before)
    committed(accepted.repository, README="more words\n")
    done = accepted.deploy("production")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = accepted.seen_by_the_playbook()
    assert (seen["given"], seen["vault"]) == ({"only": "etl", "versions": {}}, None)
    assert "acceptance and production hold the same DAGs" in done.stdout
    assert accepted.recorded("prod") == {"etl": accepted.recorded("acceptance")["etl"]}


def test_production_that_ends_with_something_else_is_recorded_and_fails(accepted: Platform) -> None:
    done = accepted.deploy("production", TORN="yes")
    assert done.returncode == 1
    assert "1 of 1 sources differs: etl" in done.stdout
    assert "production does not hold what acceptance does" in done.stderr
    assert accepted.recorded("prod")["etl"]["tree"] != accepted.recorded("acceptance")["etl"]["tree"]


def meanwhile(tmp_path: pathlib.Path, server: pathlib.Path, command: str) -> str:
    """A program that pushes a change of the platform's repository."""
    script = tmp_path / "meanwhile"
    script.write_text(
        f"""#!/bin/bash
set -euo pipefail
git clone --quiet {server} {tmp_path}/other
cd {tmp_path}/other
{command}
git -c user.name=other -c user.email=other@localhost commit --quiet --all --message other
git push --quiet origin HEAD:main
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return str(script)


def test_a_deployment_of_another_source_meanwhile_is_kept(accepted: Platform, tmp_path: pathlib.Path) -> None:
    commit = committed(accepted.repository, dags__orders_py="first = 2\n")
    change = f"sed -i '/ ml:/,$ s/^ *tree: .*/          tree: {64 * 'a'}/' inventories/acceptance/dags.lock.yml"
    done = accepted.deploy("acceptance", MEANWHILE=meanwhile(tmp_path, accepted.server, change))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "somebody else pushed to main meanwhile" in done.stdout
    assert accepted.commits()[:2] == [f"etl in acceptance: {commit[:12]}", "other"]
    recorded = accepted.recorded("acceptance")
    assert (recorded["etl"]["commit"], recorded["ml"]["tree"]) == (commit, 64 * "a")


def test_another_deployment_of_the_same_source_meanwhile_is_not_overwritten(
    accepted: Platform, tmp_path: pathlib.Path
) -> None:
    committed(accepted.repository, dags__orders_py="first = 2\n")
    change = f"sed -i '0,/commit:/ s/commit: .*/commit: {40 * 'a'}/' inventories/acceptance/dags.lock.yml"
    done = accepted.deploy("acceptance", MEANWHILE=meanwhile(tmp_path, accepted.server, change))
    assert done.returncode == 1
    assert "changed in the same place meanwhile" in done.stderr
    assert accepted.commits()[0] == "other"
    assert list(accepted.temporary.iterdir()) == []


def test_a_push_that_is_refused_is_not_tried_for_ever(accepted: Platform) -> None:
    committed(accepted.repository, dags__orders_py="first = 2\n")
    hook = accepted.server / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho main is protected >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    done = accepted.deploy("acceptance")
    assert done.returncode == 1
    assert done.stderr.count("main is protected") == 1
    assert "The DAGs are deployed and not recorded" in done.stderr


def test_nothing_is_deployed_that_could_not_be_recorded(platform: Platform) -> None:
    done = platform.deploy("acceptance", PLATFORM_PUSH_URL=f"{platform.server}.elsewhere")
    assert done.returncode == 1
    assert "cannot be pushed to, for the reason above, so nothing was deployed" in done.stderr
    assert not platform.seen.exists()
    assert list(platform.temporary.iterdir()) == []


def test_a_deployment_says_at_once_what_it_lacks(platform: Platform) -> None:
    done = platform.deploy("acceptence", DAGS_SOURCE="Etl; id", PLATFORM_BRANCH="", DEPLOY_SSH_KEY="")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deploy: 'acceptence' is not an environment; it is acceptance or production",
        "deploy: the parameter PLATFORM_BRANCH is not given",
        "deploy: the secret DEPLOY_SSH_KEY is not given",
        "deploy: DAGS_SOURCE is 'Etl; id', which is no source's name: lower-case letters, digits and underscores",
    ]
    done = platform.deploy("production", PRODUCTION_INVENTORY="inventories/production")
    assert done.stderr == "deploy: the platform's repository has no inventories/production\n"
    done = platform.deploy("production")
    assert done.stderr.startswith(
        "deploy: there is no inventories/acceptance/dags.lock.yml, so acceptance has deployed"
    )
    assert not platform.seen.exists()
