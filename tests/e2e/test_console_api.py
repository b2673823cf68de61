"""The API of a real gateway, with one process and with two workers; each answer fits the document it serves."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from api_client import ApiClient
from eventually import eventually
from gateway_process import GatewayProcess, unused_port
from shop import FRENCH, GERMAN, shop
from streams import Stream, Streams, stream_path

WORKERS = (1, 2)


class Console:
    """A gateway whose SDK ``shop`` reads a file, and a client of its API."""

    def __init__(self, gateway: GatewayProcess, config: Path) -> None:
        self.gateway = gateway
        self.config = config
        self.api: ApiClient

    def publish(self, config: dict[str, Any]) -> None:
        """Replace the config."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(config), "utf-8")
        fresh.replace(self.config)

    def serve(self, config: dict[str, Any]) -> None:
        """Replace the config, and wait until it is in use."""
        self.publish(config)
        wanted = config["f"]["banner"]["r"][0]["s"]["v"]["s"]
        question = {"sdk": "shop", "key": "banner", "user": GERMAN}
        eventually(lambda: self.api.post("/explain", question)["explained"][0]["value"] == wanted)

    def sdk(self) -> Any:
        """Return the SDK in the overview."""
        return self.api.get("/overview")["sdks"][0]


@pytest.fixture(scope="module", params=WORKERS, ids=["one process", "two workers"])
def console(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Return a running gateway, which the tests of this module share."""
    home = tmp_path_factory.mktemp("console")
    config = home / "config.json"
    config.write_text(json.dumps(shop("before")), "utf-8")
    sdk = {
        "key": "local",
        "offline": {"enabled": True, "local": {"file_path": str(config)}},
        "default_user_attributes": {"Country": "France"},
    }
    settings = {"workers": request.param, "sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}}
    scene = Console(GatewayProcess(settings, home), config)
    scene.gateway.start()
    try:
        scene.api = ApiClient(scene.gateway)
        yield scene
    finally:
        scene.gateway.stop()


def test_every_route_of_the_document_is_served(console: Console) -> None:
    """None is unknown, and none accepts another method."""
    for template, operations in console.api.document["paths"].items():
        path = template.removeprefix("/api/v1").replace("{", "").replace("}", "")
        for method in operations:
            code, body, kind = console.api.ask("DELETE", path)
            assert (405, "application/json") == (code, kind), (method, path, body)


def test_the_overview_shows_the_state(console: Console) -> None:
    """The sentence, the SDK with its source and config, and the workers."""
    well = "All is well: serving 1 SDK with 0 open streams."  # once those of earlier tests are closed
    eventually(lambda: console.api.get("/overview")["summary"] == well)
    shown = console.api.get("/overview")
    assert ("healthy", True, []) == (shown["health"], shown["ready"], shown["problems"])
    sdk = shown["sdks"][0]
    assert ("shop", "file", "healthy", True) == (sdk["id"], sdk["source"], sdk["health"], sdk["last_fetch"]["ok"])
    assert (3, 0, [], None) == (sdk["flags"], sdk["failing_flags"], sdk["failing"], sdk["held"])
    assert (16, False) == (len(sdk["config"]["tag"]), sdk["config"]["stale"])
    wanted = console.gateway.settings["workers"]
    assert (list(range(1, wanted + 1)) if wanted > 1 else []) == [each["number"] for each in shown["workers"]]
    assert all(each["listening"] and each["responding"] and each["pid"] for each in shown["workers"])


def test_problems_come_with_a_command(console: Console) -> None:
    """A config that loses all flags is held; the command accepts it."""
    flags = {f"flag{number}": {"t": 1, "v": {"s": "x"}} for number in range(30)}
    console.publish(shop("before") | {"f": flags})
    eventually(lambda: console.sdk()["flags"] == 30)
    console.publish(shop("before") | {"f": {}})
    eventually(lambda: console.api.get("/overview")["problems"])
    shown = console.api.get("/overview")
    held = shown["sdks"][0]["held"]
    assert (0, 30) == (held["flags"], held["removed"])
    assert ["flaggateway configs accept shop"] == [each["command"] for each in shown["problems"]]
    assert "a config is held" in shown["summary"]
    accept = urllib.request.Request(f"{console.gateway.diag}/configs/shop/accept", data=b"", method="POST")
    assert 200 == urllib.request.urlopen(accept, timeout=15).status
    eventually(lambda: not console.api.get("/overview")["problems"])
    console.publish(shop("before") | {"f": shop("before")["f"] | {"broken": {"t": 1}}})
    eventually(lambda: console.sdk()["failing_flags"] == 1)
    assert "broken" == console.sdk()["failing"][0]["key"]
    console.publish(shop("before"))
    eventually(lambda: (console.sdk()["flags"], console.api.get("/overview")["problems"]) == (3, []))


def test_an_explanation_is_that_of_the_command_line(console: Console) -> None:
    """The same text for the same user; attributes that the request lacks have the defaults of the settings."""
    console.serve(shop("before"))
    body = {"sdk": "shop", "key": "banner", "user": GERMAN}
    answer = console.api.post("/explain", body)
    command = [str(Path(sys.executable).with_name("flaggateway")), "explain", "--config-json", str(console.config)]
    printed = subprocess.run(
        [*command, "--user", json.dumps(GERMAN), "banner"], capture_output=True, text=True, timeout=60, check=True
    )
    (explained,) = answer["explained"]
    assert printed.stdout.strip() == explained["text"]
    assert ("before", "v-before", "rule 1") == (
        explained["value"],
        explained["variationId"],
        explained["decided_by"],
    )
    assert console.sdk()["config"]["tag"] == answer["config"]
    (explained,) = console.api.post("/explain", {"sdk": "shop", "key": "banner"})["explained"]
    assert "it is 'France'" in explained["text"]


def test_two_users_are_compared(console: Console) -> None:
    """The first decision that differs, per flag."""
    body = {"sdk": "shop", "keys": ["limit", "banner"], "user": GERMAN, "compare": {"user": FRENCH}}
    same, other = console.api.post("/explain", body)["compared"]
    assert (None, 3) == (same["difference"], same["other"]["value"])
    assert ["rule 1", "condition 1"] == other["difference"]["place"]
    assert "elsewhere" == other["other"]["value"]


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"sdk": "nowhere"}, 404, "no SDK 'nowhere'"),
        ({"key": "baner"}, 404, "did you mean 'banner'?"),
        ({"keys": ["banner"]}, 400, "either key or keys"),
        ({"user": {"Age": None}}, 400, "'Age' has an invalid type"),
        ({"at": "2026-01-01"}, 400, "the history of SDK shop begins at"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_what_cannot_be_explained(console: Console, change: dict[str, Any], code: int, part: str) -> None:
    """The error names the reason."""
    assert part in console.api.post("/explain", {"sdk": "shop", "key": "banner"} | change, code)["error"]


def test_the_last_hour_is_a_series_of_points(console: Console) -> None:
    """Each point has memory and processor time of all processes; ``since`` leaves out older ones."""
    eventually(lambda: console.api.get("/series")["points"])
    answer = console.api.get("/series")
    assert 5.0 == answer["interval_seconds"]
    assert all(point["memory_bytes"] > 2**20 and point["processor"] >= 0 for point in answer["points"])
    assert "shop" == answer["changes"][0]["sdk"]
    assert [] == console.api.get("/series?since=2100-01-01")["points"]
    assert 400 == console.api.ask("GET", "/series?since=yesterday")[0]


class Events:
    """A stream of events of the API, read line by line."""

    def __init__(self, console: Console, last: str = "") -> None:
        headers = {"Last-Event-ID": last} if last else {}
        request = urllib.request.Request(f"{console.gateway.diag}/api/v1/events", headers=headers)
        self.answer = urllib.request.urlopen(request, timeout=60)
        self.last = ""

    def next(self, kind: str) -> Any:
        """Return the data of the next event of a kind."""
        name = ""
        for line in self.answer:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                self.last = value
            elif field == "data" and name == kind:
                return json.loads(value)
        raise AssertionError(f"the stream ended without {kind}")


def test_events_show_what_happens_and_resume(console: Console) -> None:
    """A change is shown with its push; a client that comes back gets what it missed, and not what it had."""
    events = Events(console)
    assert "text/event-stream" == events.answer.headers["Content-Type"]
    known = events.next("config")["config"]
    console.publish(shop("of an event"))
    while (shown := events.next("config"))["config"] == known:
        pass
    assert ("shop", 3) == (shown["sdk"], shown["flags"])
    assert "shop" == events.next("push")["sdk"]
    events.answer.close()
    console.publish(shop("missed"))
    eventually(lambda: console.sdk()["config"]["tag"] not in {known, shown["config"]})
    resumed = Events(console, events.last)
    assert console.sdk()["config"]["tag"] == resumed.next("config")["config"]
    resumed.answer.close()


def open_streams(console: Console, streams: Streams, users: list[dict[str, str]]) -> list[Stream]:
    """Open a stream of all flags for each user, and wait for the first event of each."""
    opened = [streams.open(console.gateway.port, stream_path("shop", user)) for user in users]
    streams.read_until(lambda: all(stream.payloads for stream in opened), 60)
    return opened


def test_the_impact_of_a_flag_is_what_then_happens(console: Console) -> None:
    """The number of users with other values is that of the users who get an event once the config is applied."""
    console.serve(shop("before"))
    users = [{"Identifier": f"user-{number}", "Country": ("Germany", "France")[number % 2]} for number in range(9)]
    after = shop("after")
    streams = Streams()
    try:
        opened = open_streams(console, streams, [*users, users[0]])
        for user in users[:4]:
            path = "/api/shop/eval"
            assert 200 == console.gateway.post(path, json.dumps({"key": "limit", "user": user}).encode())[0]
        shown = console.api.get("/streams")
        assert (10, 0, 0, {("shop", None, "plain")}) == (
            shown["open"],
            shown["paused"],
            shown["missing_workers"],
            {(each["sdk"], each["flag"], each["mode"]) for each in shown["streams"]},
        )
        assert sum(each["users"] for each in shown["streams"]) in {9, 10}  # both streams of a user may be in one worker
        by_flag = console.api.post(
            "/impact", {"sdk": "shop", "flag": {"key": "banner", "definition": after["f"]["banner"]}}
        )
        assert by_flag["connected"] == console.api.post("/impact", {"sdk": "shop", "config": after})["connected"]
        connected = by_flag["connected"]
        assert (9, 9, 5, 10, 6) == tuple(
            connected[name] for name in ("total", "examined", "changed", "streams", "changed_streams")
        )
        (flag,) = connected["flags"]
        assert "banner" == flag["key"]
        assert [("before", "after")] == [
            (change["before"]["value"], change["after"]["value"]) for change in flag["changes"]
        ]
        assert {("u…", "Germany")} == {
            (each["identifier"], each["attributes"].get("Country")) for each in connected["examples"]
        }
        assert {"Country"} == {name for each in connected["examples"] for name in each["attributes"]}
        assert 1 <= by_flag["sample"]["total"] <= 5  # one user is of another test
        assert 0 == by_flag["missing_workers"]
        console.publish(after)
        streams.read_until(lambda: sum(len(stream.payloads) == 2 for stream in opened) == 6, 60)
        assert [2, 1, 2, 1, 2, 1, 2, 1, 2, 2] == [len(stream.payloads) for stream in opened]
    finally:
        streams.close()


def test_the_impact_since_an_earlier_moment(console: Console) -> None:
    """What has changed since for the users of now, in all processes; also for a flag as it was then."""
    console.serve(shop("earlier"))
    eventually(lambda: console.api.get("/changes?limit=1")["changes"][0]["config"] == console.sdk()["config"]["tag"])
    earlier = str(console.api.get("/changes?limit=1")["changes"][0]["id"])
    console.serve(shop("later"))
    streams = Streams()
    try:
        open_streams(console, streams, [GERMAN, GERMAN, GERMAN, FRENCH])
        found = console.api.post("/impact", {"sdk": "shop", "at": earlier})
        assert ["banner"] == found["changed"]
        (flag,) = found["connected"]["flags"]
        (change,) = flag["changes"]
        assert ("earlier", "later", 1) == (change["before"]["value"], change["after"]["value"], change["users"])
        assert found["config"] != found["candidate"] == console.sdk()["config"]["tag"]
        banner = {"key": "banner", "definition": shop("earlier")["f"]["banner"]}
        again = console.api.post("/impact", {"sdk": "shop", "at": earlier, "flag": banner})
        assert 0 == again["connected"]["changed"]
        assert 400 == console.api.ask("POST", "/impact", b'{"sdk": "shop", "at": "1970-01-01"}')[0]
    finally:
        streams.close()


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"sdk": "nowhere"}, 404, "no SDK 'nowhere'"),
        ({"config": {"f": None}}, 400, "has no flags"),
        ({"config": []}, 400, "unexpected shape"),
        ({"flag": {"key": "banner", "definition": None}}, 400, "either config or flag"),
        ({"config": {"f": {}}, "other": 1}, 400, "other"),
    ],
)
def test_what_cannot_be_predicted(console: Console, change: dict[str, Any], code: int, part: str) -> None:
    """The error names the reason."""
    assert part in console.api.post("/impact", {"sdk": "shop", "config": shop("x")} | change, code)["error"]


def test_users_are_revealed_with_headers_only(console: Console) -> None:
    """A caller on this machine without ``diag.auth_headers`` sees no identifiers."""
    answer = console.api.post("/impact?reveal=1", {"sdk": "shop", "config": shop("x")}, 403)
    assert "set diag.users or diag.auth_headers" in answer["error"]


def test_a_change_has_words_definitions_and_reach(console: Console) -> None:
    """Without webhooks: who got it and how long that took, in all processes; the number is good as ``at``."""
    console.serve(shop("before"))
    users = [{"Identifier": f"reach-{number}", "Country": ("Germany", "France")[number % 2]} for number in range(8)]
    streams = Streams()
    try:
        opened = open_streams(console, streams, [*users, users[0]])
        eventually(lambda: console.sdk()["streams"] == 9)  # workers report each second
        events = Events(console)
        events.next("config")
        config = shop("reaching")
        config["f"]["banner"]["r"][0]["c"][0]["u"]["s"] = "Germany"
        console.publish(config)
        streams.read_until(lambda: sum(len(stream.payloads) == 2 for stream in opened) == 5, 60)
        tag = ended_push(events, 5)["config"]
        events.answer.close()
        eventually(lambda: console.api.get("/changes?limit=1")["changes"][0]["config"] == tag)
        (change,) = console.api.get("/changes?sdk=shop&limit=1")["changes"]
        assert [("banner", "updated", "rule 1: before → reaching")] == [
            (each["key"], each["act"], each["text"]) for each in change["flags"]
        ]
        assert (1, "file", None) == (change["flag_count"], change["source"], change["record"])
        reach = change["reach"]
        workers = console.gateway.settings["workers"]
        assert (9, 5, 0, workers, workers, False) == tuple(
            reach[name]
            for name in ("open_streams", "streams", "paced_streams", "processes", "expected_processes", "replaced")
        )
        assert reach["users"] in {4, 5}  # both streams of a user may be in one worker
        assert 0 <= reach["first_seconds"] <= reach["p50_seconds"] <= reach["p99_seconds"] <= reach["last_seconds"]
        details = console.api.get(f"/changes/{change['id']}")
        (flag,) = details["definitions"]
        before, after = (flag[side]["r"][0]["s"]["v"]["s"] for side in ("before", "after"))
        assert ("before", "reaching", None) == (before, after, details["deliveries"])
        body = {"sdk": "shop", "key": "banner", "user": GERMAN, "at": str(change["id"])}
        assert "reaching" == console.api.post("/explain", body)["explained"][0]["value"]
    finally:
        streams.close()


def ended_push(events: Events, streams: int) -> Any:
    """Return the event of the end of the push that reached so many streams."""
    while True:
        push = events.next("push")
        if push["state"] == "ended" and push["reach"]["streams"] == streams:
            return push


def test_clients_are_shown(console: Console) -> None:
    """User agent and SDK, requests by route, a flag that does not exist, and those that no request has named."""
    console.serve(shop("before"))
    headers = {"User-Agent": "shop-page/1.5", "X-ConfigCat-UserAgent": "ConfigCat-JS/a-9.5.1"}

    def evaluated(key: str) -> int:
        body = json.dumps({"key": key, "user": FRENCH}).encode()
        url = f"http://127.0.0.1:{console.gateway.port}/api/shop/eval"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def seen() -> bool:
        assert 200 == evaluated("banner")
        agents = console.api.get("/clients")["agents"]
        return ("shop-page/1.5", "ConfigCat-JS/a-9.5.1") in {(each["user_agent"], each["sdk"]) for each in agents}

    eventually(seen)
    assert 400 == evaluated("baner")
    shown = console.api.get("/clients")
    assert "baner" in {each["key"] for each in shown["unknown_flags"]}
    (unasked,) = shown["unasked_flags"]
    assert ("shop", True, False) == (unasked["sdk"], "checkout" in unasked["flags"], "banner" in unasked["flags"])
    assert (unasked["count"], 0) == (len(unasked["flags"]), shown["missing_workers"])

    def counted() -> bool:
        routes = {each["route"]: each for each in console.api.get("/clients")["routes"]}
        route = routes.get("/api/{sdkId}/eval")
        return bool(route and route["requests"] > route["client_errors"] > 0 and 0 < route["error_rate"] < 1)

    eventually(counted)  # workers report each second


class Tail:
    """A tail of one user's streams, read line by line."""

    def __init__(self, console: Console, body: Any) -> None:
        url = f"{console.gateway.diag}/api/v1/streams/tail"
        self.answer = urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=60)

    def next(self, kind: str) -> Any:
        """Return the data of the next event, which must be of this kind."""
        for line in self.answer:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                assert kind == value
            elif field == "data":
                return json.loads(value)
        raise AssertionError(f"the stream ended without {kind}")


