# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""airflow_backbone together with Airflow itself: run by the core's own Python, with nothing but its standard library.

    <core>/bin/python core_probe.py

needs no platform, no database and no root. On a platform, test_core.py runs it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
import textwrap
import typing as t
import unittest
from pathlib import Path

PLACE = Path(tempfile.mkdtemp(prefix="core-probe-"))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)
STORAGE = PLACE / "storage"
ROUTING = PLACE / "routing.json"
SETTINGS = {
    "AIRFLOW_HOME": str(PLACE / "home"),
    "AIRFLOW_CONFIG": str(PLACE / "airflow.cfg"),
    "AIRFLOW_BACKBONE_ROUTING": str(ROUTING),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "AIRFLOW__CELERY__BROKER_URL": "amqp://user:password@127.0.0.1/vhost",
    "AIRFLOW__CELERY__RESULT_BACKEND": "db+postgresql+psycopg2://user:password@127.0.0.1/database",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(PLACE / "bundles"),
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
        [
            {
                "name": "etl",
                "classpath": "airflow_backbone.bundle.ReleaseDagBundle",
                "kwargs": {
                    "storage": str(STORAGE),
                    "refresh_interval": 7,
                    "view_url_template": "https://git/{version}",
                },
            }
        ]
    ),
}
# Before Airflow is imported, which reads them, and the policy with them, once.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ.update(SETTINGS)

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.callback import Callback
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
from airflow.serialization.serialized_objects import DagSerialization
from celery import Celery

from airflow_backbone.celery_config import CELERY_CONFIG, with_pool, with_quorum_queues

HEADER = """
from airflow.sdk import DAG, TaskGroup, setup, task, teardown
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.filesystem import FileSensor

from helper import ANSWER
"""


def route(mode: str = "enforce", queues: t.Sequence[str] = ("etl", "etl_highmem")) -> None:
    sources = {"etl": {"queues": list(queues), "default_queue": queues[0]}}
    routing = {"mode": mode, "storage": str(STORAGE), "sources": sources}
    new = ROUTING.with_suffix(".new")
    new.write_text(json.dumps(routing), encoding="utf-8")
    new.replace(ROUTING)


def publish(release: str, dag: str) -> None:
    directory = STORAGE / "etl/releases" / release
    directory.mkdir(parents=True)
    (directory / "helper.py").write_text("ANSWER = 42\n", encoding="utf-8")
    (directory / "dag.py").write_text(HEADER + textwrap.dedent(dag), encoding="utf-8")
    (directory / ".release.json").write_text(json.dumps({"commit": f"commit of {release}"}), encoding="utf-8")
    link = STORAGE / "etl/.new"
    link.symlink_to(f"releases/{release}")
    link.replace(STORAGE / "etl/current")


@contextlib.contextmanager
def raising(kind: type[BaseException], words: str) -> t.Iterator[None]:
    caught = None
    try:
        yield
    except kind as error:
        caught = error
    assert caught is not None, f"no {kind.__name__}"
    assert words in str(caught)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        STORAGE.mkdir(exist_ok=True)
        (STORAGE / ".airflow-dag-storage").touch()
        route()

    def bundle(self, version: str | None = None) -> t.Any:
        return DagBundlesManager().get_bundle("etl", version)

    def parse(self) -> t.Any:
        """The current release's DAGs as the DAG processor and the workers parse them."""
        bundle = self.bundle()
        bundle.initialize()
        return BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name="etl")


class TestBundle(Case):
    def test_it_follows_current_and_a_version_does_not(self) -> None:
        publish("follow-1", "")
        following, pinned = self.bundle(), self.bundle("follow-1")
        following.initialize()
        pinned.initialize()
        publish("follow-2", "")
        assert following.get_current_version().version == "follow-1"
        assert following.path == STORAGE / "etl/releases/follow-1"
        following.refresh()
        pinned.refresh()
        assert following.get_current_version().version == "follow-2"
        assert following.get_current_version().data == {"commit": "commit of follow-2"}
        assert pinned.path == STORAGE / "etl/releases/follow-1"

    def test_airflow_knows_what_it_can_do(self) -> None:
        bundle = self.bundle()
        assert bundle.supports_versioning
        assert bundle.refresh_interval == 7
        assert bundle.view_url_template() == "https://git/{version}"

    def test_a_release_that_is_gone(self) -> None:
        publish("here", "")
        with raising(Exception, "Release pruned of source 'etl' is gone"):
            self.bundle("pruned").initialize()

    def test_a_storage_that_vanishes_is_an_error_and_the_release_stays(self) -> None:
        publish("vanishing", "")
        bundle = self.bundle()
        bundle.initialize()
        (STORAGE / ".airflow-dag-storage").unlink()
        with raising(Exception, "is not available here"):
            bundle.refresh()
        assert bundle.path == STORAGE / "etl/releases/vanishing"
        with raising(Exception, "is not available here"):
            self.bundle().initialize()


