"""A real gateway in operation: authors of changes, the diagnostics port, a second gateway, an unusable outbox."""

from __future__ import annotations

import json
import socket
import sqlite3
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import DidNotStart, GatewayProcess
from receiver import Receiver

Start = Callable[..., GatewayProcess]


def config(number: int) -> dict[str, Any]:
    """A config whose one flag has this value."""
    return {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def settings(cdn: CdnStandIn, database: Path, *webhooks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The settings of a gateway with these receivers; only hooks and refreshes make it fetch."""
    return {
        "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 3600}},
        "outbox": {"path": str(database)},
        "webhooks": list(webhooks),
    } | more


@pytest.mark.parametrize("workers", [1, 2])
def test_the_author_in_an_authenticated_hook_is_delivered(gateway_process: Start, tmp_path: Path, workers: int) -> None:
    """For any process that accepts the hook; the next change, found by a refresh, has no author."""
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        ops = {"name": "ops", "url": receiver.url, "events": ["FLAG_UPDATED"]}
        more = {"workers": workers, "http": {"webhook": {"auth_headers": {"X-Auth": "let-me-in"}}}}
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3", ops, **more))
        cdn.set(config(1))
        body = json.dumps({"changedBy": "Jane Doe", "changeNotes": "summer sale"}).encode()
        assert 200 == gateway.post("/hook/shop", body, headers={"X-Auth": "let-me-in"})[0]
        eventually(lambda: len(receiver.taken) == 1)
        cdn.set(config(2))
        assert 200 == gateway.post("/api/shop/refresh")[0]
        eventually(lambda: len(receiver.taken) == 2)
    delivered = [json.loads(call.body)["data"] for call in receiver.taken]
    assert [("Jane Doe", "summer sale"), (None, "")] == [(each["changedBy"], each["changeNotes"]) for each in delivered]


def test_the_diagnostics_port_lists_shows_and_retries(gateway_process: Start, tmp_path: Path) -> None:
    """A refused message is listed, shown without its body, and retried; its change is listed."""
    moods: list[int | str] = [503]
    with CdnStandIn(config(0)) as cdn, Receiver(lambda _: moods[0], retry_after=3600) as receiver:
        ops = {"name": "ops & co", "url": receiver.url, "format": "notifier"}
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3", ops))
        cdn.set(config(1))
        gateway.post("/api/shop/refresh")

        def listed(query: str = "") -> list[dict[str, Any]]:
            status, body = gateway.get(f"/deliveries{query}", diag=True)
            assert 200 == status, body
            found: list[dict[str, Any]] = json.loads(body)["deliveries"]
            return found

        eventually(lambda: [each for each in listed("?state=pending&endpoint=ops+%26+co") if each["tries"]])
        message = listed()[0]["id"]
        (shown,) = json.loads(gateway.get(f"/deliveries/{message}", diag=True)[1])["deliveries"]
        assert (None, ["answered 503"]) == (shown["body"], [each["outcome"] for each in shown["attempts"]])
        moods[0] = 204
        again = urllib.request.Request(f"{gateway.diag}/deliveries/{message}/retry", method="POST")
        with urllib.request.urlopen(again, timeout=30) as answer:
            assert {"count": 1, "refused": []} == json.loads(answer.read())
        eventually(lambda: listed("?state=delivered"))
        (change,) = json.loads(gateway.get("/changes", diag=True)[1])["changes"]
        assert [{"i": 0}, {"i": 1}] == [each["v"] for each in change["changes"]["updated"]["number"].values()]
        page = gateway.get("/metrics", diag=True)[1].decode()
        assert 'flaggateway_delivery_attempts_total{endpoint="ops & co",outcome="refused"} 1.0' in page
        assert 'flaggateway_delivery_attempts_total{endpoint="ops & co",outcome="delivered"} 1.0' in page
        assert 0 == gateway.stop()


def test_without_webhooks_the_pages_are_not_found(gateway_process: Start, tmp_path: Path) -> None:
    """404 with an explanation, not an empty list."""
    with CdnStandIn(config(0)) as cdn:
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3"))
        status, body = gateway.get("/changes", diag=True)
    assert (404, True) == (status, json.loads(body)["error"].startswith("no outbox is open"))


def test_a_second_gateway_on_the_same_outbox_does_not_start(gateway_process: Start, tmp_path: Path) -> None:
    """Under any name of the file; after a crash of the first another may start."""
    database = tmp_path / "outbox.sqlite3"
    alias = tmp_path / "alias.sqlite3"
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        ops = {"name": "ops", "url": receiver.url, "format": "notifier"}
        first = gateway_process(settings(cdn, database, ops))
        alias.symlink_to(database)
        with pytest.raises(DidNotStart, match=rf"in use by another gateway \(process {first.pid}\)"):
            gateway_process(settings(cdn, alias, ops))
        cdn.set(config(1))
        first.post("/api/shop/refresh")
        eventually(lambda: receiver.taken)
        first.kill()
        assert None is gateway_process(settings(cdn, alias, ops)).returncode


@pytest.mark.parametrize("fault", ["a directory", "below a file", "a newer schema"])
def test_an_outbox_that_cannot_be_used_ends_the_start_with_one_line(
    gateway_process: Start, tmp_path: Path, fault: str
) -> None:
    """It names the option; a reload that needs the outbox is refused, and the gateway continues."""
    database = tmp_path / "outbox.sqlite3"
    if fault == "a directory":
        database.mkdir()
    elif fault == "below a file":
        database.write_text("")
        database = database / "outbox.sqlite3"
    else:
        newer = sqlite3.connect(database)
        newer.executescript("CREATE TABLE t (x); PRAGMA application_id = 0x666C6777; PRAGMA user_version = 99;")
        newer.close()
    with CdnStandIn(config(0)) as cdn:
        ops = {"name": "ops", "url": "http://127.0.0.1:1/"}
        with pytest.raises(DidNotStart, match=r"ended with 1:(.|\n)*not started: outbox.path: "):
            gateway_process(settings(cdn, database, ops))
        gateway = gateway_process(settings(cdn, database))
        gateway.reload(settings(cdn, database, ops))
        eventually(lambda: "reload refused, the old settings stay: outbox.path: " in gateway.logs())
        assert 200 == gateway.get("/api/shop/keys")[0]


def test_a_problem_degrades_the_status_until_it_is_resolved(gateway_process: Start, tmp_path: Path) -> None:
    """Status, log and systemd show it once, and once that it is resolved; the gateway stays ready."""
    authority = tmp_path / "authority.pem"
    authority.write_text("no certificate")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)

    def await_line(start: str, end: str = "") -> None:
        while not ((text := notify.recv(4096).decode()).startswith(start) and text.endswith(end)):
            pass

    with closing(notify), CdnStandIn(config(0)) as cdn:
        ops = {"name": "ops", "url": "https://127.0.0.1:1/", "ca_file": str(authority)}
        whole = settings(cdn, tmp_path / "outbox.sqlite3", ops)
        gateway = gateway_process(whole, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        await_line("STATUS=serving 1 SDKs, degraded: endpoint ops cannot be called")
        document = json.loads(gateway.get("/status", diag=True)[1])
        (problem,) = document["gateway"]["problems"]
        assert ("degraded", True) == (document["status"], problem.startswith("endpoint ops cannot be called: "))
        assert 200 == gateway.get("/readyz", diag=True)[0]
        gateway.reload(settings(cdn, tmp_path / "outbox.sqlite3", {"name": "ops", "url": "https://127.0.0.1:1/"}))
        eventually(lambda: json.loads(gateway.get("/status", diag=True)[1])["status"] == "healthy")
        await_line("STATUS=serving 1 SDKs", "SDKs")
        assert 0 == gateway.stop()
        lines = gateway.logs()
    assert (1, 1) == (lines.count("degraded: endpoint ops cannot"), lines.count("resolved: endpoint ops cannot"))


FLAGS_BEFORE = {
    "number": {"t": 2, "v": {"i": 1}, "i": "v1"},
    "renamed": {"t": 1, "v": {"s": "same"}, "i": "old"},
    "broken": {"t": 1, "v": {"s": "fine"}, "i": "b"},
    "gone": {"t": 0, "v": {"b": True}, "i": "g"},
    "others": {"t": 0, "v": {"b": False}, "i": "o"},
    "german": {"t": 0, "v": {"b": False}, "i": "g0", "r": [{"c": [{"s": {"s": 0, "c": 0}}], "s": {"v": {"b": True}}}]},
}
FLAGS_AFTER = {
    "number": {"t": 2, "v": {"i": 2}, "i": "v2"},
    "renamed": {"t": 1, "v": {"s": "same"}, "i": "new"},
    "broken": {"t": 1},
    "new": {"t": 3, "v": {"d": 1.5}, "i": "n"},
    "others": {"t": 0, "v": {"b": False}, "i": "o", "r": [{"c": [{"s": {"s": 0, "c": 1}}], "s": {"v": {"b": True}}}]},
    "german": FLAGS_BEFORE["german"],
}


def test_a_watched_user_gets_the_changes_of_a_delta_stream(gateway_process: Start, tmp_path: Path) -> None:
    """Values, variation ids, failures, segments, added and removed flags."""
    segments = [[{"n": "here", "r": [{"a": "Country", "c": 0, "l": names}]}] for names in (["FR"], ["FR", "DE"])]
    user = {"Identifier": "42"}
    with CdnStandIn({"p": {"s": "x"}, "s": segments[0], "f": FLAGS_BEFORE}) as cdn, Receiver() as receiver:
        ops = {"name": "ops", "url": receiver.url, "events": ["USER_FLAGS_UPDATED"], "users": [user]}
        more = {"default_user_attributes": {"Country": "DE"}}
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3", ops, **more))
        data = b64encode(json.dumps({"user": user}).encode()).decode()
        with urllib.request.urlopen(f"{gateway.url}/sse/shop/eval-all/{data}?mode=delta", timeout=30) as stream:
            assert next(line for line in stream if line == b"event: put\n")
            cdn.set({"p": {"s": "x"}, "s": segments[1], "f": FLAGS_AFTER})
            assert 200 == gateway.post("/api/shop/refresh")[0]
            lines = dropwhile(lambda line: line != b"event: patch\n", stream)
            patch = json.loads(next(line for line in lines if line.startswith(b"data: "))[6:])
        eventually(lambda: receiver.taken)
    data = json.loads(receiver.taken[0].body)["data"]
    assert patch == {"changed": data["changed"], "removed": data["removed"]}
    assert {"number", "renamed", "broken", "new", "german"} == set(data["changed"])
    assert ["gone"] == data["removed"]
