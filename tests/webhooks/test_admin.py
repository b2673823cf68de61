"""Deliveries and changes for the diagnostics port: pages, details, retries, and their limits."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from attrs import evolve

from gateway.flags import difference, load
from gateway.http_client import Attempt
from gateway.storage import StoreError
from gateway.webhooks import admin
from gateway.webhooks.admin import WebhookAdmin
from gateway.webhooks.formats import Author, Change, Message
from gateway.webhooks.store import history, message_table, queries
from outbox_memory import DirectStore

START = 1_700_000_000.0


def message(number: int, endpoint: str = "ops", body: bytes = b'{"n":1}') -> Message:
    """A message."""
    return Message(f"id-{number}", endpoint, "envelope", "FLAG_UPDATED", "banner", body, START + number)


def change(number: int, text: str = "x") -> Change:
    """A change of a text flag."""

    def config(value: str) -> bytes:
        return json.dumps({"p": {"s": "salt"}, "f": {"flag": {"t": 1, "v": {"s": value}, "i": "v"}}}).encode()

    old, new = load(config("old"), f'"{number}"'), load(config(text), f'"{number + 1}"')
    author = Author(first_name="Jane") if number == 1 else None
    return Change("shop", old, new, difference(old, new), author, "notes", START + number, 1)


class Scene:
    """A ``WebhookAdmin`` over a real file."""

    def __init__(self, path: Path) -> None:
        from twisted.internet import reactor  # noqa: TID251 - a real thread

        self.store = DirectStore(str(path))
        self.woken = 0
        self.now = START
        self.admin = WebhookAdmin(reactor, self.store, lambda: self.now, self._wake)
        self.admin.start()

    def _wake(self) -> None:
        self.woken += 1

    async def list(self, **options: Any) -> dict[str, Any]:
        """Return a part of the list of deliveries."""
        asked = {"endpoint": None, "state": None, "since": 0.0, "before": None, "limit": 10} | options
        found: dict[str, Any] = json.loads(await self.admin.deliveries(**asked))
        return found

    async def changes(self, **options: Any) -> dict[str, Any]:
        """Return a part of the list of changes."""
        asked = {"sdk_id": None, "since": 0.0, "before": None, "limit": 10} | options
        found: dict[str, Any] = json.loads(await self.admin.changes(**asked))
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """An empty outbox and its ``WebhookAdmin``."""
    made = Scene(tmp_path / "out box?#.sqlite3")
    yield made
    made.admin.stop()
    made.store.connection.close()


@pytest_twisted.ensureDeferred
async def test_the_deliveries_of_a_change_are_counted_per_endpoint(scene: Scene) -> None:
    """By state, and how many are about watched users; other changes do not count."""
    connection = scene.store.connection
    about = [message(1), message(2), message(3, "audit"), evolve(message(4, "audit"), type="USER_FLAGS_UPDATED")]
    message_table.add_messages(connection, about, 7, room=True)
    message_table.add_messages(connection, [message(5)], 8, room=True)
    query = "UPDATE messages SET state = 'delivered', tries = 2, finished = 5.0 WHERE id = 'id-2'"
    connection.execute(query)
    audit, ops = json.loads(await scene.admin.deliveries_of_change(7))
    counts = {"messages": 2, "pending": 1, "delivered": 1, "failed": 0, "skipped": 0, "watched_users": 0, "tries": 2}
    assert {"endpoint": "ops", **counts, "finished": 5.0} == ops
    assert ("audit", 2, 1, None) == tuple(audit[name] for name in ("endpoint", "pending", "watched_users", "finished"))
    assert [] == json.loads(await scene.admin.deliveries_of_change(9))


@pytest_twisted.ensureDeferred
async def test_a_long_list_has_several_pages(scene: Scene) -> None:
    """Each message is on one page, the newest first; new messages shift no page."""
    message_table.add_messages(scene.store.connection, [message(number) for number in range(25)], None, room=True)
    seen: list[str] = []
    before = None
    while True:
        part = await scene.list(before=before)
        seen += [each["id"] for each in part["deliveries"]]
        message_table.add_messages(scene.store.connection, [message(100 + len(seen))], None, room=True)
        before = part["next"]
        if before is None:
            break
    assert [f"id-{number}" for number in reversed(range(25))] == seen


@pytest_twisted.ensureDeferred
async def test_bodies_and_answers_are_shown_on_request_only(scene: Scene) -> None:
    """Both may name users; their length and outcome are always shown."""
    message_table.add_messages(scene.store.connection, [message(1), message(1, "chat")], None, room=True)
    (queued,), _ = message_table.due_messages(scene.store.connection, "ops", 2e9, (), 10)
    message_table.add_attempt(scene.store.connection, queued, Attempt(503, "", 0.1, b"busy"), START)
    whole = json.loads(await scene.admin.delivery("id-1", whole=True) or b"")["deliveries"]
    assert ["chat", "ops"] == [each["endpoint"] for each in whole]
    assert ('{"n":1}', 7, "busy") == (whole[1]["body"], whole[1]["body_length"], whole[1]["attempts"][0]["answer"])
    part = json.loads(await scene.admin.delivery("id-1", whole=False) or b"")["deliveries"][1]
    assert (None, 7, None) == (part["body"], part["body_length"], part["attempts"][0]["answer"])
    assert "answered 503" == part["attempts"][0]["outcome"]
    assert None is await scene.admin.delivery("id-2", whole=True)


@pytest_twisted.ensureDeferred
async def test_a_long_body_is_cut(scene: Scene) -> None:
    """The length is that of the whole body."""
    size = admin.BODY_LIMIT + 1
    message_table.add_messages(scene.store.connection, [message(1, body=b"x" * size)], None, room=True)
    (shown,) = json.loads(await scene.admin.delivery("id-1", whole=True) or b"")["deliveries"]
    assert (admin.BODY_LIMIT, size) == (len(shown["body"]), shown["body_length"])


@pytest_twisted.ensureDeferred
async def test_changes_have_definitions_before_and_after(scene: Scene) -> None:
    """With author and notes, the newest first, on several pages."""
    for number in range(3):
        history.add_change(scene.store.connection, change(number))
    found = (await scene.changes(limit=2))["changes"]
    assert [START + 2, START + 1] == [each["at"] for each in found]
    assert [None, {"email": "", "first_name": "Jane", "last_name": ""}] == [each["author"] for each in found]
    updated = found[0]["changes"]["updated"]["flag"]
    assert ("old", "x") == (updated["old_value"]["v"]["s"], updated["new_value"]["v"]["s"])
    rest = await scene.changes(limit=2, before=(await scene.changes(limit=2))["next"])
    assert ([START], None) == ([each["at"] for each in rest["changes"]], rest["next"])
    assert [] == (await scene.changes(sdk_id="other"))["changes"]
    assert 2 == len((await scene.changes(since=START + 1))["changes"])


@pytest_twisted.ensureDeferred
async def test_pages_of_changes_are_bounded_in_bytes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large change has a page of its own; the largest is shown with its size, but without definitions."""
    monkeypatch.setattr(queries, "PAGE_LIMIT", 1000)
    monkeypatch.setattr(queries, "CHANGE_LIMIT", 4000)
    for number, size in enumerate((10, 2000, 10_000)):
        history.add_change(scene.store.connection, change(number, "x" * size))
    first = await scene.changes()
    assert [(True, True), (False, True)] == [
        (each["changes"] is None, each["bytes"] > 2000) for each in first["changes"]
    ]
    second = await scene.changes(before=first["next"])
    assert [START] == [each["at"] for each in second["changes"]]


