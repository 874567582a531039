# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate before a release of DAGs: parses it with the core that it is installed in, and says what would go wrong.

For people and pipelines, with a directory of DAGs for each source::

    python -m airflow_backbone.gate --source etl=dags --queues etl=etl,etl_highmem

For programs, without ``--source``, with one JSON document on stdin (``null`` or left out: not judged, or the default)::

    {"routing": {"mode", "storage", "sources"},       as in the routing file, see airflow_backbone.routing
     "sources": [{"name", "path", "parse_budget",     seconds that one file may take
                  "foreign_pools": [name]}],          of another team, which this source's tasks are not scheduled in
     "dags_elsewhere": {dag_id: source},              of sources that are not in this job
     "pools": [name], "settings": {section: {key: value}}, "timeout": seconds, "jobs": count, "user": name}

and one on stdout: ``{"ok", "message", "seconds", "sources": {name: {"dags", "files", "seconds", "problems", "warnings"}}}``,
see airflow_backbone.gate_report; ``message`` is all of it for a person.

DAG code runs in processes of its own, without any secret, with limits of time, memory and processes, and where the gate runs
as root as another user. Nothing asks a database: what asks for a variable or a connection while it is parsed is not judged.

Exit codes: 0 judged, and for people only if nothing is wrong; 1 for people, something is wrong; 2 not judged, with the reason
on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from airflow_backbone import gate_report, gate_sandbox
from airflow_backbone.gate_job import GateError, Job

GRACE = 60
"""Seconds beyond the time limit, for the import of Airflow, until a gate that does not end by itself is ended."""

KEPT = ("PATH", "LANG", "LC_ALL")
"""What DAG code sees of the gate's environment, besides PYTHONPATH."""

Settings = dict[str, dict[str, str]]

SETTINGS: Settings = {"core": {"executor": "CeleryExecutor"}, "operators": {"default_queue": "unassigned"}}
"""As every platform of the collection has them; those of a job come on top."""

JUDGED_SECTIONS = ("core", "operators", "scheduler")
"""The sections of a platform's settings that have a say in how a DAG is parsed. The others may name what is not here."""


def run(job: Job) -> gate_report.Report:
    """Judge the sources of a job.

    :raises GateError: nothing can be judged
    """
    began = time.monotonic()
    user = gate_sandbox.user(job.user)
    # What is laid out here is read by that user.
    os.umask(0o022)
    gate_sandbox.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="airflow-gate-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        lay_out(place, job, user)
        try:
            outcomes = parse(place, job, user)
        finally:
            gate_sandbox.end_children()
    report = gate_report.report([source.name for source in job.sources], outcomes, job.dags_elsewhere)
    seconds = round(time.monotonic() - began, 3)
    return {**report, "seconds": seconds, "message": gate_report.message(report, seconds)}


def lay_out(place: Path, job: Job, user: pwd.struct_passwd | None) -> None:
    """Write what the processes that parse read: a routing file, a configuration, and a storage with links to the sources.

    The links stand for the releases' own places, so that the queue policy finds a source by its path wherever it lies.
    """
    storage, home = place / "storage", place / "home"
    for directory in (storage, home):
        directory.mkdir()
    place.chmod(0o755)
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
    for source in job.sources:
        (storage / source.name).symlink_to(source.path)
    routing = {**job.routing, "storage": str(storage)}
    (place / "routing.json").write_text(json.dumps(routing), encoding="utf-8")
    own: Settings = {
        # The gate limits the time itself, and wants to see all of a traceback.
        "core": {
            "load_examples": "False",
            "dagbag_import_timeout": "0",
            "dagbag_import_error_tracebacks": "True",
            "dagbag_import_error_traceback_depth": "1000",
        },
        "database": {"sql_alchemy_conn": "sqlite://"},
        "logging": {"base_log_folder": str(home / "logs")},
    }
    platform = {section: keys for section, keys in job.settings.items() if section in JUDGED_SECTIONS}
    configuration = ConfigParser(interpolation=None)
    for layer in (SETTINGS, platform, own):
        for section, keys in layer.items():
            for key, value in keys.items():
                configuration.read_dict({section: {key: str(value).replace("%", "%%")}})
    with (place / "airflow.cfg").open("w", encoding="utf-8") as file:
        configuration.write(file)


