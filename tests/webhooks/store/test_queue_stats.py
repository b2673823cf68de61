"""How the outbox is doing, for metrics, status and log: queues, drops, endpoints that fail, a disk that is full."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from gateway.flags import Snapshot, load
from gateway.http_client import Attempt
from gateway.settings import Delivery, Endpoint, Sdk, Settings
from gateway.storage import Database, count_drop
from gateway.webhooks import Webhooks
from gateway.webhooks.delivery.courier import Courier
from gateway.webhooks.delivery.endpoint_health import FAILING_LONG
from gateway.webhooks.delivery.endpoint_policy import EndpointRules, Voice
from gateway.webhooks.formats.message import Message
from gateway.webhooks.store import message_table as ledger
from gateway.webhooks.store import queue_stats as meter
from gateway.webhooks.store.outbox import Outbox
from outbound_memory import DirectStore, FakeSender, WebhookCounts

START = 1_700_000_000.0
FINE, BROKEN = Attempt(204, "", 0.1), Attempt(503, "", 0.1)


def message(name: str, number: int, at: float = START) -> Message:
    """A message to an endpoint."""
    return Message(f"{name}-{number}", name, "envelope", "FLAG_UPDATED", "a", b"{}", at)


@pytest.fixture
def lines() -> Iterator[list[tuple[str, str]]]:
    """Level and text of what the lanes log."""
    found: list[tuple[str, str]] = []

    def observe(event: Any) -> None:
        if event.get("log_namespace") == "gateway":
            found.append((event["log_level"].name, event["log_format"].format(**event)))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


class Scene:
    """A courier with one endpoint, ``ops``, whose answers are in the test's hand."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.store = DirectStore()
        self.told = WebhookCounts()
        self.sender = FakeSender()
        outbox = Outbox(self.store, self.clock.seconds)
        self.courier = Courier(self.clock, self.clock.seconds, outbox, self.told, lambda *_: self.sender)
        endpoint = Endpoint(name="ops", url="http://ops/", **options)
        rules = EndpointRules(endpoint, Voice(Settings(webhooks=[endpoint]), "host"), random.Random(1))
        self.courier.configure([(endpoint, rules)], Delivery())

    def deliver(self, answer: Attempt, *numbers: int) -> None:
        """Have messages tried once, with this answer."""
        self.sender.answer = lambda *_: answer
        messages = [message("ops", number, self.clock.seconds()) for number in numbers]
        ledger.add_messages(self.store.connection, messages, None, room=True)
        self.courier.wake(["ops"])
        self.clock.advance(0)


def test_each_message_is_named_when_its_endpoint_begins_to_fail_and_when_it_is_given_up(lines: list) -> None:
    """Loudly the first of an outage and each that is given up; thousands may be refused meanwhile."""
    scene = Scene(retry_for=60)
    scene.deliver(BROKEN, 1, 2)
    for _ in range(200):
        scene.clock.advance(1)
    scene.deliver(FINE, 3)
    scene.deliver(FINE, 4)
    given_up = [(level, text.split(" after ")[0]) for level, text in lines if "given up" in text]
    assert [("warn", f"endpoint ops: message ops-{number} given up") for number in (1, 2)] == sorted(given_up)
    waits = [(level, text) for level, text in lines if "waits" in text]
    assert waits[0][0] == "warn"
    assert "endpoint ops: message ops-1 waits for " in waits[0][1]
    assert waits[0][1].endswith(" s after attempt 1: answered 503")
    assert {level for level, _ in waits[1:]} == {"debug"}
    assert [("info", "endpoint ops takes messages again")] == [line for line in lines if "again" in line[1]]
    assert ("debug", "endpoint ops: message ops-4 delivered") in lines


def test_attempts_are_counted_by_outcome_and_messages_that_fail() -> None:
    """Delivered, refused, timed out, broken."""
    scene = Scene(retry_for=0)
    for number, answer in enumerate((FINE, BROKEN, Attempt(None, "timed out", 1.0), Attempt(200, "cut", 1.0))):
        scene.deliver(answer, number)
    outcomes = ("delivered", "refused", "timeout", "broken")
    assert {("ops", each): 1 for each in outcomes} == dict(scene.told.attempts)
    assert {"ops": 3} == dict(scene.told.failed)