@pytest_twisted.ensureDeferred
async def test_a_retry_wakes_the_courier_and_restarts_the_schedule(scene: Scene) -> None:
    """Delivered messages and unknown endpoints are refused; earlier attempts stay listed."""
    names = ("ops", "chat", "gone")
    message_table.add_messages(scene.store.connection, [message(1, name) for name in names], None, room=True)
    for name, state in zip(names, ("failed", "delivered", "skipped"), strict=True):
        (queued,), _ = message_table.due_messages(scene.store.connection, name, 2e9, (), 10)
        message_table.add_attempt(scene.store.connection, queued, Attempt(503, "", 0.1), START)
        message_table.finish(scene.store.connection, queued.row, state, "", START)
    scene.admin.names = ["ops", "chat"]
    count, refused = await scene.admin.retry("id-1")
    assert (1, ("chat has accepted it", "the settings have no webhook 'gone'"), 1) == (count, refused, scene.woken)
    (queued,), _ = message_table.due_messages(scene.store.connection, "ops", 2e9, (), 10)
    assert (1, 1, None) == (queued.tries, queued.earlier, queued.first_try)
    assert None is await scene.admin.retry("id-2")


@pytest_twisted.ensureDeferred
async def test_a_query_that_takes_too_long_is_interrupted(scene: Scene) -> None:
    """The next query is answered."""
    scene.store.connection.execute("BEGIN")
    scene.store.connection.executemany(
        "INSERT INTO numbers (kind, sdk_id, key, target, created) VALUES ('feature', ?, '', '', 0)",
        [(str(number),) for number in range(3000)],
    )
    scene.store.connection.commit()

    def query(connection: sqlite3.Connection) -> Any:
        scene.now += admin.READ_SECONDS + 1
        return connection.execute("SELECT count(*) FROM numbers a, numbers b, numbers c").fetchone()

    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        await scene.admin._run(query)
    assert [] == (await scene.list())["deliveries"]


