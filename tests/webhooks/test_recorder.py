"""Changes are recorded before they are published, in order, through full disks, locks and broken formats."""

from __future__ import annotations

import gc
import json
import os
import random
import sqlite3
from itertools import pairwise
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from gateway.flags import Snapshot, load
from gateway.storage.database import transact
from gateway.webhooks.composer import Composer
from gateway.webhooks.formats import Author
from gateway.webhooks.recorder import RETRY_SECONDS
from outbox_memory import DirectStore
from recorder_scene import OFF, ON, RecorderScene, config


def test_the_first_config_of_an_sdk_is_no_change() -> None:
    """It is recorded, and no message is made."""
    scene = RecorderScene()
    assert scene.record(ON) == [True]
    assert scene.messages() == []
    assert scene.store.rows("SELECT sdk_id, etag FROM configs") == [("one", ON.etag)]


def test_a_change_is_on_disk_when_record_fires() -> None:
    """The caller may publish it then."""
    scene = RecorderScene()
    scene.record(OFF)
    done = scene.recorder.record("one", ON, None, "")
    assert done.called
    assert ("FLAG_UPDATED", "a") in scene.messages()
    assert scene.woken == ["envelope"]


def test_a_repeated_transition_has_another_id_each_time() -> None:
    """On, off, on, off are four changes with four ids at every endpoint."""
    formats = ("envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord")
    scene = RecorderScene(*formats)
    scene.record(OFF, ON, OFF, ON, OFF)
    for style in formats:
        query = "SELECT count(DISTINCT id), count(DISTINCT change_id) FROM messages WHERE endpoint = ? AND type <> ?"
        skip = "CONFIG_UPDATED" if style == "envelope" else ""
        assert scene.store.rows(query, style, skip) == [(4, 4)]


def test_two_outboxes_with_equal_history_have_equal_ids() -> None:
    """An id depends on the transition, not on the node."""
    here, there = RecorderScene("envelope", "environment"), RecorderScene("envelope", "environment")
    there.clock.advance(1000)
    for scene in (here, there):
        scene.record(OFF, ON, OFF, ON)
    assert here.messages("endpoint, id") == there.messages("endpoint, id")


def test_an_equal_config_is_no_change() -> None:
    """Equal bytes under another ETag are kept, without a change."""
    scene = RecorderScene()
    scene.record(OFF, ON, ON, load(ON.body, '"other"'))
    assert scene.store.rows("SELECT count(*) FROM changes") == [(1,)]
    assert scene.store.rows("SELECT etag FROM configs") == [('"other"',)]


def test_the_first_config_after_a_restart_is_compared_with_the_last_recorded_one() -> None:
    """A change while the gateway was down is delivered."""
    before = RecorderScene()
    before.record(OFF)
    after = RecorderScene(store=before.store)
    after.record(ON)
    assert ("FLAG_UPDATED", "a") in after.messages()


def test_sequences_count_per_endpoint() -> None:
    """Each endpoint gets 1, 2, 3 … without a gap."""
    scene = RecorderScene("environment", "audit_log")
    scene.record(OFF, ON, config("a", "b"))
    rows = scene.messages("endpoint, sequence")
    assert [1, 2] == [number for name, number in rows if name == "environment"]
    assert [1, 2] == [number for name, number in rows if name == "audit_log"]


def test_identifiers_beyond_the_limit_of_a_rule_are_counted_in_log_and_list() -> None:
    """One hundred of them get messages, the rest is one skipped entry."""
    lines: list[str] = []

    def observe(event: dict) -> None:
        if event.get("log_namespace") == "gateway":
            lines.append(event["log_format"].format(**event))

    def listed(count: int) -> Snapshot:
        rule = {"c": [{"u": {"a": "Identifier", "c": 0, "l": [str(n) for n in range(count)]}}], "s": {"v": {"b": True}}}
        body = {"p": {"s": "x"}, "f": {"a": {"t": 0, "v": {"b": False}, "i": "o", "r": [rule] if count else []}}}
        return load(json.dumps(body).encode(), f'"{count}"')

    scene = RecorderScene("environment")
    globalLogPublisher.addObserver(observe)
    try:
        scene.record(listed(0), listed(107))
    finally:
        globalLogPublisher.removeObserver(observe)
    assert lines == ["endpoint environment: 7 identifiers of long rules are skipped"]
    skipped = scene.store.rows("SELECT endpoint, reason FROM messages WHERE state = 'skipped'")
    assert skipped == [("environment", "identifiers beyond the first 100 of a rule (7 messages)")]
    assert scene.store.states()["pending"] == 101


