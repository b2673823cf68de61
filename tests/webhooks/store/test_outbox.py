"""What is recorded: changes, ids, rounds, last configs; and what happens when the disk is full or locked."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gateway.flags import Snapshot, load
from gateway.settings import Endpoint, Sdk, Settings
from gateway.storage import count_drop
from gateway.storage.database import transact
from gateway.storage.migrations import APPLICATION_ID, SCHEMA_VERSION, IncompatibleDatabase, migrate
from gateway.webhooks.delivery.endpoint_policy import Voice
from gateway.webhooks.formats.change import Author
from gateway.webhooks.recorder import RETRY_SECONDS, Recorder
from gateway.webhooks.store import history
from gateway.webhooks.store import message_table as ledger
from outbound_memory import DirectStore

GIB = 2**30


def config(*on: str, off: tuple[str, ...] = (), etag: str = "") -> Snapshot:
    """A config of boolean flags."""
    flags = {key: {"t": 0, "v": {"b": key in on}, "i": f"v-{key}"} for key in (*on, *off)}
    body = json.dumps({"p": {"s": "salt", "u": "", "r": 0}, "f": flags}).encode()
    return load(body, etag or f'"{"".join(on)}-{"".join(off)}"')


ON, OFF = config("a"), config(off=("a",))


class Scene:
    """A recorder over a store in memory, with one endpoint per given format."""

    def __init__(self, *formats: str, store: DirectStore | None = None, max_bytes: int = GIB) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = store or DirectStore()
        webhooks = [Endpoint(name=each, url="http://127.0.0.1/", format=each) for each in formats or ("envelope",)]
        self.settings = Settings(sdks={"one": Sdk(key="k")}, webhooks=webhooks)
        self.voice = Voice(self.settings, "host")
        self.news: list[str] = []
        self.max_bytes = max_bytes
        self.recorder = Recorder(
            self.clock, self.clock.seconds, self.store, self.voice, lambda: self.max_bytes, self.news.extend
        )

    def record(self, *snapshots: Snapshot, author: Author | None = None) -> list[bool]:
        """Record one after the other; whether each fired."""
        return [self.recorder.record("one", each, author, "").called for each in snapshots]

    def messages(self, columns: str = "type, subject") -> list[tuple]:
        """What was written, in order."""
        return self.store.rows(f"SELECT {columns} FROM messages ORDER BY row")


def test_the_first_config_ever_is_no_change() -> None:
    """An SDK that the outbox meets for the first time is learned, and nobody is told."""
    scene = Scene()
    assert scene.record(ON) == [True]
    assert scene.messages() == []
    assert scene.store.rows("SELECT sdk_id, etag FROM configs") == [("one", ON.etag)]


def test_a_change_is_on_disk_when_record_fires() -> None:
    """Whoever waits for it may publish."""
    scene = Scene()
    scene.record(OFF)
    done = scene.recorder.record("one", ON, None, "")
    assert done.called
    assert ("FLAG_UPDATED", "a") in scene.messages()
    assert scene.news == ["envelope"]


def test_on_off_on_off_are_four_changes_with_four_ids_at_every_endpoint() -> None:
    """The very same transition counts its rounds."""
    formats = ("envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord")
    scene = Scene(*formats)
    scene.record(OFF, ON, OFF, ON, OFF)
    for style in formats:
        query = "SELECT count(DISTINCT id), count(DISTINCT change_id) FROM messages WHERE endpoint = ? AND type <> ?"
        skip = "CONFIG_UPDATED" if style == "envelope" else ""
        assert scene.store.rows(query, style, skip) == [(4, 4)]


def test_two_outboxes_with_equal_history_have_equal_ids() -> None:
    """Ids name the transition, not the node."""
    here, there = Scene("envelope", "environment"), Scene("envelope", "environment")
    there.clock.advance(1000)
    for scene in (here, there):
        scene.record(OFF, ON, OFF, ON)
    assert here.messages("endpoint, id") == there.messages("endpoint, id")


def test_a_config_that_is_the_same_is_not_told_again() -> None:
    """A fetch of equal bytes changes nothing."""
    scene = Scene()
    scene.record(OFF, ON, ON, load(ON.body, '"other"'))
    assert scene.store.rows("SELECT count(*) FROM changes") == [(1,)]
    assert scene.store.rows("SELECT etag FROM configs") == [('"other"',)]


def test_a_restart_tells_what_changed_while_it_was_down() -> None:
    """The last recorded config is what the first load after a start is compared with."""
    before = Scene()
    before.record(OFF)
    after = Scene(store=before.store)
    after.record(ON)
    assert ("FLAG_UPDATED", "a") in after.messages()


def test_sequences_count_per_endpoint() -> None:
    """Each endpoint sees 1, 2, 3 … without a hole."""
    scene = Scene("environment", "audit_log")
    scene.record(OFF, ON, config("a", "b"))
    rows = scene.messages("endpoint, sequence")
    assert [1, 2] == [number for name, number in rows if name == "environment"]
    assert [1, 2] == [number for name, number in rows if name == "audit_log"]


def test_numbers_stay_and_remember_the_first_default() -> None:
    """A flag that is deleted and comes back has the number and the first value it had."""
    scene = Scene("environment")
    scene.record(config("a", off=("b",)), config("b"), config("a", "b"))
    with scene.store.connection as connection:
        numbers = scene.voice.numbers(connection, 5.0)
        first, second = numbers.feature("one", "a"), numbers.feature("one", "b")
    assert (first.initial_value, second.initial_value) == (True, False)
    assert first.created == second.created == scene.clock.seconds()
    assert first.id != second.id
    rows = scene.store.rows("SELECT body FROM messages WHERE type = 'FLAG_DELETED'")
    assert json.loads(rows[0][0])["data"]["previous_state"]["feature"]["id"] == first.id


def test_identifiers_beyond_the_bound_of_a_rule_are_counted_in_log_and_list() -> None:
    """So that nobody takes a hundred calls for all of them."""
    lines: list[str] = []

    def observe(event: dict) -> None:
        if event.get("log_namespace") == "gateway":
            lines.append(event["log_format"].format(**event))

    def listed(count: int) -> Snapshot:
        rule = {"c": [{"u": {"a": "Identifier", "c": 0, "l": [str(n) for n in range(count)]}}], "s": {"v": {"b": True}}}
        body = {"p": {"s": "x"}, "f": {"a": {"t": 0, "v": {"b": False}, "i": "o", "r": [rule] if count else []}}}
        return load(json.dumps(body).encode(), f'"{count}"')

    scene = Scene("environment")
    globalLogPublisher.addObserver(observe)
    try:
        scene.record(listed(0), listed(107))
    finally:
        globalLogPublisher.removeObserver(observe)
    assert lines == ["endpoint environment: 7 identifiers of long rules are not told"]
    skipped = scene.store.rows("SELECT endpoint, reason FROM messages WHERE state = 'skipped'")
    assert skipped == [("environment", "identifiers beyond the first 100 of a rule (7 messages)")]
    assert scene.store.states()["pending"] == 101


def test_the_author_is_kept_with_the_change() -> None:
    """``GET /changes`` can say by whom."""
    scene = Scene()
    scene.record(OFF)
    scene.record(ON, author=Author(email="jane@example.org"))
    assert json.loads(scene.store.rows("SELECT author FROM changes")[0][0])["email"] == "jane@example.org"


def test_a_full_disk_does_not_hold_a_change_and_is_made_good_as_one_change(logged_errors) -> None:
    """Flags go on after 250 ms; afterwards the difference from the last recorded config is told."""
    scene = Scene()
    scene.record(OFF)
    full(scene.store)
    big = config("a", off=tuple(f"flag-{number}" for number in range(2000)))
    waiting = [scene.recorder.record("one", each, None, "") for each in (big, config("a", "b", "c"))]
    assert [False, False] == [each.called for each in waiting]
    scene.clock.advance(0.25)
    assert [True, True] == [each.called for each in waiting]
    assert "full" in scene.recorder.trouble
    assert len(logged_errors.flush()) == 1
    assert scene.messages() == []
    scene.store.connection.execute("PRAGMA max_page_count = 1000000")
    scene.clock.advance(RETRY_SECONDS)
    assert scene.recorder.trouble == ""
    assert [("FLAG_CREATED", "b"), ("FLAG_CREATED", "c"), ("FLAG_UPDATED", "a")] == sorted(
        row for row in scene.messages() if row[0].startswith("FLAG")
    )
    assert scene.store.rows("SELECT count(*) FROM changes") == [(1,)]


def test_a_locked_database_is_waited_for(tmp_path: Path, logged_errors) -> None:
    """Somebody else's transaction delays the recording, not the flags."""
    path = str(tmp_path / "outbox.sqlite3")
    scene = Scene(store=DirectStore(path))
    scene.record(OFF)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = scene.recorder.record("one", ON, None, "")
    scene.clock.advance(0.25)
    assert done.called
    assert "locked" in scene.recorder.trouble
    assert len(logged_errors.flush()) == 1
    other.execute("ROLLBACK")
    other.close()
    scene.clock.advance(RETRY_SECONDS)
    assert scene.recorder.trouble == ""
    assert ("FLAG_UPDATED", "a") in scene.messages()


