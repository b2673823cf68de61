"""``flaggateway deliveries`` on an outbox on PostgreSQL, and the move of a file to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli.deliveries import deliveries
from gateway.http_client import Attempt
from gateway.storage import LockFile
from gateway.webhooks.store import message_table
from outbox_memory import DirectStore
from recorder_scene import RecorderScene, config


class Outbox:
    """A file with messages, and a schema on PostgreSQL to move it to."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.schema = server.new_schema()
        self.file = folder / "outbox.sqlite3"
        self.config = folder / "flaggateway.yml"
        scene = RecorderScene("envelope", "environment", store=DirectStore(str(self.file)))
        scene.record(config("a"), config("b"), config("c\0d"))  # a NUL in a key
        connection = scene.store.connection
        (first, second, *_), _ = message_table.due_messages(connection, "envelope", 2e9, (), 10)
        message_table.add_attempt(connection, first, Attempt(204, "", 0.1), 1_700_000_010.0)
        message_table.finish(connection, first.row, "delivered", "", 1_700_000_011.0)
        message_table.add_attempt(connection, second, Attempt(503, "", 0.2, b"busy"), 1_700_000_010.0)
        message_table.finish(connection, second.row, "failed", "answered 503", 1_700_000_011.0)
        self.failed = second.message
        self.numbers = scene.store.rows("SELECT id, kind, key FROM numbers ORDER BY id")
        self.messages = scene.store.rows("SELECT row, endpoint, id, state, subject FROM messages ORDER BY row")
        connection.close()
        settings = {
            "sdks": {"one": {"key": "k"}},
            "outbox": {"path": str(self.file), "url": server.url(), "schema": self.schema},
            "webhooks": [{"name": name, "url": "http://127.0.0.1:1/"} for name in ("envelope", "environment")],
        }
        self.config.write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str) -> Result:
        """Run the command with settings that name the database."""
        return CliRunner().invoke(deliveries, [arguments[0], "-c", str(self.config), *arguments[1:]])

    def move(self) -> Result:
        """Move the file."""
        return self.run("move", "--to", self.server.url(), "--schema", self.schema)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query on PostgreSQL finds."""
        found: list[tuple[Any, ...]] = self.server.execute(query, search_path=self.schema)
        return found


@pytest.fixture
def outbox(postgres_server: Any, tmp_path: Path) -> Outbox:
    """A file with some messages."""
    return Outbox(postgres_server, tmp_path)


def test_a_move_keeps_messages_changes_and_numbers(outbox: Outbox) -> None:
    """Receivers have stored the numbers; new rows get higher ones; the file is set aside."""
    moved = outbox.move()
    assert (0, False) == (moved.exit_code, outbox.file.exists()), moved.output
    assert outbox.file.with_name("outbox.sqlite3.moved").exists()
    numbers = outbox.rows("SELECT id, kind, key FROM numbers ORDER BY id")
    kept = [(number, kind, key.replace("\x1a0", "\0")) for number, kind, key in numbers]
    assert outbox.numbers == kept
    assert len(outbox.messages) == len(outbox.rows("SELECT row FROM messages"))
    assert [(2,)] == outbox.rows("SELECT count(*) FROM attempts")
    assert outbox.rows("SELECT nextval(pg_get_serial_sequence('messages', 'row'))") > [(len(outbox.messages),)]
    assert outbox.rows("SELECT bytes > 0 FROM held") == [(True,)]


def test_a_move_is_refused_while_a_gateway_runs_and_onto_an_outbox_in_use(outbox: Outbox) -> None:
    """Nothing is copied, and the file stays."""
    with LockFile(outbox.file):
        refused = outbox.move()
    assert (1, True) == (refused.exit_code, "stop the gateway first" in refused.output)
    assert 0 == outbox.move().exit_code
    outbox.file.with_name("outbox.sqlite3.moved").rename(outbox.file)
    refused = outbox.move()
    assert (1, True) == (refused.exit_code, "not empty" in refused.output)
    assert outbox.file.exists()


def test_evaluations_that_wait_keep_the_file(outbox: Outbox) -> None:
    """The gateway goes on to export them from there."""
    store = DirectStore(str(outbox.file))
    store.connection.execute("INSERT INTO spool (count, bytes, events) VALUES (3, 2, x'7b7d')")
    store.connection.close()
    assert "3 evaluations in it wait" in outbox.move().output
    assert outbox.file.exists()


def test_deliveries_are_listed_shown_retried_and_purged(outbox: Outbox) -> None:
    """As with a file; a key with NUL is shown as it is."""
    assert 0 == outbox.move().exit_code
    listed = json.loads(outbox.run("list", "--json").output)
    assert [row[2] for row in reversed(outbox.messages)] == [each["id"] for each in listed]
    assert {row[4] for row in outbox.messages} == {each["subject"] for each in listed}
    (failed,) = json.loads(outbox.run("list", "--state", "failed", "--endpoint", "envelope", "--json").output)
    assert outbox.failed.id == failed["id"]
    (shown,) = json.loads(outbox.run("show", failed["id"], "--json").output)
    assert "busy" == shown["attempts"][0]["answer"]
    assert "1 scheduled again" in outbox.run("retry", "--failed").output
    assert [("look", "")] == outbox.rows("SELECT act, argument FROM wakes")
    assert "1 deleted" in outbox.run("purge", "--before", "2030-01-01").output
    assert 0 == outbox.run("test", "envelope", "--no-wait").exit_code
    assert ("test", "envelope") in outbox.rows("SELECT act, argument FROM wakes")


def test_a_server_that_is_away_is_one_sentence_without_the_password(outbox: Outbox) -> None:
    """It names the outbox."""
    settings = yaml.safe_load(outbox.config.read_text())
    settings["outbox"]["url"] = "postgresql://user:geheim@127.0.0.1:1/none"
    outbox.config.write_text(yaml.safe_dump(settings))
    refused = outbox.run("list")
    assert (1, False) == (refused.exit_code, "geheim" in refused.output)
    assert "Error: the outbox on PostgreSQL: connection" in refused.output
