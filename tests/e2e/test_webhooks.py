"""A real gateway delivers to real receivers: signed, in every format, through outages, reloads and restarts."""

from __future__ import annotations

import hmac
import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway.cli.deliveries import deliveries
from gateway_process import DidNotStart, GatewayProcess
from receiver import Receiver

Start = Callable[..., GatewayProcess]
FORMATS = ("envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord")
ALLOWED = {"X-Test": "yes"}  # refreshes of callers without credentials are limited to one per second
KEY = "whsec_" + b64encode(b"k" * 24).decode()


def config(number: int) -> dict[str, Any]:
    """A config whose one flag has this value."""
    return {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def settings(cdn: CdnStandIn, database: Path, *webhooks: dict[str, Any], interval: int = 3600) -> dict[str, Any]:
    """The settings of a gateway with these receivers."""
    return {
        "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": interval}},
        "outbox": {"path": str(database)},
        "webhooks": list(webhooks),
    }


def change(gateway: GatewayProcess, cdn: CdnStandIn, number: int) -> None:
    """Change the flag, and have the gateway fetch it."""
    cdn.set(config(number))
    status, _ = gateway.post("/api/shop/refresh")
    assert status == 200


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Read from the outbox of a running or stopped gateway."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_format_arrives_signed(gateway_process: Start, tmp_path: Path, workers: int) -> None:
    """Independent code accepts every signature; with several workers the leader delivers, once."""
    database = tmp_path / "outbox.sqlite3"
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        hooks = [{"name": each, "url": f"{receiver.url}/{each}", "format": each, "secret": KEY} for each in FORMATS]
        gateway = gateway_process(settings(cdn, database, *hooks) | {"workers": workers})
        change(gateway, cdn, 1)
        eventually(lambda: {call.path.rsplit("/", 1)[1] for call in receiver.taken} == set(FORMATS))
        assert gateway.stop() == 0
    for call in receiver.taken:
        expected = hmac.new(KEY.encode(), call.body, "sha256").hexdigest()
        assert call.headers["x-hub-signature-256"] == f"sha256={expected}"
        if call.path.endswith(("/environment", "/audit_log")):
            assert call.headers["x-flagsmith-signature"] == expected
        if call.path.endswith("/envelope"):
            assert Webhook(KEY).verify(call.body, call.headers)["type"] in {"FLAG_UPDATED", "CONFIG_UPDATED"}
    assert rows(database, "SELECT DISTINCT state FROM messages") == [("delivered",)]
    assert rows(database, "SELECT count(*) FROM changes") == [(1,)]


def test_two_gateways_give_the_same_changes_the_same_ids(gateway_process: Start, tmp_path: Path) -> None:
    """Two gateways that share nothing compute the same ids; a repeated transition has another id each time."""

    def flag(on: bool) -> dict[str, Any]:
        return {"p": {"s": "salt"}, "f": {"flag": {"t": 0, "v": {"b": on}, "i": "on" if on else "off"}}}

    with CdnStandIn(flag(False)) as cdn, Receiver() as one, Receiver() as other:
        gateways = []
        for name, receiver in (("one", one), ("other", other)):
            events = {"envelope": {"events": ["FLAG_UPDATED"]}}
            hooks = [
                {"name": f"{name}-{each}", "url": f"{receiver.url}/{each}", "format": each} | events.get(each, {})
                for each in FORMATS
            ]
            whole = settings(cdn, tmp_path / f"{name}.sqlite3", *hooks) | {"http": {"api": {"auth_headers": ALLOWED}}}
            gateways.append(gateway_process(whole))
        for on in (True, False, True, False):
            cdn.set(flag(on))
            for gateway in gateways:
                assert gateway.post("/api/shop/refresh", headers=ALLOWED)[0] == 200
        eventually(lambda: len(one.taken) == len(other.taken) == 4 * len(FORMATS), lambda: (one.taken, other.taken))
        assert [gateway.stop() for gateway in gateways] == [0, 0]
    ids = [{each: {call.id for call in node.taken if call.path.endswith(f"/{each}")} for each in FORMATS}
           for node in (one, other)]  # fmt: skip
    assert [4] * len(FORMATS) == [len(found) for found in ids[0].values()]
    assert ids[0] == ids[1]


def test_a_change_while_the_gateway_was_down_is_delivered(gateway_process: Start, tmp_path: Path) -> None:
    """The first config after a start is compared with the last one before."""
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        hook = {"name": "ops", "url": receiver.url, "format": "notifier"}
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3", hook))
        assert gateway.stop() == 0
        cdn.set(config(7))
        gateway.start()
        eventually(lambda: receiver.taken)
        updated = json.loads(receiver.taken[0].body)["flags"]["updated"]["number"]
        assert (updated["old_value"]["v"], updated["new_value"]["v"]) == ({"i": 0}, {"i": 7})