def test_a_tail_shows_what_a_user_is_sent_and_why(console: Console) -> None:
    """Values and rules before and after, with the id of the change; nothing of other users; in all processes."""
    console.serve(shop("before"))
    streams = Streams()
    user = GERMAN | {"Identifier": "tailed"}
    tail = Tail(console, {"sdk": "shop", "user": {"Identifier": "tailed"}})
    try:
        counted = [tail.next("open")["streams"] for _ in range(console.gateway.settings["workers"])]
        assert counted == [0] * len(counted)
        open_streams(console, streams, [FRENCH, user])
        opened = tail.next("values")
        assert (1, "plain", {"banner", "checkout", "limit"}) == (
            opened["streams"],
            opened["mode"],
            {each["key"] for each in opened["flags"]},
        )
        console.publish(shop("tailed"))
        event = tail.next("changes")
        (flag,) = event["flags"]
        assert ("banner", "before", "tailed") == (flag["key"], flag["before"]["value"], flag["after"]["value"])
        rule = "rule 1: User.Country EQUALS 'Germany'"
        assert (rule, rule, 0) == (flag["decided_before"], flag["decided_after"], event["missed"])
        change = console.api.get(f"/changes/{event['change']}")
        after = change["definitions"][0]["after"]["r"][0]["s"]["v"]["s"]
        assert (event["config"], "tailed") == (change["config"], after)
    finally:
        tail.answer.close()
        streams.close()