def test_a_lock_is_waited_for_once_however_much_work_there_is(tmp_path: Path) -> None:
    """All of it fails together: it is nobody's fault."""
    store, other = DirectStore(str(tmp_path / "outbox")), sqlite3.connect(tmp_path / "outbox", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun: list[str] = []
    store.connection.set_trace_callback(begun.append)
    results = transact(store.connection, [lambda connection: connection.execute("SELECT 1")] * 50)
    other.close()
    assert ["database is locked"] * 50 == [failure.getErrorMessage() for failure in results]
    assert 1 == len(begun)


def test_one_work_that_fails_spoils_no_other(tmp_path: Path) -> None:
    """The rest is written, and only its caller hears of it."""
    store = DirectStore()

    def add(reason: str):
        return lambda c: count_drop(c, "ops", reason, 1)

    done, failed, also = transact(store.connection, [add("one"), lambda _: 1 / 0, add("two")])
    assert (done, also) == (None, None)
    assert failed.check(ZeroDivisionError)
    assert store.rows("SELECT reason FROM drops ORDER BY reason") == [("one",), ("two",)]


def test_one_change_after_trouble_keeps_its_author(logged_errors) -> None:
    """Only where several changes become one is nobody named."""
    scene = Scene()
    scene.record(OFF)
    full(scene.store)
    jane = Author(email="jane@example.org")
    big = config("a", off=tuple(f"flag-{number}" for number in range(2000)))
    scene.recorder.record("one", big, jane, "")
    assert scene.recorder.trouble
    assert len(logged_errors.flush()) == 1
    scene.store.connection.execute("PRAGMA max_page_count = 1000000")
    scene.clock.advance(RETRY_SECONDS)
    assert json.loads(scene.store.rows("SELECT author FROM changes")[0][0])["email"] == "jane@example.org"


def full(store: DirectStore) -> None:
    """Let the database grow no more."""
    store.connection.execute("PRAGMA max_page_count = 1")  # SQLite makes it the present size


def test_words_that_cannot_be_found_do_not_stop_the_recording(logged_errors) -> None:
    """A fault in a format is logged and counted, and the next change is told."""
    scene = Scene()
    scene.record(OFF)
    tell, scene.voice.__class__.tell = scene.voice.__class__.tell, _raise
    try:
        assert scene.record(ON) == [True]
    finally:
        scene.voice.__class__.tell = tell
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert scene.store.rows("SELECT reason, count FROM drops") == [("a change could not be put into words", 1)]
    scene.record(OFF)
    assert ("FLAG_UPDATED", "a") in scene.messages()


class HeldStore(DirectStore):
    """A store whose work waits until it is let go, so that changes gather meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple] = []

    def run(self, work):
        done: Deferred[object] = Deferred()
        self.held.append((work, done))
        return done

    def let_go(self) -> None:
        """Do all work, in order, that which follows from it included."""
        while self.held:
            work, done = self.held.pop(0)
            done.callback(transact(self.connection, [work])[0])


def test_of_changes_that_are_written_together_only_the_one_without_words_is_not_told(logged_errors) -> None:
    """The others keep their order, their messages and their ids; all of them are recorded."""
    store = HeldStore()
    scene = Scene(store=store)
    tell = scene.voice.__class__.tell

    def choosy(voice, change, ids):
        return _raise() if "b" in change.new.flags else tell(voice, change, ids)

    scene.voice.__class__.tell = choosy
    try:
        scene.record(OFF, ON, config("a", "b"), config("a", "c"), config("a", "c", "d"))
        store.let_go()
    finally:
        scene.voice.__class__.tell = tell
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    told = [(kind, about) for kind, about in scene.messages() if kind.startswith("FLAG_")]
    assert [("FLAG_UPDATED", "a"), ("FLAG_CREATED", "c"), ("FLAG_DELETED", "b"), ("FLAG_CREATED", "d")] == told
    assert [(4,)] == store.rows("SELECT count(*) FROM changes")
    assert [("a change could not be put into words", 1)] == store.rows("SELECT reason, count FROM drops")
    assert not scene.recorder.trouble


def _raise(*_: object) -> None:
    raise ZeroDivisionError


def test_a_full_outbox_says_so_once_and_when_it_has_room_again(logged_errors) -> None:
    """A reload that gives it more room is enough."""
    scene = Scene("notifier")
    scene.record(OFF)
    scene.max_bytes = 1024
    scene.record(ON, OFF)
    assert scene.recorder.full
    (event,) = logged_errors.flush()
    assert "the outbox is full" in event["log_format"]
    scene.max_bytes = GIB
    scene.record(ON)
    assert not scene.recorder.full
    assert scene.store.states() == {"pending": 1}


def test_a_full_outbox_gives_up_the_oldest_finished_first_then_refuses(logged_errors) -> None:
    """At ``max_bytes`` finished messages go; when none is left new ones are refused, and both are counted."""
    scene = Scene("notifier")
    scene.record(OFF, ON)
    scene.store.connection.execute("UPDATE messages SET state = 'delivered', finished = 1")
    small = Scene("notifier", store=scene.store, max_bytes=1024)
    small.record(OFF)
    assert len(logged_errors.flush()) == 1
    drops = dict(small.store.rows("SELECT reason, count FROM drops"))
    assert drops == {"purged: the outbox is full": 1, "refused: the outbox is full": 1}
    assert small.store.rows("SELECT count(*) FROM changes WHERE new_etag = ?", OFF.etag) == [(1,)]


def test_purge_deletes_finished_messages_only() -> None:
    """What still waits is never purged, however old."""
    scene = Scene("notifier")
    scene.record(OFF, ON, OFF)
    scene.store.connection.execute("UPDATE messages SET state = 'delivered', finished = 10 WHERE sequence = 1")
    with scene.store.connection as connection:
        assert ledger.purge(connection, before=1e12) == 1
    assert scene.store.states() == {"pending": 1}


def test_endpoints_that_left_the_settings_are_skipped_with_the_reason() -> None:
    """Their messages are kept, and say why they were not sent."""
    scene = Scene("notifier", "slack")
    scene.record(OFF, ON)
    with scene.store.connection as connection:
        assert ledger.skip_orphans(connection, {"slack"}, 7.0) == 1
    rows = scene.messages("endpoint, state, reason")
    assert ("notifier", "skipped", "the endpoint was removed from the settings") in rows
    assert ("slack", "pending", "") in rows


def test_sdks_that_come_and_go_are_told_once_an_outbox_knows_one() -> None:
    """An empty outbox's first start tells nothing."""
    connection = DirectStore().connection
    assert history.sdk_acts(connection, ["one"]) == []
    assert history.sdk_acts(connection, ["one"]) == []
    assert history.sdk_acts(connection, ["one", "two"]) == [("two", "added", 1)]
    assert history.sdk_acts(connection, ["one"]) == [("two", "removed", 2)]
    assert history.sdk_acts(connection, ["one", "two"]) == [("two", "added", 3)]


def test_somebody_elses_database_is_left_alone() -> None:
    """A wrong ``outbox.path`` must not write our tables into another program's file."""
    theirs = sqlite3.connect(":memory:")
    theirs.execute("CREATE TABLE precious (x)")
    with pytest.raises(IncompatibleDatabase, match="another program"):
        migrate(theirs)
    assert theirs.execute("SELECT name FROM sqlite_schema").fetchall() == [("precious",)]


def test_a_newer_outbox_is_left_alone() -> None:
    """An older gateway does not touch what a newer one wrote."""
    connection = DirectStore().connection
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(IncompatibleDatabase, match="newer gateway"):
        migrate(connection)


def test_a_second_start_changes_nothing() -> None:
    """Migration is done once."""
    store = DirectStore()
    schema = store.rows("SELECT * FROM sqlite_schema")
    migrate(store.connection)
    assert store.rows("SELECT * FROM sqlite_schema") == schema


SPOOL_OF_VERSION_1 = """
DROP TABLE spool;
CREATE TABLE spool (id INTEGER PRIMARY KEY AUTOINCREMENT, lines BLOB NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TRIGGER spool_grows AFTER INSERT ON spool BEGIN
    UPDATE spooled SET bytes = bytes + length(new.lines), count = count + new.count;
END;
CREATE TRIGGER spool_shrinks AFTER DELETE ON spool BEGIN
    UPDATE spooled SET bytes = bytes - length(old.lines), count = count - old.count;
END;
"""


def outbox_of_version_1() -> sqlite3.Connection:
    """An empty outbox as the first gateways made it."""
    schema = resources.files("gateway.storage").joinpath("schema", "outbox-v2.sql").read_text("utf-8")
    old = sqlite3.connect(":memory:", isolation_level=None)
    old.executescript("\n".join(line for line in schema.splitlines() if not line.lstrip().startswith("asked ")))
    old.executescript(SPOOL_OF_VERSION_1)
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    return old


def test_an_outbox_of_version_1_is_upgraded_with_all_that_waits() -> None:
    """It ends with the columns of a new one; what was asked for before, and not kept, is taken as what was planned."""
    new, old = DirectStore(), outbox_of_version_1()
    fields = "id, endpoint, sequence, format, type, subject, body, created, state, due, tries"
    for each, tries in (("fresh", 0), ("waits", 3)):
        row = (each, "ops", 1, "envelope", "FLAG_UPDATED", "a", b"{}", 1.0, "pending", 7.0, tries)
        old.execute(f"INSERT INTO messages ({fields}) VALUES ({','.join('?' * len(row))})", row)
    migrate(old)
    for table in ("messages", "spool"):
        columns = f"SELECT name, type, \"notnull\" FROM pragma_table_info('{table}') ORDER BY name"
        assert new.rows(columns) == old.execute(columns).fetchall()
    assert [("fresh", 0.0), ("waits", 7.0)] == old.execute("SELECT id, asked FROM messages ORDER BY id").fetchall()
    assert (SCHEMA_VERSION,) == old.execute("PRAGMA user_version").fetchone()


def test_evaluations_of_an_outbox_of_version_1_are_upgraded_too() -> None:
    """Rows stay with their batches, and the totals go on to count."""
    old = outbox_of_version_1()
    for lines, count in ((b'{"userKey":"\xc3\xa4"}\n{}', 2), (b"{}", 1)):
        old.execute("INSERT INTO spool (lines, count) VALUES (?, ?)", (lines, count))
    totals = old.execute("SELECT * FROM spooled").fetchall()
    migrate(old)
    expected = [(1, 2, 19, b'{"userKey":"\xc3\xa4"},{}'), (2, 1, 2, b"{}")]
    assert expected == old.execute("SELECT id, count, bytes, events FROM spool ORDER BY id").fetchall()
    assert [(21, 3)] == totals == old.execute("SELECT * FROM spooled").fetchall()
    old.execute("DELETE FROM spool WHERE id = 1")
    assert [(2, 1)] == old.execute("SELECT * FROM spooled").fetchall()


def test_random_histories_lose_no_change(logged_errors) -> None:
    """Whatever order of changes and trouble: the configs told about form one chain from the first to the last."""
    rng = random.Random(os.environ.get("PYTHONHASHSEED", "7"))
    for _ in range(20):
        scene = Scene("notifier")
        scene.record(OFF)
        locked = False
        for _ in range(30):
            if rng.random() < 0.3:
                locked = not locked
                scene.store.connection.execute(f"PRAGMA query_only = {int(locked)}")
            scene.recorder.record("one", config(*sorted(rng.sample("abcdef", 3))), None, "")
            scene.clock.advance(rng.choice((0, RETRY_SECONDS)))
        scene.store.connection.execute("PRAGMA query_only = 0")
        scene.clock.advance(RETRY_SECONDS)
        logged_errors.flush()
        chain = scene.store.rows("SELECT old_etag, new_etag FROM changes ORDER BY id")
        assert all(before[1] == after[0] for before, after in pairwise(chain))
        assert chain[0][0] == OFF.etag
        assert scene.store.rows("SELECT etag FROM configs") == [(chain[-1][1],)]
