"""The outbox as the diagnostics port shows it: lists in parts, one delivery, changes, another try; bounded."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted

from gateway.flags import difference, load
from gateway.http_client import Attempt
from gateway.webhooks import admin as desks
from gateway.webhooks.admin import Desk
from gateway.webhooks.formats.change import Author, Change
from gateway.webhooks.formats.message import Message
from gateway.webhooks.store import history, queries
from gateway.webhooks.store import message_table as ledger
from outbound_memory import DirectStore

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
    """A desk over a real file."""

    def __init__(self, path: Path) -> None:
        from twisted.internet import reactor  # noqa: TID251 - a real thread

        self.store = DirectStore(str(path))
        self.woken = 0
        self.now = START
        self.desk = Desk(reactor, path, self.store, lambda: self.now, self._wake)
        self.desk.start()

    def _wake(self) -> None:
        self.woken += 1

    async def list(self, **options: Any) -> dict[str, Any]:
        """Return a part of the list of deliveries."""
        asked = {"endpoint": None, "state": None, "since": 0.0, "before": None, "limit": 10} | options
        found: dict[str, Any] = json.loads(await self.desk.deliveries(**asked))
        return found

    async def changes(self, **options: Any) -> dict[str, Any]:
        """Return a part of the list of changes."""
        asked = {"sdk_id": None, "since": 0.0, "before": None, "limit": 10} | options
        found: dict[str, Any] = json.loads(await self.desk.changes(**asked))
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """An empty outbox and its desk."""
    made = Scene(tmp_path / "out box?#.sqlite3")
    yield made
    made.desk.stop()
    made.store.connection.close()


@pytest_twisted.ensureDeferred
async def test_a_long_list_comes_in_parts(scene: Scene) -> None:
    """Each message once, the newest first; what comes meanwhile moves nothing."""
    ledger.add_messages(scene.store.connection, [message(number) for number in range(25)], None, room=True)
    seen: list[str] = []
    before = None
    while True:
        part = await scene.list(before=before)
        seen += [each["id"] for each in part["deliveries"]]
        ledger.add_messages(scene.store.connection, [message(100 + len(seen))], None, room=True)
        before = part["next"]
        if before is None:
            break
    assert [f"id-{number}" for number in reversed(range(25))] == seen


@pytest_twisted.ensureDeferred
async def test_what_messages_say_is_shown_to_whom_it_may_concern(scene: Scene) -> None:
    """The body and the answers name users; others learn their length and outcome."""
    ledger.add_messages(scene.store.connection, [message(1), message(1, "chat")], None, room=True)
    (letter,), _ = ledger.due_letters(scene.store.connection, "ops", 2e9, (), 10)
    ledger.add_attempt(scene.store.connection, letter, Attempt(503, "", 0.1, b"busy"), START)
    whole = json.loads(await scene.desk.delivery("id-1", whole=True) or b"")["deliveries"]
    assert ["chat", "ops"] == [each["endpoint"] for each in whole]
    assert ('{"n":1}', 7, "busy") == (whole[1]["body"], whole[1]["body_length"], whole[1]["attempts"][0]["answer"])
    part = json.loads(await scene.desk.delivery("id-1", whole=False) or b"")["deliveries"][1]
    assert (None, 7, None) == (part["body"], part["body_length"], part["attempts"][0]["answer"])
    assert "answered 503" == part["attempts"][0]["outcome"]
    assert None is await scene.desk.delivery("id-2", whole=True)


@pytest_twisted.ensureDeferred
async def test_a_long_body_is_cut(scene: Scene) -> None:
    """Its length tells so."""
    size = desks.BODY_LIMIT + 1
    ledger.add_messages(scene.store.connection, [message(1, body=b"x" * size)], None, room=True)
    (shown,) = json.loads(await scene.desk.delivery("id-1", whole=True) or b"")["deliveries"]
    assert (desks.BODY_LIMIT, size) == (len(shown["body"]), shown["body_length"])


@pytest_twisted.ensureDeferred
async def test_changes_have_definitions_before_and_after(scene: Scene) -> None:
    """With author and notes, the newest first, in parts."""
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
async def test_large_changes_come_one_by_one_and_the_largest_without_definitions(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is of any size; the change itself, and its size, are always told."""
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
async def test_another_try_wakes_the_courier_and_begins_the_schedule_anew(scene: Scene) -> None:
    """What was delivered, and what is for nobody, is not sent; the attempts of before stay listed."""
    names = ("ops", "chat", "gone")
    ledger.add_messages(scene.store.connection, [message(1, name) for name in names], None, room=True)
    for name, state in zip(names, ("failed", "delivered", "skipped"), strict=True):
        (letter,), _ = ledger.due_letters(scene.store.connection, name, 2e9, (), 10)
        ledger.add_attempt(scene.store.connection, letter, Attempt(503, "", 0.1), START)
        ledger.finish(scene.store.connection, letter.row, state, "", START)
    scene.desk.names = ["ops", "chat"]
    count, refused = await scene.desk.retry("id-1")
    assert (1, ("chat has taken it", "the settings have no web hook 'gone'"), 1) == (count, refused, scene.woken)
    (letter,), _ = ledger.due_letters(scene.store.connection, "ops", 2e9, (), 10)
    assert (1, 1, None) == (letter.tries, letter.earlier, letter.first_try)
    assert None is await scene.desk.retry("id-2")


