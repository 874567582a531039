# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the answers of a running platform say about its health. Pure: no I/O, no clock.

``examine`` compares a plan with what was seen, a dictionary of

- apis: one for each API server, {host, url, version, health} with the answers of /api/v2/version and
  /api/v2/monitor/health, or {host, url, error}
- login: None, or why no token was given; is_refused tells a wrong password from an API that does not answer
- jobs, dags, import_errors: lists as the REST API gives them, or None where it was not asked
- queues: {name: {consumers, messages} or {error}}, {"": {error}} where the broker does not answer, None where it was
  not asked; consumers None where the broker does not tell them; of SQS also {attributes}, and its queue of dead letters
- broker_settings: those of the broker that it tells, by name
- releases: {source: {release, published, dag_files}} as the DAG storage holds them, release None where there is none,
  published in seconds since the epoch, dag_files those that define a DAG; None where this host does not hold the storage
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ansible_collections.airstack.backbone.plugins.module_utils._model import dns, placement
from ansible_collections.airstack.backbone.plugins.module_utils._render.kubernetes import naming
from ansible_collections.airstack.backbone.plugins.module_utils._services import redis, sqs

ERROR = "error"
WARNING = "warning"

HEARTBEATS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
"""The kinds of component that beat in the metadata database, each with the type of its jobs there."""

PARSED_WITHIN = 60
"""Seconds after which the errors that stand in the database are those of the published release: the bundle is looked at
every 30 s (settings.BUNDLE_REFRESH), the files of the former one may be in work by then."""

SHOWN_ERRORS = 10
"""Import errors of one source that a report spells out."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    part: what of the platform. found: what was seen. advice: what to do about it. severity: an error fails a
    verification, a warning does not. is_final: waiting will not mend it.
    """

    part: str
    found: str
    advice: str
    severity: str = ERROR
    is_final: bool = False

    def __str__(self) -> str:
        return f"{self.part}: {self.found}; {self.advice}"


def with_least(plan: Mapping[str, Any], least: Mapping[str, int]) -> dict[str, Any]:
    """The plan with as many machines of a component as have to be there.

    least: by a component's name, or by its label in a cluster (dns.label).
    """
    machines = placement.PLATFORMS[plan["platform"]].machines

    def counted(name: str, each: Mapping[str, Any]) -> Mapping[str, Any]:
        number = least.get(name, least.get(dns.label(name)))
        if number is None:
            return each
        return {**each, "machines": machines(name, each["hosts"], number)[:number], "replicas": number}

    pools = [counted(f"worker-{pool['name']}", pool) for pool in plan["pools"]]
    return {**plan, "pools": pools, "components": [counted(each["name"], each) for each in plan["components"]]}


def examine(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Finding]:
    """Everything that is wrong with a platform, the causes before what follows from them."""
    return [
        *_apis(plan, seen),
        *_login(plan, seen),
        *_components(plan, seen),
        *_queues(plan, seen),
        *_broker_settings(plan, seen),
        *_sources(plan, seen),
    ]


def is_settled(findings: Iterable[Finding]) -> bool:
    """Whether waiting cannot change the outcome: nothing is wrong, or nothing that time would mend."""
    return all(finding.is_final for finding in findings)


