# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How many questions a worker has open at SQS. tests/unit/services/test_broker_sqs_workers.py has real workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pycurl", reason="pycurl, without which kombu does not consume from SQS, is not installed here")
pytest.importorskip("boto3", reason="boto3 is not installed here")

from kombu import Connection
from kombu.asynchronous import Hub, get_event_loop, set_event_loop
from kombu.transport import SQS

from airflow_backbone import celery_sqs


class Questions:
    """Stands for the connection to SQS. waits: seconds that each open question may wait, by queue."""

    def __init__(self) -> None:
        self.waits: dict[str, int] = {}
        self.answers: dict[str, Any] = {}

    def receive_message(
        self, queue: str, _url: str, number_messages: int, wait_time_seconds: int, callback: Any
    ) -> None:
        assert queue not in self.waits
        assert number_messages == 1
        self.waits[queue] = wait_time_seconds
        self.answers[queue] = callback

    def answer(self, queue: str, answer: Any) -> None:
        del self.waits[queue]
        self.answers.pop(queue)(answer)


class Worker:
    """A channel that consumes from queues, with as many processes as it may hold messages."""

    def __init__(self, transport: type, processes: int, queues: tuple[str, ...], questions: Questions) -> None:
        options = {
            "region": "eu-west-1",
            "wait_time_seconds": 20,
            "predefined_queues": {queue: {"url": f"http://127.0.0.1:9/1/{queue}"} for queue in queues},
        }
        connection = Connection("sqs://a:b@127.0.0.1:9", transport=transport, transport_options=options)
        self.channel: Any = connection.default_channel
        self.channel.asynsqs = lambda queue: questions
        self.channel.basic_qos(0, processes, False)
        for queue in queues:
            self.channel.basic_consume(queue, False, lambda _message: None, queue)
        self.turn()

    def turn(self) -> None:
        for item in self.channel.hub._pop_ready():
            item()


@pytest.fixture
def questions() -> Iterator[Questions]:
    before = get_event_loop()
    set_event_loop(Hub())
    yield Questions()
    set_event_loop(before)


QUEUES = ("etl", "etl_highmem", "ml")


def test_kombu_asks_every_queue_for_the_same_process(questions: Questions) -> None:
    Worker(SQS.Transport, 1, QUEUES, questions)
    assert set(questions.waits) == set(QUEUES)


@pytest.mark.parametrize(("processes", "asked"), [(1, 1), (2, 2), (3, 3), (16, 3)])
def test_no_more_questions_are_open_than_processes_are_free(questions: Questions, processes: int, asked: int) -> None:
    Worker(celery_sqs.Transport, processes, QUEUES, questions)
    assert len(questions.waits) == asked


def test_each_queue_has_its_turn(questions: Questions) -> None:
    worker = Worker(celery_sqs.Transport, 1, QUEUES, questions)
    asked = []
    for _turn in range(6):
        [queue] = questions.waits
        asked.append(queue)
        questions.answer(queue, {})
        worker.turn()
        worker.turn()
    assert set(asked[:3]) == set(asked[3:]) == set(QUEUES)


def test_a_question_is_brief_where_another_queue_waits_for_its_process(questions: Questions) -> None:
    Worker(celery_sqs.Transport, 1, QUEUES, questions)
    assert list(questions.waits.values()) == [celery_sqs.BRIEF_SECONDS]


def test_a_question_is_a_long_one_where_processes_abound(questions: Questions) -> None:
    Worker(celery_sqs.Transport, 16, QUEUES, questions)
    assert set(questions.waits.values()) == {20}


def test_a_queue_that_refuses_is_left_alone_for_a_while(questions: Questions) -> None:
    worker = Worker(celery_sqs.Transport, 16, QUEUES, questions)
    questions.answer("ml", [])
    worker.turn()
    assert set(questions.waits) == {"etl", "etl_highmem"}
    assert len(worker.channel.hub.timer) == 1


def test_what_comes_to_a_queue_that_is_no_longer_consumed_is_given_back(questions: Questions) -> None:
    worker = Worker(celery_sqs.Transport, 16, QUEUES, questions)
    given_back = []

    class Client:
        def change_message_visibility(self, **asked: Any) -> None:
            given_back.append(asked)

    worker.channel.sqs = lambda queue: Client()
    worker.channel.basic_cancel("ml")
    questions.answer("ml", {"Messages": [{"ReceiptHandle": "r"}]})
    assert given_back == [{"QueueUrl": "http://127.0.0.1:9/1/ml", "ReceiptHandle": "r", "VisibilityTimeout": 0}]
    worker.turn()
    assert "ml" not in questions.waits
