"""``flaggateway deliveries`` on the file of an outbox."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from gateway.cli.deliveries import deliveries
from gateway.http_client import Attempt
from gateway.storage import MessageState
from gateway.storage.database import SqliteConnection
from gateway.webhooks.formats import Message
from gateway.webhooks.store import message_table
from outbox_memory import DirectStore


def message(number: int, endpoint: str = "ops") -> Message:
    """A message."""
    return Message(f"id-{number}", endpoint, "envelope", "FLAG_UPDATED", "banner", b'{"n":1}', 1_700_000_000.0 + number)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An outbox with one message in each state, and one more that waits."""
    path = tmp_path / "outbox.sqlite3"
    store = DirectStore(str(path))
    connection = store.connection
    message_table.add_messages(connection, [message(1), message(2), message(3), message(4)], None, room=True)
    message_table.add_messages(connection, [message(5, "gone")], None, room=True)
    pending, _ = message_table.due_messages(connection, "ops", 2e9, (), 10)
    for queued, attempt in zip(pending, (Attempt(204, "", 0.1), Attempt(503, "", 0.2, b"busy")), strict=False):
        message_table.add_attempt(connection, queued, attempt, 1_700_000_010.0)
    message_table.finish(connection, pending[0].row, "delivered", "", 1_700_000_011.0)
    message_table.finish(connection, pending[1].row, "failed", "answered 503", 1_700_000_011.0)
    message_table.skip_orphans(connection, {"ops"}, 1_700_000_012.0)
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


def test_the_states_of_the_option_are_those_of_messages() -> None:
    """The command has a list of its own, so that it starts without importing Twisted."""
    (option,) = [each for each in deliveries.commands["list"].params if each.name == "state"]
    assert get_args(MessageState) == tuple(option.type.choices)


def test_list_shows_the_newest_first(database: Path) -> None:
    """JSON has all fields of each message; ``due`` is null unless it is pending."""
    found = json.loads(ask(database, "list", "--json").output)
    assert ["id-5", "id-4", "id-3", "id-2", "id-1"] == [each["id"] for each in found]
    assert [False, True, True, False, False] == [each["due"] is not None for each in found]
    assert found[0]["reason"] == "the endpoint was removed from the settings"


def test_list_filters(database: Path) -> None:
    """Messages can be filtered by endpoint, state and time, and limited in number."""
    for arguments, expected in (
        (("--endpoint", "gone"), ["id-5"]),
        (("--state", "pending"), ["id-4", "id-3"]),
        (("--since", "2023-11-14T22:13:24+00:00"), ["id-5", "id-4"]),
        (("--limit", "1"), ["id-5"]),
    ):
        found = json.loads(ask(database, "list", "--json", *arguments).output)
        assert expected == [each["id"] for each in found]


def test_list_is_a_table_for_people(database: Path) -> None:
    """The table has the state and its reason."""
    output = ask(database, "list").output
    assert "failed: answered 503" in output
    assert "2023-11-14 22:13:21Z" in output


def test_show_prints_body_and_attempts(database: Path) -> None:
    """Each attempt is shown with the beginning of its answer."""
    (found,) = json.loads(ask(database, "show", "id-2", "--json").output)
    assert (found["body"], found["state"]) == ('{"n":1}', "failed")
    assert [("answered 503", "busy")] == [(each["outcome"], each["answer"]) for each in found["attempts"]]
    output = ask(database, "show", "id-2").output
    assert "attempt 1: 2023-11-14 22:13:30Z, 0.200 s, answered 503\n           busy\n" in output
    assert "state:     failed: answered 503\n" in output


def test_retry_schedules_one_message_and_wakes_the_gateway(database: Path) -> None:
    """Failed and skipped messages are sent again, a delivered one is not."""
    assert ask(database, "retry", "id-5").exit_code == 0
    assert states(database)["id-5"] == "pending"
    refused = ask(database, "retry", "id-1")
    assert (refused.exit_code, refused.output) == (1, "Error: not sent again: ops has accepted it\n")
    assert states(database)["id-1"] == "delivered"
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT act FROM wakes").fetchall() == [("look",)]
    connection.close()


def test_retry_failed_takes_every_failed_message(database: Path) -> None:
    """``--failed`` schedules the failed messages and no others."""
    assert json.loads(ask(database, "retry", "--failed", "--json").output) == {"count": 1}
    assert states(database) == {
        "id-1": "delivered", "id-2": "pending", "id-3": "pending", "id-4": "pending", "id-5": "skipped",
    }  # fmt: skip