def test_a_reading_tells_queue_age_and_drops() -> None:
    """Per endpoint of the settings; an endpoint for which nothing waits has a queue of none."""
    store = DirectStore()
    messages = [message("ops", 1), message("ops", 2, START + 50), message("chat", 1, START + 70)]
    ledger.add_messages(store.connection, messages, None, room=True)
    ledger.add_messages(store.connection, [message("ops", 9)], None, room=False)
    for reason, count in (("purged", 3), ("purged: older than outbox.keep", 4), ("something else", 5)):
        count_drop(store.connection, "ops", reason, count)
    told = WebhookCounts()
    meter.read(store.connection).tell(told, ["ops", "idle"], START + 100)
    assert {"ops": (2, 100.0), "idle": (0, 0.0)} == told.queues
    assert {("ops", "refused"): 1, ("ops", "purged"): 7} == told.drops


def test_a_restart_remembers_since_when_an_endpoint_fails() -> None:
    """From the first failure after its last success; one that took something after its failure is well."""
    scene = Scene()
    scene.deliver(FINE, 1)
    scene.clock.advance(10)
    scene.deliver(BROKEN, 2)
    scene.clock.advance(1)
    scene.deliver(BROKEN, 3)
    assert {"ops": START + 10} == meter.failing(scene.store.connection)
    after = Scene()
    after.courier.remember({"ops": START + 10, "gone": START})
    assert {"ops": START + 10} == after.courier.failing()
    scene.deliver(FINE, 4)
    assert {} == meter.failing(scene.store.connection)


def test_what_an_endpoint_has_taken_does_not_hold_up_the_question_who_fails() -> None:
    """The work is the same after ten deliveries and after two thousand: a reload asks in the thread that writes."""

    def steps(taken: int) -> int:
        scene = Scene()
        connection = scene.store.connection
        ledger.add_messages(connection, [message("ops", number) for number in range(10, 10 + taken)], None, room=True)
        connection.execute("UPDATE messages SET state = 'delivered', finished = created - 1")
        scene.deliver(BROKEN, 1)
        counted: list[None] = []
        connection.set_progress_handler(lambda: counted.append(None), 10)
        assert {"ops": START} == meter.failing(connection)
        return len(counted)

    assert steps(2000) <= steps(10) + 10


def test_a_database_in_trouble_is_one_line_and_over_by_itself(lines: list) -> None:
    """However long it takes; the attempt is written down in the end, once."""
    scene = Scene()
    ok = scene.store.run

    def locked(work: Any) -> Any:
        def fail(_: Any) -> Any:
            raise sqlite3.OperationalError("database is locked")

        return ok(fail)

    flying = FakeSender(lambda *_: None)
    scene.sender.answer = flying.answer
    ledger.add_messages(scene.store.connection, [message("ops", 1)], None, room=True)
    scene.courier.wake(["ops"])
    scene.store.run = locked
    scene.sender.flying[0].callback(FINE)
    for _ in range(10):
        scene.clock.advance(1)
    assert "database is locked" == scene.courier.trouble
    scene.store.run = ok
    scene.clock.advance(1)
    assert "" == scene.courier.trouble
    told = [text for level, text in lines if level == "warn"]
    assert [
        "endpoint ops: the outbox cannot be used: database is locked",
        "endpoint ops: the outbox can be used again",
    ] == told
    assert {"delivered": 1} == scene.store.states()


def config(number: int) -> Snapshot:
    """A config whose one flag has this value."""
    body = {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}
    return load(json.dumps(body).encode(), f'"{number}"')


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_fails_for_ten_minutes_is_a_problem(tmp_path: Path, logged_errors: Any) -> None:
    """Not before; one whose authorities cannot be read is one at once, and a success ends it."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread and a real file

    ahead = [0.0]
    sender = FakeSender(lambda *_: BROKEN)
    settings = Settings(
        sdks={"one": Sdk(key="k")},
        webhooks=[Endpoint(name="ops", url="http://ops/", format="notifier")],
    )
    database = Database(reactor, tmp_path / "outbox.sqlite3")
    webhooks = Webhooks(
        reactor,
        settings,
        wall=lambda: reactor.seconds() + ahead[0],
        rng=random.Random(1),
        hostname="host",
        metrics=WebhookCounts(),
        sender=lambda *_: sender,
    )
    database.open()
    await webhooks.configure(settings, database)
    for number in range(2):
        await webhooks.record("one", config(number))
    for _ in range(100):
        if sender.sent:
            break
        await deferLater(reactor, 0.05)
    assert [] == webhooks.problems()
    ahead[0] = FAILING_LONG + 10
    (problem,) = webhooks.problems()
    assert problem.startswith("endpoint ops has taken nothing since 20")
    assert (problem,) == tuple(webhooks.problems())
    sender.answer = lambda *_: FINE
    await webhooks.record("one", config(2))
    for _ in range(100):
        if not webhooks.problems():
            break
        await deferLater(reactor, 0.05)
    assert [] == webhooks.problems()
    await webhooks.stop()
    await database.close()