@pytest_twisted.ensureDeferred
async def test_a_look_that_takes_too_long_is_cut(scene: Scene) -> None:
    """The thread is free for the next."""
    scene.store.connection.execute("BEGIN")
    scene.store.connection.executemany(
        "INSERT INTO numbers (kind, sdk_id, key, target, created) VALUES ('feature', ?, '', '', 0)",
        [(str(number),) for number in range(3000)],
    )
    scene.store.connection.commit()

    def look(connection: sqlite3.Connection) -> Any:
        scene.now += desks.READ_SECONDS + 1
        return connection.execute("SELECT count(*) FROM numbers a, numbers b, numbers c").fetchone()

    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        await scene.desk._look(look)
    assert [] == (await scene.list())["deliveries"]


@pytest_twisted.ensureDeferred
async def test_too_many_looks_are_refused(scene: Scene) -> None:
    """A bounded number waits; those are answered."""
    looks = [scene.desk.changes(sdk_id=None, since=0.0, before=None, limit=1) for _ in range(desks.LOOKS + 1)]
    with pytest.raises(sqlite3.OperationalError, match="too many"):
        await looks[-1]
    for look in looks[:-1]:
        assert b'{"changes":[],"next":null}' == await look


@pytest_twisted.ensureDeferred
async def test_a_desk_only_reads(scene: Scene) -> None:
    """Whatever a query comes to, it changes nothing."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await scene.desk._look(lambda connection: connection.execute("DELETE FROM messages"))


def test_a_list_stays_fast_and_bounded_with_very_many_messages(tmp_path: Path) -> None:
    """30,000 of them: what waits and what failed is found by index, and an answer has at most 1,000."""
    store = DirectStore(str(tmp_path / "outbox.sqlite3"))
    row = "INSERT INTO messages (id, endpoint, sequence, format, type, subject, body, created, state, due)"
    connection = store.connection
    connection.execute("BEGIN")
    connection.executemany(
        f"{row} VALUES (?, ?, ?, 'envelope', 'FLAG_UPDATED', 'a', x'7b7d', ?, ?, 0)",
        [(f"id-{n}", f"e{n % 20}", n, n, "failed" if n == 5 else "delivered") for n in range(30_000)],
    )
    connection.commit()
    assert 1000 == len(queries.deliveries(store.connection, limit=10**9).found)
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    store.connection.set_progress_handler(count, 1000)
    (found,) = queries.deliveries(store.connection, state="failed").found
    assert ("id-5", True) == (found.id, steps[0] < 5)
    assert msgspec.json.encode(found.sequence) == b"5"
    store.connection.close()