def test_retry_needs_an_id_or_failed(database: Path) -> None:
    """Without an ID and ``--failed``, or with both, the command is refused."""
    assert ask(database, "retry").exit_code == 2
    assert ask(database, "retry", "id-1", "--failed").exit_code == 2


def test_purge_deletes_what_is_finished(database: Path) -> None:
    """Pending messages stay, and so do the counts of deleted ones."""
    assert json.loads(ask(database, "purge", "--before", "2030-01-01", "--json").output) == {"count": 3}
    assert states(database) == {"id-3": "pending", "id-4": "pending"}
    assert ask(database, "purge", "--before", "yesterday-ish").exit_code == 2


def test_test_leaves_a_request(database: Path) -> None:
    """The command writes a request; the gateway composes the message with its settings and secrets."""
    assert ask(database, "test", "ops", "--no-wait").exit_code == 0
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT act, argument FROM wakes").fetchall() == [("test", "ops")]
    connection.close()


def test_the_file_is_found_by_the_settings(database: Path, tmp_path: Path) -> None:
    """The path comes from ``outbox.path``, the names that can be tested from ``webhooks``."""
    settings = tmp_path / "settings.yml"
    settings.write_text(
        f"sdks: {{one: {{key: local, offline: {{enabled: true, local: {{file_path: {settings}}}}}}}}}\n"
        f"outbox: {{path: {database}}}\nwebhooks: [{{name: ops, url: 'http://127.0.0.1/'}}]\n"
    )
    found = CliRunner().invoke(deliveries, ["-c", str(settings), "list", "--json"])
    assert len(json.loads(found.output)) == 5
    refused = CliRunner().invoke(deliveries, ["-c", str(settings), "test", "other"])
    assert "no webhook 'other'; they have: ops" in refused.output


def test_no_outbox_is_one_clear_line(tmp_path: Path) -> None:
    """A missing outbox is one line of error, and no file is created."""
    missing = tmp_path / "outbox.sqlite3"
    refused = ask(missing, "list")
    assert refused.exit_code == 1
    assert f"no outbox at {missing}" in refused.output
    assert not missing.exists()