@pytest_twisted.ensureDeferred
async def test_too_many_queries_are_refused(scene: Scene) -> None:
    """Those within the limit are answered."""
    waiting = [scene.admin.changes(sdk_id=None, since=0.0, before=None, limit=1) for _ in range(admin.QUERIES + 1)]
    with pytest.raises(StoreError, match="too many"):
        await waiting[-1]
    for query in waiting[:-1]:
        assert b'{"changes":[],"next":null}' == await query


@pytest_twisted.ensureDeferred
async def test_a_query_cannot_write(scene: Scene) -> None:
    """The connection is read-only."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await scene.admin._run(lambda connection: connection.execute("DELETE FROM messages"))


def test_a_list_stays_fast_and_bounded_with_very_many_messages(tmp_path: Path) -> None:
    """With 30,000 messages the failed ones are found by index, and a page has at most 1,000."""
    store = DirectStore(str(tmp_path / "outbox.sqlite3"))
    row = "INSERT INTO messages (id, endpoint, sequence, format, type, subject, body, created, state, due)"
    connection = store.connection
    connection.execute("BEGIN")
    connection.executemany(
        f"{row} VALUES (?, ?, ?, 'envelope', 'FLAG_UPDATED', 'a', x'7b7d', ?, ?, 0)",
        [(f"id-{n}", f"e{n % 20}", n, n, "failed" if n == 5 else "delivered") for n in range(30_000)],
    )
    connection.commit()
    assert 1000 == len(queries.list_deliveries(store.connection, limit=10**9).found)
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    store.connection.set_progress_handler(count, 1000)
    (found,) = queries.list_deliveries(store.connection, state="failed").found
    assert ("id-5", True) == (found.id, steps[0] < 5)
    assert msgspec.json.encode(found.sequence) == b"5"
    store.connection.close()


@pytest_twisted.ensureDeferred
async def test_a_test_is_requested_of_an_endpoint_of_the_settings(scene: Scene) -> None:
    """The request is on disk, where the maintenance of the outbox takes it; another endpoint gets none."""
    scene.admin.names = ["ops"]
    assert [True, False] == [await scene.admin.test("ops"), await scene.admin.test("other")]
    taken = queries.take_requests(scene.store.connection)
    assert [("test", "ops")] == [(each.action, each.argument) for each in taken]