def test_the_author_is_kept_with_the_change() -> None:
    """``GET /changes`` shows it."""
    scene = RecorderScene()
    scene.record(OFF)
    scene.record(ON, author=Author(email="jane@example.org"))
    assert json.loads(scene.store.rows("SELECT author FROM changes")[0][0])["email"] == "jane@example.org"


def full(store: DirectStore) -> None:
    """Stop the database from growing."""
    store.connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size instead


def test_a_full_disk_delays_no_change_and_is_followed_by_one_change(logged_errors) -> None:
    """Changes are published after 250 ms; later the difference from the last recorded config is delivered."""
    scene = RecorderScene()
    scene.record(OFF)
    full(scene.store)
    big = config("a", off=tuple(f"flag-{number}" for number in range(2000)))
    waiting = [scene.recorder.record("one", each, None, "") for each in (big, config("a", "b", "c"))]
    assert [False, False] == [each.called for each in waiting]
    scene.clock.advance(0.25)
    assert [True, True] == [each.called for each in waiting]
    assert "full" in scene.recorder.database_error
    assert len(logged_errors.flush()) == 1
    assert scene.messages() == []
    scene.store.connection.execute("PRAGMA max_page_count = 1000000")
    scene.clock.advance(RETRY_SECONDS)
    assert scene.recorder.database_error == ""
    assert [("FLAG_CREATED", "b"), ("FLAG_CREATED", "c"), ("FLAG_UPDATED", "a")] == sorted(
        row for row in scene.messages() if row[0].startswith("FLAG")
    )
    assert scene.store.rows("SELECT count(*) FROM changes") == [(1,)]


def test_a_locked_database_is_waited_for(tmp_path: Path, logged_errors) -> None:
    """The transaction of another process delays the recording, not the publishing."""
    path = str(tmp_path / "outbox.sqlite3")
    scene = RecorderScene(store=DirectStore(path))
    scene.record(OFF)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = scene.recorder.record("one", ON, None, "")
    scene.clock.advance(0.25)
    assert done.called
    assert "locked" in scene.recorder.database_error
    assert len(logged_errors.flush()) == 1
    other.execute("ROLLBACK")
    other.close()
    scene.clock.advance(RETRY_SECONDS)
    assert scene.recorder.database_error == ""
    assert ("FLAG_UPDATED", "a") in scene.messages()


def test_a_single_change_after_a_refusal_keeps_its_author(logged_errors) -> None:
    """Only several changes that become one have no author."""
    scene = RecorderScene()
    scene.record(OFF)
    full(scene.store)
    jane = Author(email="jane@example.org")
    big = config("a", off=tuple(f"flag-{number}" for number in range(2000)))
    scene.recorder.record("one", big, jane, "")
    assert scene.recorder.database_error
    assert len(logged_errors.flush()) == 1
    scene.store.connection.execute("PRAGMA max_page_count = 1000000")
    scene.clock.advance(RETRY_SECONDS)
    assert json.loads(scene.store.rows("SELECT author FROM changes")[0][0])["email"] == "jane@example.org"


def _raise(*_: object) -> None:
    raise ZeroDivisionError


def test_a_format_that_fails_does_not_stop_the_recording(logged_errors, monkeypatch) -> None:
    """The failure is logged and counted, and the next change is delivered."""
    scene = RecorderScene()
    scene.record(OFF)
    monkeypatch.setattr(Composer, "change", _raise)
    assert scene.record(ON) == [True]
    monkeypatch.undo()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert scene.store.rows("SELECT reason, count FROM drops") == [("a change could not be put into words", 1)]
    scene.record(OFF)
    assert ("FLAG_UPDATED", "a") in scene.messages()


