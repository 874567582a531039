# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A platform that is deployed: its plan and secrets, its hosts over SSH, its REST API."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import http.client
import json
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request

import testinfra

from ansible_collections.airstack.backbone.plugins.module_utils._model.placement import API_NAME

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
VERIFY = "playbooks/verify.yml"
SEEK = (HERE / "seek.py").read_text(encoding="utf-8")

Answer = t.TypeVar("Answer")

REFRESH_SECONDS = 600
"""In which Airflow has what a run has published; a run with less says that it has not, and ends well."""

API_SECONDS = 300
"""How long an API server may be away: restarted, busy, or in a cluster while another pod takes over."""


def ansible_playbook(
    inventory: str, playbook: str, variables: dict[str, t.Any], *options: str, succeeds: bool = True
) -> str:
    """The output of a run; AssertionError with all of it where it does not end as awaited."""
    command = [pathlib.Path(sys.executable).with_name("ansible-playbook"), "--inventory", inventory, *options]
    given = json.dumps(variables)
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_INJECT_FACT_VARS": "false"}
    environment = {**settings, **os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    done = subprocess.run(
        [*command, ROOT / playbook, "--extra-vars", given], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is succeeds, f"{playbook} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def wait_for(look: t.Callable[[], Answer], seconds: float, every: float = 1.0) -> Answer:
    """The first answer that is true; the last one where the time is over."""
    deadline = time.monotonic() + seconds
    while not (answer := look()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


class Airflow:
    """The REST API, as the platform's first user."""

    def __init__(self, url: str, user: str, password: str, again: t.Callable[[], None] | None = None) -> None:
        """again: makes the way to it anew, where that may go with a pod; a request is then made again."""
        self._url = url
        self._credentials = {"username": user, "password": password}
        self._again = again

    @functools.cached_property
    def _token(self) -> str:
        return str(self._request("POST", "/auth/token", self._credentials, {})["access_token"])

    def ask(self, method: str, path: str, body: t.Any = None, **query: t.Any) -> t.Any:
        """The answer to a request below /api/v2/; urllib.error.HTTPError where it is refused."""
        parameters = "?" + urllib.parse.urlencode(query, doseq=True) if query else ""
        return self._request(method, f"/api/v2/{path}{parameters}", body, {"Authorization": f"Bearer {self._token}"})

    def _request(self, method: str, path: str, body: t.Any, headers: dict[str, str]) -> t.Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        # Another POST may make a second thing of what the first one made.
        is_harmless = method != "POST" or path == "/auth/token"
        deadline = time.monotonic() + API_SECONDS
        while True:
            try:
                return self._answer(request)
            except urllib.error.HTTPError as error:
                if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR or not is_harmless or time.monotonic() > deadline:
                    raise
            except (OSError, http.client.HTTPException) as error:
                is_refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
                if not (is_harmless or is_refused or self._again) or time.monotonic() > deadline:
                    raise
            time.sleep(1)
            if self._again:
                self._again()

    @staticmethod
    def _answer(request: urllib.request.Request) -> t.Any:
        # No proxy: the platform's own addresses are reached directly.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=300) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def import_errors(self, source: str) -> list[dict[str, t.Any]]:
        return list(self.ask("GET", "importErrors", bundle_name=source)["import_errors"])

    def dags(self) -> list[dict[str, t.Any]]:
        return list(self.ask("GET", "dags", limit=100)["dags"])

    def knows(self, dag: str) -> bool:
        return dag in {each["dag_id"] for each in self.dags()}

    def trigger(self, dag: str, **body: t.Any) -> dict[str, t.Any]:
        """A run of a DAG, which is paused no longer."""
        self.ask("PATCH", f"dags/{dag}", {"is_paused": False})
        return dict(self.ask("POST", f"dags/{dag}/dagRuns", {"logical_date": None, **body}))

    def ended(self, run: dict[str, t.Any], seconds: float) -> str:
        """In which state a run ended; empty where it has not."""

        def state() -> str:
            now = str(self.ask("GET", _path(run))["state"])
            return now if now in ("success", "failed") else ""

        return wait_for(state, seconds)

    def tasks(self, run: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        return list(self.ask("GET", f"{_path(run)}/taskInstances", limit=100)["task_instances"])

    def returned(self, run: dict[str, t.Any], task: str) -> t.Any:
        return self.ask("GET", f"{_path(run)}/taskInstances/{task}/xcomEntries/return_value")["value"]

    def log(self, task: dict[str, t.Any]) -> str:
        """A task's log of its last try, as the UI shows it."""
        path = f"dags/{task['dag_id']}/dagRuns/{quoted(task['dag_run_id'])}/taskInstances/{task['task_id']}"
        answer = self.ask("GET", f"{path}/logs/{task['try_number']}", map_index=task["map_index"], full_content="true")
        return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in answer["content"])


def quoted(run: str) -> str:
    return urllib.parse.quote(run, safe="")


def _path(run: dict[str, t.Any]) -> str:
    return f"dags/{run['dag_id']}/dagRuns/{quoted(run['dag_run_id'])}"


class Forward:
    """A way to a Service of a cluster, which kubectl keeps as long as the pod is there that it leads to."""

    def __init__(self, kubectl: t.Sequence[str], service: str, port: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            local = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{local}"
        self._command = [*kubectl, "port-forward", f"service/{service}", f"{local}:{port}"]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.again()

    def again(self) -> None:
        """Begin it anew; return when it takes connections, or a moment later where there is no pod."""
        with self._lock:
            self.end()
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(self._takes, 5, every=0.2)

    def _takes(self) -> bool:
        host, _colon, port = self.url.removeprefix("http://").partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


class Platform:
    """What Ansible knows about a deployed platform, and the ways into it."""

    def __init__(self, inventory: str, folder: pathlib.Path) -> None:
        self.inventory = inventory
        destination = folder / "platform.json"
        ansible_playbook(inventory, "tests/integration/describe.yml", {"destination": str(destination)})
        described = json.loads(destination.read_text(encoding="utf-8"))
        destination.unlink()
        self.plan: dict[str, t.Any] = described["plan"]
        self.secrets: dict[str, str] = described["secrets"]
        self._connections: dict[str, dict[str, t.Any]] = described["connections"]
        self.cluster: dict[str, t.Any] = described["cluster"]
        self._sockets = folder / "s"
        self._sockets.mkdir()

    @functools.cached_property
    def airflow(self) -> Airflow:
        return self.airflow_as(self.plan["api"]["admin_user"], self.secrets["admin"])

    @property
    def kubectl(self) -> list[str]:
        """The command that asks the namespace, as who deployed into it."""
        known = {name: self.cluster[name] for name in ("kubeconfig", "context", "namespace")}
        return ["kubectl", *(f"--{name}={value}" for name, value in known.items() if value)]

    @functools.cached_property
    def _forward(self) -> Forward:
        return Forward(self.kubectl, API_NAME, self.plan["api"]["port"])

    def airflow_as(self, user: str, password: str) -> Airflow:
        api = self.plan["api"]
        if self.plan["platform"] == "kubernetes":
            return Airflow(self._forward.url, user, password, self._forward.again)
        address = next(host["address"] for host in self.plan["hosts"] if host["name"] == api["hosts"][0])
        return Airflow(f"http://{address}:{api['port']}", user, password)

    @property
    def hosts(self) -> list[str]:
        return [host["name"] for host in self.plan["hosts"]]

    @property
    def units(self) -> list[tuple[str, str]]:
        """(host, unit) of everything of Airflow that runs."""
        return [
            (host, f"airflow-{component['name']}")
            for component in self.plan["components"]
            for host in component["hosts"]
        ]

    @property
    def workers(self) -> list[tuple[str, str, dict[str, t.Any]]]:
        """(host, unit, pool) of every worker."""
        return [(host, f"airflow-worker-{pool['name']}", pool) for pool in self.plan["pools"] for host in pool["hosts"]]

    def host(self, name: str) -> t.Any:
        """A host as testinfra sees it."""
        known = self._connections[name]
        return testinfra.get_host(
            f"ssh://{known['user']}@{known['address']}:{known['port']}",
            ssh_identity_file=known["identity"],
            ssh_extra_args=shlex.join(self._options(known)),
            sudo=known["become"],
        )

    def run(self, host: str, command: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """A shell command on a host as root, with what no process list may show on its standard input."""
        known = self._connections[host]
        identity = ["-i", known["identity"]] if known["identity"] else []
        place = ["-p", str(known["port"]), f"{known['user']}@{known['address']}"]
        inner = f"sudo sh -c {shlex.quote(command)}" if known["become"] else command
        done = subprocess.run(
            ["ssh", *self._options(known), *identity, *place, inner],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{host}: {command} gave {done.returncode}: {done.stderr}{done.stdout}"
        )
        return done

    def seek(self, host: str, secrets: dict[str, str], *places: str) -> dict[str, t.Any]:
        """Where a host shows secrets, in its processes and in the places given; see seek.py."""
        command = shlex.join(["python3", "-c", SEEK, *places])
        answer: dict[str, t.Any] = json.loads(self.run(host, command, stdin=json.dumps(secrets)).stdout)
        return answer

    def _options(self, known: dict[str, t.Any]) -> list[str]:
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", f"ControlPath={self._sockets}/%C"]
        return [*shlex.split(known["arguments"]), *shared]

    def disconnect(self) -> None:
        """End the shared connections, which would outlive the tests."""
        if "_forward" in self.__dict__:
            self._forward.end()
        for known in self._connections.values():
            place = f"{known['user']}@{known['address']}"
            command = ["ssh", *self._options(known), "-p", str(known["port"]), "-O", "exit", place]
            subprocess.run(command, capture_output=True, check=False)


def publish(platform: Platform, paths: t.Mapping[str, pathlib.Path], succeeds: bool = True, **variables: t.Any) -> str:
    """Publish every source, some of them from another directory than the inventory says; the output."""
    sources = [{"name": each["name"], "queues": each["queues"], **each["origin"]} for each in platform.plan["sources"]]
    changed = [{**each, "path": str(paths[each["name"]])} if each["name"] in paths else each for each in sources]
    given = {"airflow_dag_sources": changed, "airflow_dags_refresh_timeout": REFRESH_SECONDS, **variables}
    return ansible_playbook(platform.inventory, "playbooks/dags.yml", given, succeeds=succeeds)


def copies(
    platform: Platform, folder: pathlib.Path, dags: t.Mapping[str, t.Mapping[str, str]]
) -> dict[str, pathlib.Path]:
    """The directories of sources with further files, by source and by their names without .py."""
    origins = {source["name"]: source["origin"] for source in platform.plan["sources"]}
    made = {source: folder / source for source in dags}
    for source, texts in dags.items():
        shutil.copytree(origins[source]["path"], made[source])
        for name, text in texts.items():
            place = made[source] / origins[source].get("subdirectory", "") / f"{name}.py"
            place.write_text(text, encoding="utf-8")
    return made


@contextlib.contextmanager
def further_dags(
    platform: Platform, folder: pathlib.Path, dags: t.Mapping[str, t.Mapping[str, str]], **variables: t.Any
) -> t.Iterator[None]:
    """Sources with further files, by source and by their names without .py, until they are as the inventory says."""
    publish(platform, copies(platform, folder, dags), **variables)
    try:
        yield
    finally:
        publish(platform, {}, **variables)


def at_once(calls: t.Iterable[t.Callable[[], Answer]]) -> list[Answer]:
    """The answers of calls that run side by side."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as executor:
        return [future.result() for future in [executor.submit(call) for call in calls]]