class TestPolicy(Case):
    def test_every_kind_of_task_gets_its_queue(self) -> None:
        publish(
            "kinds",
            """
            with DAG("kinds", schedule=None):
                BashOperator(task_id="plain", bash_command="true")
                BashOperator(task_id="chosen", bash_command="true", queue="etl_highmem")
                BashOperator.partial(task_id="mapped").expand(bash_command=["true", "false"])
                BashOperator.partial(task_id="mapped_chosen", queue="etl_highmem").expand(bash_command=["true"])
                FileSensor(task_id="sensor", filepath="x", mode="reschedule")

                @task
                def decorated(number): return number + ANSWER

                decorated.expand(number=[1, 2])

                with TaskGroup("group"):
                    BashOperator(task_id="inner", bash_command="true")
                    with TaskGroup("deeper"):
                        BashOperator(task_id="inner", bash_command="true", queue="etl_highmem")

                @setup
                def begin(): ...

                begin()

            with DAG("defaults", schedule=None, default_args={"queue": "etl_highmem"}):
                BashOperator(task_id="plain", bash_command="true")
            """,
        )
        bag = self.parse()
        assert bag.import_errors == {}
        assert {task.task_id: task.queue for task in bag.dags["kinds"].tasks} == {
            "plain": "etl",
            "chosen": "etl_highmem",
            "mapped": "etl",
            "mapped_chosen": "etl_highmem",
            "sensor": "etl",
            "decorated": "etl",
            "group.inner": "etl",
            "group.deeper.inner": "etl_highmem",
            "begin": "etl",
        }
        assert bag.dags["defaults"].task_dict["plain"].queue == "etl_highmem"

    def test_the_queue_survives_serialization(self) -> None:
        publish(
            "serial",
            """
            with DAG("serial", schedule=None):
                BashOperator.partial(task_id="mapped").expand(bash_command=["true", "false"])
            """,
        )
        known = DagSerialization.from_dict(DagSerialization.to_dict(self.parse().dags["serial"]))
        assert known.task_dict["mapped"].queue == "etl"

    def test_a_deadlines_callback_goes_to_its_sources_queue_and_keeps_all_else(self) -> None:
        publish(
            "deadlines",
            """
            from datetime import timedelta
            from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback

            def late(message): ...
            async def late_triggerer(message): ...

            def alert(callback):
                return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=1), callback)

            callbacks = [
                SyncCallback(late, {"message": "one"}),
                SyncCallback(late, {"message": "two"}, "CeleryExecutor"),
                AsyncCallback(late_triggerer, {"message": "three"}),
            ]
            with DAG("deadlines", schedule=None, deadline=[alert(callback) for callback in callbacks]): ...
            with DAG("deadline", schedule=None, deadline=alert(callbacks[0])): ...
            """,
        )
        bag = self.parse()
        assert bag.import_errors == {}
        parsed = [bag.dags["deadlines"].deadline, bag.dags["deadline"].deadline]
        known = [
            [
                # As the scheduler does where a run misses its deadline.
                Callback.create_from_sdk_def(decode_deadline_alert(encode_deadline_alert(alert)).callback)
                for alert in alerts
            ]
            for alerts in parsed
        ]
        several, one = known
        assert [type(callback).__name__ for callback in several] == [
            "ExecutorCallback",
            "ExecutorCallback",
            "TriggererCallback",
        ]
        assert [callback.data.get("queue") for callback in [*several, *one]] == ["etl", "etl", None, "etl"]
        assert [callback.data.get("executor") for callback in several] == [None, "CeleryExecutor", None]
        assert [callback.data["kwargs"]["message"] for callback in several] == ["one", "two", "three"]
        assert all(callback.data["path"].rpartition(".")[2].startswith("late") for callback in several)

    def test_in_mode_assign_a_deadline_of_no_source_stays_as_airflow_made_it(self) -> None:
        publish(
            "stranger",
            """
            from datetime import timedelta
            from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback

            def late(): ...

            late = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=1), SyncCallback(late))
            with DAG("stranger", schedule=None, deadline=late): ...
            """,
        )
        route(mode="assign")
        ROUTING.write_text(ROUTING.read_text(encoding="utf-8").replace(str(STORAGE), "/srv/other"), encoding="utf-8")
        (alert,) = self.parse().dags["stranger"].deadline
        assert type(alert.callback).__module__ == "airflow.sdk.definitions.callback"

    def test_foreign_queues_are_an_import_error_that_names_them_all(self) -> None:
        publish(
            "foreign",
            """
            with DAG("foreign", schedule=None):
                BashOperator(task_id="fine", bash_command="true")
                BashOperator(task_id="one", bash_command="true", queue="ml")
                with TaskGroup("group"):
                    BashOperator.partial(task_id="two", queue="nowhere").expand(bash_command=["true"])
            """,
        )
        bag = self.parse()
        assert bag.dags == {}
        (message,) = bag.import_errors.values()
        assert "DAG 'foreign' of source 'etl' names a queue that this source may not use" in message
        assert "task 'one' names 'ml', task 'group.two' names 'nowhere'. Allowed: etl, etl_highmem." in message

    def test_a_change_of_the_file_is_noticed(self) -> None:
        publish(
            "change",
            """
            with DAG("change", schedule=None):
                BashOperator(task_id="plain", bash_command="true")
                BashOperator(task_id="chosen", bash_command="true", queue="ml")
            """,
        )
        assert self.parse().dags == {}
        route(queues=["new", "ml"])
        assert {task.queue for task in self.parse().dags["change"].tasks} == {"new", "ml"}
        route(mode="assign")
        assert {task.queue for task in self.parse().dags["change"].tasks} == {"etl", "ml"}
        ROUTING.unlink()
        (message,) = self.parse().import_errors.values()
        assert f"The routing file {ROUTING} cannot be read" in message

    def test_a_dag_from_elsewhere_is_refused(self) -> None:
        publish("elsewhere", "with DAG('elsewhere', schedule=None): ...")
        route()
        ROUTING.write_text(ROUTING.read_text(encoding="utf-8").replace(str(STORAGE), "/srv/other"), encoding="utf-8")
        (message,) = self.parse().import_errors.values()
        assert "belongs to no DAG source of this platform (sources in /srv/other: etl)" in message


