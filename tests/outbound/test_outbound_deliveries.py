"""``flaggateway deliveries`` on the file of an outbox."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.deliveries import deliveries
from gateway.outbound import ledger
from gateway.outbound.attempt import Attempt
from gateway.outbound.message import Message
from outbound_memory import DirectStore


def message(number: int, endpoint: str = "ops") -> Message:
    """A message."""
    return Message(f"id-{number}", endpoint, "envelope", "FLAG_UPDATED", "banner", b'{"n":1}', 1_700_000_000.0 + number)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An outbox with one message in each state, and one more that waits."""
    path = tmp_path / "outbox.sqlite3"
    store = DirectStore(str(path))
    connection = store.connection
    ledger.add_messages(connection, [message(1), message(2), message(3), message(4)], None, room=True)
    ledger.add_messages(connection, [message(5, "gone")], None, room=True)
    letters, _ = ledger.due_letters(connection, "ops", 2e9, (), 10)
    for letter, attempt in zip(letters, (Attempt(204, "", 0.1), Attempt(503, "", 0.2, b"busy")), strict=False):
        ledger.add_attempt(connection, letter, attempt, 1_700_000_010.0)
    ledger.finish(connection, letters[0].row, "delivered", "", 1_700_000_011.0)
    ledger.finish(connection, letters[1].row, "failed", "answered 503", 1_700_000_011.0)
    ledger.skip_orphans(connection, {"ops"}, 1_700_000_012.0)
    connection.close()
    return path


def ask(database: Path, *arguments: str) -> Result:
    """Run the command on this outbox."""
    return CliRunner().invoke(deliveries, ["--database", str(database), *arguments])


def states(database: Path) -> dict[str, str]:
    """The state of each message."""
    connection = sqlite3.connect(database)
    try:
        return dict(connection.execute("SELECT id, state FROM messages").fetchall())
    finally:
        connection.close()


def test_list_shows_the_newest_first(database: Path) -> None:
    """As JSON each has its fields; ``due`` only while it waits."""
    found = json.loads(ask(database, "list", "--json").output)
    assert ["id-5", "id-4", "id-3", "id-2", "id-1"] == [each["id"] for each in found]
    assert [False, True, True, False, False] == [each["due"] is not None for each in found]
    assert found[0]["reason"] == "the endpoint was removed from the settings"


def test_list_narrows(database: Path) -> None:
    """By endpoint, state, time and number."""
    for arguments, expected in (
        (("--endpoint", "gone"), ["id-5"]),
        (("--state", "pending"), ["id-4", "id-3"]),
        (("--since", "2023-11-14T22:13:24+00:00"), ["id-5", "id-4"]),
        (("--limit", "1"), ["id-5"]),
    ):
        found = json.loads(ask(database, "list", "--json", *arguments).output)
        assert expected == [each["id"] for each in found]


def test_list_is_a_table_for_people(database: Path) -> None:
    """With the state and its reason."""
    output = ask(database, "list").output
    assert "failed: answered 503" in output
    assert "2023-11-14 22:13:21Z" in output


def test_show_tells_body_and_attempts(database: Path) -> None:
    """With the beginning of the answer."""
    (found,) = json.loads(ask(database, "show", "id-2", "--json").output)
    assert (found["body"], found["state"]) == ('{"n":1}', "failed")
    assert [("answered 503", "busy")] == [(each["outcome"], each["answer"]) for each in found["attempts"]]
    output = ask(database, "show", "id-2").output
    assert "attempt 1: 2023-11-14 22:13:30Z, 0.200 s, answered 503" in output


def test_retry_makes_one_due_again_and_wakes_the_gateway(database: Path) -> None:
    """A skipped one too; a delivered one is not sent twice."""
    assert ask(database, "retry", "id-5").exit_code == 0
    assert states(database)["id-5"] == "pending"
    refused = ask(database, "retry", "id-1")
    assert refused.exit_code == 1
    assert states(database)["id-1"] == "delivered"
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT act FROM wakes").fetchall() == [("look",)]
    connection.close()


def test_retry_failed_takes_those_that_were_given_up(database: Path) -> None:
    """And no others."""
    assert json.loads(ask(database, "retry", "--failed", "--json").output) == {"count": 1}
    assert states(database) == {
        "id-1": "delivered", "id-2": "pending", "id-3": "pending", "id-4": "pending", "id-5": "skipped",
    }  # fmt: skip


def test_retry_wants_to_know_which(database: Path) -> None:
    """Neither and both are refused."""
    assert ask(database, "retry").exit_code == 2
    assert ask(database, "retry", "id-1", "--failed").exit_code == 2


def test_purge_deletes_what_is_finished(database: Path) -> None:
    """What waits stays, and the count of what went stays too."""
    assert json.loads(ask(database, "purge", "--before", "2030-01-01", "--json").output) == {"count": 3}
    assert states(database) == {"id-3": "pending", "id-4": "pending"}
    assert ask(database, "purge", "--before", "yesterday-ish").exit_code == 2


def test_test_leaves_a_wish(database: Path) -> None:
    """The gateway makes the message: it knows the settings and the secrets."""
    assert ask(database, "test", "ops").exit_code == 0
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT act, argument FROM wakes").fetchall() == [("test", "ops")]
    connection.close()


def test_the_file_is_found_by_the_settings(database: Path, tmp_path: Path) -> None:
    """``outbox.path`` says where, ``webhooks`` what can be tested."""
    settings = tmp_path / "settings.yml"
    settings.write_text(
        f"sdks: {{one: {{key: local, offline: {{enabled: true, local: {{file_path: {settings}}}}}}}}}\n"
        f"outbox: {{path: {database}}}\nwebhooks: [{{name: ops, url: 'http://127.0.0.1/'}}]\n"
    )
    found = CliRunner().invoke(deliveries, ["-c", str(settings), "list", "--json"])
    assert len(json.loads(found.output)) == 5
    refused = CliRunner().invoke(deliveries, ["-c", str(settings), "test", "other"])
    assert "no web hook 'other'; there are: ops" in refused.output


def test_no_outbox_is_one_clear_line(tmp_path: Path) -> None:
    """Nothing is created by looking."""
    missing = tmp_path / "outbox.sqlite3"
    refused = ask(missing, "list")
    assert refused.exit_code == 1
    assert f"no outbox at {missing}" in refused.output
    assert not missing.exists()