class HeldStore(DirectStore):
    """A store whose work waits until ``release``, so that changes gather meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple] = []

    def run(self, work):
        done: Deferred[object] = Deferred()
        self.held.append((work, done))
        return done

    def release(self) -> None:
        """Do all work in order, including what it starts."""
        while self.held:
            work, done = self.held.pop(0)
            done.callback(transact(self.connection, [work])[0])


def test_a_format_that_fails_concerns_no_other_change_of_the_transaction(logged_errors, monkeypatch) -> None:
    """The others keep their order, messages and ids; all changes are recorded."""
    store = HeldStore()
    scene = RecorderScene(store=store)
    compose = Composer.change

    def fail_for_b(composer, change, ids):
        return _raise() if "b" in change.new.flags else compose(composer, change, ids)

    monkeypatch.setattr(Composer, "change", fail_for_b)
    scene.record(OFF, ON, config("a", "b"), config("a", "c"), config("a", "c", "d"))
    store.release()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    flags = [(kind, about) for kind, about in scene.messages() if kind.startswith("FLAG_")]
    assert [("FLAG_UPDATED", "a"), ("FLAG_CREATED", "c"), ("FLAG_DELETED", "b"), ("FLAG_CREATED", "d")] == flags
    assert [(4,)] == store.rows("SELECT count(*) FROM changes")
    assert [("a change could not be put into words", 1)] == store.rows("SELECT reason, count FROM drops")
    assert not scene.recorder.database_error


def test_a_full_outbox_is_logged_once_and_ends_by_itself(logged_errors) -> None:
    """A reload with a larger ``max_bytes`` is enough."""
    scene = RecorderScene("notifier")
    scene.record(OFF)
    scene.limit(1024)
    scene.record(ON, OFF)
    assert scene.recorder.full
    (event,) = logged_errors.flush()
    assert "the outbox is full" in event["log_format"]
    scene.limit(2**30)
    scene.record(ON)
    assert not scene.recorder.full
    assert scene.store.states() == {"pending": 1}


def test_a_full_outbox_deletes_finished_messages_then_refuses_new_ones(logged_errors) -> None:
    """The oldest finished messages are deleted first; both are counted."""
    scene = RecorderScene("notifier")
    scene.record(OFF, ON)
    scene.store.connection.execute("UPDATE messages SET state = 'delivered', finished = 1")
    small = RecorderScene("notifier", store=scene.store)
    small.limit(1024)
    small.record(OFF)
    assert len(logged_errors.flush()) == 1
    drops = dict(small.store.rows("SELECT reason, count FROM drops"))
    assert drops == {"purged: the outbox is full": 1, "refused: the outbox is full": 1}
    assert small.store.rows("SELECT count(*) FROM changes WHERE new_etag = ?", OFF.etag) == [(1,)]


def test_random_histories_lose_no_change(logged_errors) -> None:
    """For any order of changes and refusals the recorded changes form one chain from the first to the last config."""
    rng = random.Random(os.environ.get("PYTHONHASHSEED", "7"))
    for _ in range(20):
        scene = RecorderScene("notifier")
        scene.record(OFF)
        refusing = False
        for _ in range(30):
            if rng.random() < 0.3:
                refusing = not refusing
                scene.store.connection.execute(f"PRAGMA query_only = {int(refusing)}")
            scene.recorder.record("one", config(*sorted(rng.sample("abcdef", 3))), None, "")
            scene.clock.advance(rng.choice((0, RETRY_SECONDS)))
        scene.store.connection.execute("PRAGMA query_only = 0")
        scene.clock.advance(RETRY_SECONDS)
        logged_errors.flush()
        chain = scene.store.rows("SELECT old_etag, new_etag FROM changes ORDER BY id")
        assert all(before[1] == after[0] for before, after in pairwise(chain))
        assert chain[0][0] == OFF.etag
        assert scene.store.rows("SELECT etag FROM configs") == [(chain[-1][1],)]


def test_messages_of_a_large_change_start_no_collection_of_everything(monkeypatch):
    """They are so many objects that Python would otherwise collect its oldest generation again and again."""
    thresholds = []

    def change(composer, change, ids):
        thresholds.append(gc.get_threshold()[2])
        return []

    monkeypatch.setattr(Composer, "change", change)
    scene = RecorderScene()
    before = gc.get_threshold()
    try:
        many = tuple(f"flag{number}" for number in range(1_500))
        scene.record(ON, OFF, config(*many), config(*many[1:]))
        assert (3, before[2]) == (len(thresholds), thresholds[0])
        assert min(thresholds[1:]) > 1_000_000
        assert before == gc.get_threshold()
    finally:
        gc.unfreeze()