def parse(place: Path, job: Job, user: pwd.struct_passwd | None) -> list[dict[str, Any]]:
    """Have the files parsed, and return what came of each.

    :raises GateError: they cannot be parsed at all
    """
    home = place / "home"
    environment = {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        # Relative paths are those of the directory that the gate was called in.
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(":")))),
        "HOME": str(home),
        "TMPDIR": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(place / "airflow.cfg"),
        "AIRFLOW_BACKBONE_ROUTING": str(place / "routing.json"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sources = [
        {
            "name": source.name,
            "path": str(place / "storage" / source.name),
            "parse_budget": source.parse_budget,
            "foreign_pools": source.foreign_pools,
        }
        for source in job.sources
    ]
    given = {"sources": sources, "pools": job.known_pools, "seconds": job.timeout, "jobs": job.jobs}
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "airflow_backbone.gate_fork"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=environment,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
    except OSError as error:
        who = f"the user '{user.pw_name}'" if user else "this user"
        raise GateError(
            f"{sys.executable} cannot be run as {who}, as whom DAG files would be parsed: {error.strerror}. Let this user"
            " read the core, or choose another one (--user)."
        ) from None
    try:
        lines, errors = process.communicate(json.dumps(given).encode(), timeout=job.timeout + GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        lines, errors = process.communicate()
    if process.returncode != 0 and not lines:
        reason = errors.decode(errors="replace") or f"the gate's process ended with {process.returncode}"
        raise GateError(f"This core cannot parse DAG files: {gate_report.one_line(reason)}")
    return outcomes(lines.decode(errors="replace"), job, process.returncode)


def outcomes(lines: str, job: Job, code: int) -> list[dict[str, Any]]:
    """Read what the process that forks wrote, and add what it could not write any more.

    :raises GateError: it says that nothing can be judged
    """
    read = [json.loads(line) for line in lines.splitlines(keepends=True) if line.endswith("\n")]
    failed = [line["failed"] for line in read if "failed" in line]
    if failed:
        raise GateError(f"This core cannot parse DAG files: {failed[0]}.")
    made = [line for line in read if "problems" in line]
    judged = {(line["source"], line["file"]) for line in made}
    begun = [line for line in read if (line["source"], line["file"]) not in judged]
    for line in begun:
        text = "It was not judged to its end: all of the gate's processes were ended meanwhile, maybe by this file."
        problem = {"file": line["file"], "kind": "crash", "text": text}
        made.append(gate_report.of_source(line["source"], [problem]))
    if code != 0:
        for source in job.sources:
            text = f"Not all of its files were judged: the gate's process ended with {code}."
            problem = {"file": None, "kind": "crash", "text": text}
            made.append(gate_report.of_source(source.name, [problem]))
    return made


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_backbone.gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", action="append", metavar="NAME=DIRECTORY", help="DAGs to judge; may be repeated")
    parser.add_argument("--queues", action="append", metavar="NAME=QUEUE,...", help="what a source's tasks may use")
    parser.add_argument("--pools", metavar="POOL,...", help="the pools that there are besides default_pool")
    parser.add_argument("--parse-budget", type=float, default=30.0, metavar="SECONDS", help="for one file (30)")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="for all files (300)")
    parser.add_argument("--jobs", type=int, metavar="COUNT", help="files to parse at the same time (one for each CPU)")
    parser.add_argument("--user", help="who DAG code runs as, where root runs the gate (airflow or nobody)")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        report = run(Job.of_options(options) if options.source else Job.read(sys.stdin))
    except (GateError, gate_sandbox.SandboxError) as error:
        print(error, file=sys.stderr)
        return 2
    is_for_people = bool(options.source)
    print(report["message"] if is_for_people and options.format == "text" else json.dumps(report))
    return int(is_for_people and not report["ok"])


if __name__ == "__main__":
    sys.exit(main())