class TestCelery(unittest.TestCase):
    def test_queues_are_quorum_queues_and_publishes_confirmed(self) -> None:
        queues = Celery(config_source=CELERY_CONFIG).amqp.queues
        assert queues["etl"].queue_arguments == {"x-queue-type": "quorum"}
        assert queues[CELERY_CONFIG["task_default_queue"]].queue_arguments == {"x-queue-type": "quorum"}
        assert CELERY_CONFIG["broker_transport_options"]["confirm_publish"] is True
        assert "control_exchange" not in CELERY_CONFIG

    def test_a_pool_has_a_control_exchange_and_a_consumer_of_its_own(self) -> None:
        app = Celery(config_source=with_pool(CELERY_CONFIG, "etl"))
        assert app.control.mailbox.exchange.name == "celery-etl.pidbox"
        assert app.conf.event_exchange == "celeryev-etl"
        consumer = app.loader.import_from_cwd(app.conf.worker_consumer.partition(":")[0]).PoolConsumer
        steps = [getattr(step, "__name__", str(step).rpartition(":")[2]) for step in consumer.Blueprint.default_steps]
        assert "Control" in steps
        assert "DelayedDelivery" not in steps

    def test_another_broker_keeps_what_airflow_gives_it(self) -> None:
        config = {"broker_url": "redis://127.0.0.1/0", "broker_transport_options": {"visibility_timeout": 1}}
        assert with_quorum_queues(config) == config
        assert with_pool(config, "etl") == config


if __name__ == "__main__":
    unittest.main()
