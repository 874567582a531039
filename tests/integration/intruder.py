# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A DAG whose task reaches for what another team has, with nothing but what any task has.

Params: other, what there is to reach for (see test_intruder.py, which publishes this file). The task returns JSON: how each
attempt ended, {"got": ...} or {"refused": ...}.
"""

from __future__ import annotations

import json
import pathlib
import typing as t
import uuid
from collections.abc import Callable

import boto3
import kombu
import psycopg2
from airflow.configuration import conf
from airflow.models import Connection as ConnectionRow
from airflow.sdk import DAG, Connection, task
from airflow.utils.session import create_session
from sqlalchemy import create_engine, text

PROFILE = "airflow-logs"
"""The AWS profile that a worker writes logs with."""


def files(other: dict[str, t.Any]) -> list[str]:
    return sorted(path.name for path in pathlib.Path(other["files"]).iterdir())


def files_of_the_host(other: dict[str, t.Any]) -> list[str]:
    """Around the worker's own view of the file system."""
    return files({"files": f"/proc/1/root{other['files']}"})


def broker() -> t.Any:
    return kombu.Connection(conf.get("celery", "broker_url"), transport_options={"confirm_publish": True})


def take(other: dict[str, t.Any]) -> str:
    with broker() as connection:
        return repr(connection.default_channel.basic_get(other["queue"]))


def put(other: dict[str, t.Any]) -> str:
    with broker() as connection:
        channel = connection.default_channel
        message = channel.prepare_message("{}", content_type="application/json", content_encoding="utf-8")
        channel.basic_publish(message, exchange="", routing_key=other["queue"], timeout=10, confirm_timeout=10)
    return "sent"


def connection_of_others(other: dict[str, t.Any]) -> str:
    return str(Connection.get(other["connection"]).password)


def metadata_through_airflow(_other: dict[str, t.Any]) -> int:
    with create_session() as session:
        return int(session.query(ConnectionRow).count())


def metadata_with_its_own_credential(_other: dict[str, t.Any]) -> str:
    """The database holds Celery's results, too: for these a worker has a user."""
    engine = create_engine(conf.get("celery", "result_backend").removeprefix("db+"))
    with engine.connect() as connection:
        return repr(connection.execute(text("SELECT conn_id, password FROM connection")).all())


def metadata_as_its_owner(other: dict[str, t.Any]) -> str:
    psycopg2.connect(**other["database"], password="guessed", connect_timeout=10).close()
    return "connected"


def keys_of_airflow(_other: dict[str, t.Any]) -> list[str]:
    """Which of the keys that a worker does not need it has."""
    keys = [("core", "fernet_key"), ("api_auth", "jwt_secret")]
    return [key for section, key in keys if conf.get(section, key, fallback="")]


def logs() -> t.Any:
    return boto3.Session(profile_name=PROFILE).client("s3")


def read_logs(other: dict[str, t.Any]) -> str:
    logs().list_objects_v2(Bucket=other["bucket"], Prefix=other["logs"], MaxKeys=1)
    return "listed"


def write_logs(other: dict[str, t.Any]) -> str:
    key = f"{other['logs']}intruder-{uuid.uuid4()}"
    logs().put_object(Bucket=other["bucket"], Key=key, Body=b"planted")
    logs().delete_object(Bucket=other["bucket"], Key=key)
    return "written"


ATTEMPTS: list[Callable[[dict[str, t.Any]], object]] = [
    files,
    files_of_the_host,
    take,
    put,
    connection_of_others,
    metadata_through_airflow,
    metadata_with_its_own_credential,
    metadata_as_its_owner,
    keys_of_airflow,
    read_logs,
    write_logs,
]


def ended(attempt: Callable[[dict[str, t.Any]], object], other: dict[str, t.Any]) -> dict[str, t.Any]:
    try:
        return {"got": attempt(other)}
    except Exception as refusal:
        return {"refused": f"{type(refusal).__name__}: {refusal}"}


with DAG("intruder", schedule=None, params={"other": {}}):

    @task
    def reach(params: dict[str, t.Any]) -> str:
        return json.dumps({attempt.__name__: ended(attempt, params["other"]) for attempt in ATTEMPTS})

    reach()