def test_what_cannot_be_tailed(console: Console) -> None:
    """No user, an unknown SDK, too many tails; attributes in the URL are refused."""
    body = {"sdk": "shop", "user": {"Identifier": "anna"}}
    assert "no attribute" in console.api.post("/streams/tail", body | {"user": {}}, 400)["error"]
    assert "no SDK" in console.api.post("/streams/tail", body | {"sdk": "nowhere"}, 404)["error"]
    assert "invalid type" in console.api.post("/streams/tail", body | {"user": {"Age": None}}, 400)["error"]
    assert 400 == console.api.ask("POST", "/streams/tail?Identifier=anna", json.dumps(body).encode())[0]
    assert 405 == console.api.ask("GET", "/streams/tail?sdk=shop&Identifier=anna")[0]
    tails = [Tail(console, body) for _ in range(10)]
    assert "which is the limit" in console.api.post("/streams/tail", body, 503)["error"]
    for tail in tails:
        tail.answer.close()
    again: list[Tail] = []

    def opened() -> bool:
        with suppress(urllib.error.HTTPError):
            again.append(Tail(console, body))
        return bool(again)

    eventually(opened)
    again[0].answer.close()


def test_changes_that_cannot_be_shown(console: Console) -> None:
    """An unknown number is 404, an invalid query 400; a page goes on where the one before has ended."""
    console.serve(shop("one"))
    console.serve(shop("two"))
    eventually(lambda: len(console.api.get("/changes")["changes"]) >= 2)
    first = console.api.get("/changes?limit=1")
    second = console.api.get(f"/changes?limit=1&before={first['next']}")
    assert first["changes"][0]["before"] == second["changes"][0]["config"]
    assert [] == console.api.get("/changes?since=2100-01-01")["changes"]
    for path, code in (
        ("/changes/0", 404),
        ("/changes/banner", 404),
        ("/changes/99999999999999999999", 404),
        ("/changes?sdk=nowhere", 404),
        ("/changes?limit=101", 400),
        ("/changes?before=x", 400),
    ):
        assert code == console.api.ask("GET", path)[0], path