def report(plan: Mapping[str, Any], seen: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """What was seen and found, as plain data for people and programs."""
    is_healthy = not any(finding.severity == ERROR for finding in findings)
    shown = {
        "environment": plan["environment"],
        "is_healthy": is_healthy,
        "findings": [asdict(finding) for finding in findings],
        "apis": [_shown_api(api) for api in seen["apis"]],
        "components": {kind: _shown_component(kind, plan, seen) for kind in HEARTBEATS},
        "queues": {name: _shown_queue(answer) for name, answer in (seen["queues"] or {}).items() if name},
        "sources": {source["name"]: _shown_source(source["name"], seen) for source in plan["sources"]},
    }
    return {**shown, "summary": _summary(plan, seen, shown)}


def message(findings: Iterable[Finding]) -> str:
    """The findings as lines for a person."""
    return "\n".join(f"{number:3}. {finding}" for number, finding in enumerate(findings, start=1))


# --- what is wrong ----------------------------------------------------------------------------------------------------


def _apis(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    (wanted,) = (component["replicas"] for component in plan["components"] if component["kind"] == "api-server")
    is_enough = sum("error" not in api for api in seen["apis"]) >= wanted
    for api in seen["apis"]:
        part = f"API server on {api['host']}"
        if "error" in api:
            # Where the platform chooses among hosts, it need not be each.
            if not is_enough:
                found = f"{api['url']} does not answer ({api['error']})"
                yield Finding(part, found, _logs(plan, ["api-server"], [api["host"]]))
            continue
        version = api["version"].get("version")
        if version != plan["airflow_version"]:
            yield Finding(
                part,
                f"it runs Airflow {version} and the description says {plan['airflow_version']}",
                "deploy with site.yml",
            )
        database = api["health"].get("metadatabase", {}).get("status")
        if database != "healthy":
            yield Finding(part, "it does not reach the metadata database", "look at the database's own log")


def _login(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    login = seen["login"]
    if login is None:
        return
    advice = _logs(plan, ["api-server"])
    if login["is_refused"]:
        advice = (
            "if somebody changed the password in the UI, put the new one into airflow_secret_admin;"
            " the role airflow_components sets it anew where the user is gone"
        )
    yield Finding(f"user {login['user']}", f"no token ({login['error']})", advice, is_final=login["is_refused"])


def _components(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    health = _health(seen)
    if health is None:
        return
    beating = _beating(seen)
    for kind in HEARTBEATS:
        processes = _processes(plan, kind)
        advice = _logs(plan, dict.fromkeys(name for name, _machine in processes), _machines(plan, kind))
        beat = _heartbeat(kind, health)
        if beat["status"] != "healthy":
            last = f"its last heartbeat was at {beat['latest']}" if beat["latest"] else "it never gave a heartbeat"
            yield Finding(kind, last, advice)
        elif beating is not None and beating[kind] < len(processes):
            yield Finding(kind, f"{beating[kind]} of {len(processes)} give heartbeats", advice)


def _queues(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    answers = seen["queues"]
    if answers is None:
        return
    if "" in answers:
        broker = plan["broker"]
        is_sqs = broker.get("kind") == "sqs"
        where = f"SQS in {broker['region']}" if is_sqs else ", ".join(f"{host}:{port}" for host, port in places(broker))
        yield Finding("broker", f"{where} does not answer ({answers['']['error']})", "look at the broker's own log")
        return
    for queue, workers in consumers(plan).items():
        answer = answers.get(queue, {"error": "it was not asked"})
        machines = [machine for pool in workers.values() for machine in pool]
        advice = _logs(plan, [f"worker-{pool}" for pool in workers], machines)
        if "error" in answer:
            yield Finding(f"queue {queue}", f"the broker says: {answer['error']}", advice)
        elif answer["consumers"] is None:
            continue
        elif answer["consumers"] == 0 and (machines or answer["messages"]):
            waiting = f", and {answer['messages']} tasks wait" if answer["messages"] else ""
            # Where none has to be there, one may yet come: of who scales it, or after the tasks of the one before.
            severity = ERROR if machines else WARNING
            yield Finding(f"queue {queue}", f"no worker consumes it{waiting}", advice, severity=severity)
        elif answer["consumers"] < len(machines):
            found = f"{answer['consumers']} of {len(machines)} workers consume it"
            yield Finding(f"queue {queue}", found, advice, severity=WARNING)
    if plan["broker"].get("kind") == "sqs":
        yield from _sqs_queues(plan, answers)


def _sqs_queues(plan: Mapping[str, Any], answers: Mapping[str, Any]) -> Iterator[Finding]:
    """Attributes that are otherwise than planned, and messages that no worker could finish."""
    broker = plan["broker"]
    found = {broker["names"].get(name, name): answer.get("attributes") for name, answer in answers.items()}
    for difference in sqs.timing(plan, {name: attributes for name, attributes in found.items() if attributes}):
        yield Finding(f"queue {difference['queue']}", difference["said"], difference["advice"], is_final=True)
    dead = answers.get(broker["dead_letters"], {}).get("messages")
    if dead:
        yield Finding(
            f"queue {broker['dead_letters']}",
            f"{_count(dead, 'message')} that {broker['receives']} deliveries brought to no end",
            "look at what killed their workers, then empty the queue",
            severity=WARNING,
        )


def _broker_settings(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings with which the broker loses tasks. They are told of a broker of somebody else's, too."""
    told = seen.get("broker_settings") or {}
    if not told:
        return
    is_ours = plan["broker"]["provider"] == "redis"
    for name, wanted in redis.settings(plan["broker"]).items():
        if name in told and not redis.same(told[name], wanted):
            yield Finding(
                "broker",
                f"its {name} is {told[name]} and has to be {wanted}",
                "deploy with site.yml, which sets it" if is_ours else f"set it there: {redis.REASONS[name]}",
                severity=ERROR if name in redis.FATAL else WARNING,
                is_final=True,
            )


def _sources(plan: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Finding]:
    if seen["dags"] is None or seen["import_errors"] is None:
        return
    for source in plan["sources"]:
        release = _release(source["name"], seen)
        yield from _releases(plan, source["name"], release, seen)
        yield from _import_errors(source["name"], release, seen)


def _releases(
    plan: Mapping[str, Any], name: str, release: Mapping[str, Any] | None, seen: Mapping[str, Any]
) -> Iterator[Finding]:
    part = f"source {name}"
    advice = f"{_logs(plan, ['dag-processor'])}, which parses it"
    if release is None:
        return
    if release["release"] is None:
        yield Finding(part, "no release of it is published", "publish it with playbooks/dags.yml")
        return
    dags, hidden = _dags(name, seen), _hidden(name, release, seen)
    behind = Counter(dag["bundle_version"] for dag in dags if dag["bundle_version"] != release["release"])
    if behind:
        versions = ", ".join(str(version) for version in behind)
        waiting = _count(sum(behind.values()), "DAG")
        yield Finding(
            part, f"release {release['release']} is published, and Airflow still has {waiting} of {versions}", advice
        )
    elif release["dag_files"] and not dags and not hidden and not _errors(name, seen):
        yield Finding(part, f"Airflow has found no DAG in its release {release['release']}", advice)
    for file in hidden:
        yield Finding(
            part,
            f"Airflow has no DAG of {file}, and shows no import error where another source has such a file",
            advice,
        )


def _hidden(name: str, release: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Files whose import errors the REST API keeps to itself.

    Airflow 3.3's list of import errors (core_api/routes/public/import_error.py) leaves out a file that has no DAG itself
    and is called as one of another bundle that has.
    """
    others = {dag["relative_fileloc"] for dag in seen["dags"] if dag["bundle_name"] != name}
    known = {dag["relative_fileloc"] for dag in _dags(name, seen)}
    known |= {error["filename"] for error in _errors(name, seen)}
    return [file for file in release["dag_files"] if file in others and file not in known]


def _import_errors(name: str, release: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> Iterator[Finding]:
    errors = _errors(name, seen)
    for error in errors[:SHOWN_ERRORS]:
        is_of_release = release is not None and _seconds(error["timestamp"]) > release["published"] + PARSED_WITHIN
        yield Finding(
            f"source {name}",
            f"{error['filename']} cannot be imported: {last_line(error['stack_trace'])}",
            "mend the file and publish the source again",
            is_final=is_of_release,
        )
    if len(errors) > SHOWN_ERRORS:
        more = f"{len(errors) - SHOWN_ERRORS} more files cannot be imported"
        yield Finding(f"source {name}", more, "see the import errors in the UI", is_final=True)


# --- what was seen ----------------------------------------------------------------------------------------------------


def consumers(plan: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Who has to consume each queue: the machines of each pool, by queue and pool."""
    found: dict[str, dict[str, list[str]]] = {}
    for pool in plan["pools"]:
        for queue in pool["queues"]:
            found.setdefault(queue, {})[pool["name"]] = pool["machines"]
    return found


def counted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What SQS's attributes of a queue say of it."""
    if "error" in attributes:
        return dict(attributes)
    return {"consumers": None, "messages": int(attributes[sqs.MESSAGES[0]]), "attributes": dict(attributes)}


def places(broker: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Address and port of each of the broker's nodes; of one from elsewhere, those that the description names."""
    nodes = broker.get("nodes") or [{"address": broker["host"], "port": broker["port"]}]
    return [(node["address"], node["port"]) for node in nodes]


def last_line(trace: str) -> str:
    """What a traceback says in the end: its last line that is not empty."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _processes(plan: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Component and machine of each process of a kind; with Airflow's own teams there are several triggerers on a host."""
    components = [component for component in plan["components"] if component["kind"] == kind]
    return [(component["name"], machine) for component in components for machine in component["machines"]]


def _machines(plan: Mapping[str, Any], kind: str) -> list[str]:
    return list(dict.fromkeys(machine for _name, machine in _processes(plan, kind)))


def _health(seen: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the first API server that reaches the database says about the components."""
    answers = [api["health"] for api in seen["apis"] if "error" not in api]
    return next((health for health in answers if health.get("metadatabase", {}).get("status") == "healthy"), None)


def _heartbeat(kind: str, health: Mapping[str, Any]) -> dict[str, str | None]:
    key = kind.replace("-", "_")
    answer = health.get(key) or {}
    return {"status": answer.get("status"), "latest": answer.get(f"latest_{key}_heartbeat")}


def _beating(seen: Mapping[str, Any]) -> Counter[str] | None:
    """How many of each kind give heartbeats."""
    if seen["jobs"] is None:
        return None
    kinds = {job_type: kind for kind, job_type in HEARTBEATS.items()}
    return Counter(kinds[job["job_type"]] for job in seen["jobs"] if job["job_type"] in kinds)


def _release(name: str, seen: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return None if seen["releases"] is None else seen["releases"][name]


def _dags(name: str, seen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [dag for dag in seen["dags"] or () if dag["bundle_name"] == name]


def _errors(name: str, seen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [error for error in seen["import_errors"] or () if error["bundle_name"] == name]


def _seconds(timestamp: str) -> float:
    """Seconds since the epoch of a time as the REST API writes it; Python before 3.11 reads no Z."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def _logs(plan: Mapping[str, Any], components: Iterable[str], machines: Iterable[str] = ()) -> str:
    """Where a person sees what components print."""
    if plan["platform"] == "swarm":
        return "look at " + " and ".join(
            f"`docker service logs airflow-{plan['environment']}_{component}`" for component in components
        )
    if plan["platform"] == "kubernetes":
        of_any = ", ".join(dns.label(component) for component in components)
        selector = f"{naming.ENVIRONMENT}={plan['environment']},{naming.COMPONENT} in ({of_any})"
        return f"look at `kubectl logs --selector '{selector}'` in its namespace"
    units = " ".join(f"-u airflow-{component}" for component in components)
    where = f" on {', '.join(machines)}" if machines else ""
    return f"look at `journalctl {units}`{where}"


# --- what is shown ----------------------------------------------------------------------------------------------------


def _shown_api(api: Mapping[str, Any]) -> dict[str, Any]:
    known = {"host": api["host"], "url": api["url"]}
    return {**known, "error": api["error"]} if "error" in api else {**known, "version": api["version"].get("version")}


def _shown_component(kind: str, plan: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    beating = _beating(seen)
    return {
        **_heartbeat(kind, _health(seen) or {}),
        "running": None if beating is None else beating[kind],
        "hosts": _machines(plan, kind),
    }


def _shown_queue(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "attributes"}


def _shown_source(name: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    release = _release(name, seen)
    return {
        "release": release and release["release"],
        "dags": None if seen["dags"] is None else len(_dags(name, seen)),
        "import_errors": None if seen["import_errors"] is None else len(_errors(name, seen)),
    }


def _summary(plan: Mapping[str, Any], seen: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    if not shown["is_healthy"]:
        errors = sum(finding["severity"] == ERROR for finding in shown["findings"])
        return f"Airflow {plan['airflow_version']} of {plan['environment']}: {_count(errors, 'problem')}"
    dags = sum(source["dags"] for source in shown["sources"].values())
    workers = sum(pool["replicas"] for pool in plan["pools"])
    queues = "its queues were not asked"
    if seen["queues"] is not None:
        is_known = all(queue.get("consumers") is not None for queue in shown["queues"].values())
        queues = f"{_count(len(shown['queues']), 'queue')} {'consumed' if is_known else 'there, to be consumed'}"
    return (
        f"Airflow {plan['airflow_version']} of {plan['environment']} is healthy: "
        f"{_count(len(shown['apis']), 'API server')}; "
        f"fresh heartbeats of {', '.join(HEARTBEATS)}; "
        f"{queues} by {_count(workers, 'worker')}; "
        f"{_count(len(shown['sources']), 'source')} with {_count(dags, 'DAG')}, no import error"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