def test_a_test_without_a_running_gateway_waits(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is still there after a gateway would have accepted it."""
    monkeypatch.setattr("gateway.cli.deliveries.ACCEPT_SECONDS", 0.2)
    asked = ask(database, "test", "ops")
    assert asked.exit_code == 0
    assert "no gateway is running with this outbox; the next one that starts sends the test" in asked.output


@pytest.mark.parametrize(("answer", "status", "code"), [("", 204, 0), ("go away", 503, 1)])
def test_a_test_shows_its_first_attempt(database: Path, answer: str, status: int, code: int) -> None:
    """The first attempt is shown when it has ended; a failed one is exit status 1."""
    over = Event()

    def gateway() -> None:
        connection = sqlite3.connect(database, isolation_level=None, timeout=10, factory=SqliteConnection)
        while not over.wait(0.05):
            if connection.execute("DELETE FROM wakes WHERE act = 'test'").rowcount:
                test = Message("the-test", "ops", "envelope", "WEBHOOK_TEST", "ops", b"{}", 1_700_000_100.0)
                connection.execute("BEGIN")  # as in the gateway: an attempt and its outcome appear together
                message_table.add_messages(connection, [test], None, room=True)
                queued = message_table.due_messages(connection, "ops", 2e9, (), 10)[0][-1]
                message_table.add_attempt(
                    connection, queued, Attempt(status, "", 0.1, answer.encode()), 1_700_000_100.0
                )
                if status < 300:
                    message_table.finish(connection, queued.row, "delivered", "", 1_700_000_101.0)
                connection.execute("COMMIT")
        connection.close()

    running = Thread(target=gateway)
    running.start()
    try:
        asked = ask(database, "test", "ops")
    finally:
        over.set()
        running.join()
    assert asked.exit_code == code
    assert f"answered {status}" in asked.output
    assert answer in asked.output


def test_foreign_text_is_escaped(database: Path) -> None:
    """Escapes in a subject, a reason or an answer are shown, not sent."""
    connection = sqlite3.connect(database)
    connection.execute("UPDATE messages SET subject = char(27) || '[2J', reason = char(155) || '31m'")
    connection.execute("UPDATE attempts SET answer = CAST(char(27) || ']0;title' || char(7) AS BLOB)")
    connection.commit()
    connection.close()
    for arguments in (("list",), ("show", "id-2")):
        output = ask(database, *arguments).output
        assert "\\x1b" in output
        assert not set("\x1b\x07\x9b") & set(output)


def test_a_truncated_list_is_reported(database: Path) -> None:
    """A truncated or empty list is reported on standard error."""
    assert "these are the newest" in ask(database, "list", "--limit", "2").stderr
    assert "these are the newest" not in ask(database, "list", "--limit", "5").stderr
    nothing = ask(database, "list", "--endpoint", "nobody")
    assert (nothing.stdout, nothing.stderr, nothing.exit_code) == ("", "no deliveries\n", 0)


def test_retry_refuses_an_endpoint_that_the_settings_do_not_have(database: Path, tmp_path: Path) -> None:
    """A message to a removed endpoint is refused, as it would never be sent; without settings none is."""
    settings = tmp_path / "settings.yml"
    settings.write_text(
        f"sdks: {{one: {{key: local, offline: {{enabled: true, local: {{file_path: {settings}}}}}}}}}\n"
        f"outbox: {{path: {database}}}\nwebhooks: [{{name: ops, url: 'http://127.0.0.1/'}}]\n"
    )
    refused = CliRunner().invoke(deliveries, ["-c", str(settings), "retry", "id-5"])
    assert (1, "skipped") == (refused.exit_code, states(database)["id-5"])
    assert "not sent again: the settings have no webhook 'gone'" in refused.output


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_outbox_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """A file that is no outbox is one line of error and is not changed."""
    file = tmp_path / "file"
    file.write_bytes(content)
    refused = ask(file, "list")
    assert (refused.exit_code, refused.output.count("\n"), file.read_bytes()) == (1, 1, content)
    assert str(file) in refused.output


def test_another_schema_is_one_clear_line(database: Path) -> None:
    """The file of a newer version is refused."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "has schema 99, this command supports" in ask(database, "retry", "--failed").output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.parametrize("closed", [False, True], ids=["open to all", "below a directory of root's"])
def test_files_that_root_creates_belong_to_the_databases_owner(database: Path, tmp_path: Path, closed: bool) -> None:
    """Files that root creates belong to the owner of the outbox, also in a directory that only root may enter."""
    room = tmp_path / "private"
    room.mkdir(mode=0o700 if closed else 0o755)
    state = room / "state"
    state.mkdir()
    file = state / "outbox.sqlite3"
    database.rename(file)
    for each in (state, file):
        os.chown(each, 12345, 12346)
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(0o755)
    code = """
import sys
from pathlib import Path
from click.testing import CliRunner
from gateway.cli.deliveries import deliveries

module, seen = sys.modules["gateway.cli.deliveries"], set()
really = module.in_transaction

def watched(connection, work):
    result = really(connection, work)
    seen.update((each.name, each.stat().st_uid) for each in Path(sys.argv[1]).parent.iterdir())
    return result

module.in_transaction = watched
print(CliRunner().invoke(deliveries, ["--database", sys.argv[1], "retry", "--failed", "--json"]).output, sorted(seen))
"""
    ended = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert '"count": 1' in ended.stdout
    names = ("outbox.sqlite3", "outbox.sqlite3-shm", "outbox.sqlite3-wal")
    assert str([(name, 12345) for name in names]) in ended.stdout


def terminal(*arguments: str, columns: int = 120) -> str:
    """What a command shows in a terminal."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "CI"}}
    env |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "deliveries", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def test_a_terminal_gets_colour_and_a_table_that_fits(database: Path) -> None:
    """A narrow terminal gets no reasons; a JSON body is indented."""
    wide, narrow = (terminal("--database", str(database), "list", columns=width) for width in (200, 100))
    for colour, state in (("31", "failed"), ("33", "pending"), ("32", "delivered"), ("90", "skipped")):
        assert f"\x1b[{colour}m{state}" in wide
        assert f"\x1b[{colour}m{state}" in narrow
    assert "answered 503" in wide
    assert "answered 503" not in narrow
    assert len(narrow.splitlines()) == 6
    shown = terminal("--database", str(database), "show", "id-2")
    assert "\x1b[31mfailed\x1b[0m: answered 503" in shown
    assert '{\r\n             "n": 1\r\n           }' in shown


def test_long_work_shows_progress(tmp_path: Path) -> None:
    """A progress bar is shown in a terminal; the printed result is the same."""
    path = tmp_path / "outbox.sqlite3"
    store = DirectStore(str(path))
    store.connection.execute("BEGIN")
    message_table.add_messages(store.connection, [message(number) for number in range(2500)], None, room=True)
    store.connection.execute("UPDATE messages SET state = 'failed', finished = 1")
    store.connection.commit()
    store.connection.close()
    retried = terminal("--database", str(path), "retry", "--failed")
    assert "scheduling" in retried
    assert retried.endswith("2500 scheduled again\r\n")
    assert set(states(path).values()) == {"pending"}