def test_deliveries_are_part_of_the_api(gateway_process: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    """They answer as the pages without the prefix, and errors have the same form; a change has its deliveries."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(shop("before")), "utf-8")
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(config)}}}
    webhook = {"name": "ops", "url": f"http://127.0.0.1:{unused_port()}/"}
    gateway = gateway_process({"sdks": {"shop": sdk}, "webhooks": [webhook]})
    scene = Console(gateway, config)
    scene.api = ApiClient(gateway)
    assert [] == scene.api.get("/changes?sdk=shop")["changes"]
    scene.publish(shop("after"))
    eventually(lambda: [each for each in scene.api.get("/changes")["changes"] if each["record"]])
    (change,) = scene.api.get("/changes")["changes"]
    (recorded,) = json.loads(gateway.get("/changes", diag=True)[1])["changes"]
    assert ("shop", recorded["id"]) == (change["sdk"], change["record"])
    ((endpoint, messages),) = [
        (each["endpoint"], each["messages"]) for each in scene.api.get(f"/changes/{change['id']}")["deliveries"]
    ]
    assert ("ops", len(scene.api.get("/deliveries")["deliveries"])) == (endpoint, messages)
    eventually(lambda: scene.api.get("/deliveries?state=pending&limit=5")["deliveries"])
    delivery = scene.api.get("/deliveries")["deliveries"][0]
    (shown,) = scene.api.get(f"/deliveries/{delivery['id']}")["deliveries"]
    assert (delivery["id"], "ops", None) == (shown["id"], shown["endpoint"], shown["body"])
    assert "no message none" in scene.api.post("/deliveries/none/retry", {}, 404)["error"]
    assert "not one of" in json.loads(scene.api.ask("GET", "/deliveries?state=lost")[1])["error"]
    events = Events(scene)
    assert "shop" == events.next("config")["sdk"]
    assert 0 == gateway.stop()
    assert b"" == events.answer.read().rpartition(b"\n")[2]  # the stream has ended, behind a complete line
    assert [] == [line for line in gateway.logs().splitlines() if "Traceback" in line or "[error]" in line]