def test_the_command_line_tests_and_lists_on_a_running_gateway(gateway_process: Start, tmp_path: Path) -> None:
    """A requested test message arrives signed, and is listed as delivered."""
    database = tmp_path / "outbox.sqlite3"
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        hook = {"name": "ops", "url": receiver.url, "secret": KEY}
        gateway = gateway_process(settings(cdn, database, hook))
        file = str(gateway.home / "flaggateway.yml")
        assert CliRunner().invoke(deliveries, ["-c", file, "test", "ops"]).exit_code == 0
        eventually(lambda: receiver.taken)
        assert Webhook(KEY).verify(receiver.taken[0].body, receiver.taken[0].headers)["type"] == "WEBHOOK_TEST"
        eventually(lambda: rows(database, "SELECT 1 FROM messages WHERE state = 'delivered'"))
        listed = json.loads(CliRunner().invoke(deliveries, ["-c", file, "list", "--json"]).stdout)
    assert [("WEBHOOK_TEST", "delivered", "ops")] == [
        (each["type"], each["state"], each["endpoint"]) for each in listed
    ]


def test_waiting_messages_are_sent_once_the_receiver_is_back(gateway_process: Start, tmp_path: Path) -> None:
    """Messages due in an hour arrive within seconds after the first success, oldest first."""
    database = tmp_path / "outbox.sqlite3"
    with CdnStandIn(config(0)) as cdn, Receiver(lambda _: 503) as receiver:
        hook = {"name": "ops", "url": receiver.url, "format": "notifier"}
        whole = settings(cdn, database, hook) | {"http": {"api": {"auth_headers": ALLOWED}}}
        gateway = gateway_process(whole)
        for number in range(1, 21):
            cdn.set(config(number))
            assert gateway.post("/api/shop/refresh", headers=ALLOWED)[0] == 200
        eventually(lambda: len({call.id for call in receiver.calls}) == 20)
        assert gateway.stop() == 0
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE messages SET due = due + 3600")
        receiver.behave = lambda _: 204
        gateway.start()
        file = str(gateway.home / "flaggateway.yml")
        assert CliRunner().invoke(deliveries, ["-c", file, "test", "ops"]).exit_code == 0
        eventually(lambda: len(receiver.taken) == 21, lambda: receiver.taken)
    numbers = [int(call.headers["x-flaggateway-sequence"]) for call in receiver.taken]
    assert list(range(1, 22)) == sorted(numbers)
    assert 21 == numbers[0]
    assert all(number < place + 8 for place, number in enumerate(numbers[1:], 1))  # as many as are in flight


def test_without_webhooks_no_database_is_opened(gateway_process: Start, tmp_path: Path) -> None:
    """Not even after a change."""
    database = tmp_path / "outbox.sqlite3"
    with CdnStandIn(config(0)) as cdn:
        gateway = gateway_process(settings(cdn, database))
        change(gateway, cdn, 1)
        assert not database.exists()


def test_a_reload_adds_and_removes_receivers(gateway_process: Start, tmp_path: Path) -> None:
    """A new webhook gets later changes; messages for a removed one are skipped."""
    database = tmp_path / "outbox.sqlite3"
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        gateway = gateway_process(settings(cdn, database))
        hook = {"name": "new", "url": receiver.url, "format": "notifier"}
        gateway.reload(settings(cdn, database, hook))
        eventually(lambda: "outbox open" in gateway.logs())  # the file exists some milliseconds before its tables
        eventually(lambda: rows(database, "SELECT 1 FROM configs"))
        change(gateway, cdn, 1)
        eventually(lambda: receiver.taken)
        dead = {"name": "new", "url": "http://127.0.0.1:1/", "format": "notifier"}
        gateway.reload(settings(cdn, database, dead))
        eventually(lambda: gateway.logs().count("settings reloaded") == 2)
        change(gateway, cdn, 2)
        eventually(lambda: rows(database, "SELECT 1 FROM messages WHERE state = 'pending'"))
        gateway.reload(settings(cdn, database))
        eventually(lambda: rows(database, "SELECT 1 FROM messages WHERE state = 'skipped'"))


def test_a_database_that_cannot_be_opened_prevents_the_start(gateway_process: Start, tmp_path: Path) -> None:
    """The gateway exits with status 1 and the reason."""
    database = tmp_path / "theirs.sqlite3"
    theirs = sqlite3.connect(database)
    theirs.execute("CREATE TABLE precious (x)")
    theirs.close()
    with CdnStandIn(config(0)) as cdn:
        hook = {"name": "ops", "url": "http://127.0.0.1:1/"}
        with pytest.raises(DidNotStart, match=r"ended with 1:(.|\n)*database of another program"):
            gateway_process(settings(cdn, database, hook))
