"""Redis, PostgreSQL, three gateways and nginx with the files that docs/many-nodes.md shows, without containers."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import open_browser
from cdn_stand_in import SDK_KEY, CdnStandIn
from compose import Compose
from console_page import AXE, ConsolePage
from eventually import eventually
from outside_tools import find_tool, missing
from receiver import Receiver
from shop import GERMAN, shop
from streams import Streams, stream_path
from tracked import ROOT

pytestmark = pytest.mark.timeout(300)  # seconds; the first test also starts all servers

FOLDER = ROOT / "etc/compose/many-nodes"
WAIT = 60.0  # seconds; what is awaited takes about one on an idle machine, after a kill up to four
EVAL = json.dumps({"key": "banner", "user": GERMAN}).encode()


class Scene:
    """What the compose file starts, behind one CDN and with one receiver of webhooks."""

    def __init__(self, compose: Compose, cdn: CdnStandIn, receiver: Receiver) -> None:
        self.compose = compose
        self.cdn = cdn
        self.receiver = receiver

    def value(self) -> str:
        """Return the value of the flag for a German, through nginx."""
        return str(json.loads(self._post("eval", EVAL))["value"])

    def change(self, value: str) -> None:
        """Change the flag; a request through nginx lets some node fetch it, as the hook of ConfigCat would."""
        self.cdn.set(shop(value))
        self._post("refresh", b"")

    def begin(self, value: str) -> None:
        """Have all gateways run and serve this value."""
        self.change(value)
        eventually(lambda: {value} == {self.serves(name) for name in self.compose.gateways}, self.logs, limit=WAIT)

    def serves(self, name: str) -> str:
        """Return the value of the flag at one gateway."""
        return str(json.loads(self._post("eval", EVAL, self.compose.ports[name]))["value"])

    def overview(self, name: str) -> dict[str, Any]:
        """Return what the console of a gateway shows first."""
        return self._get(name, "overview")

    def all_delivered(self) -> bool:
        """Whether no message waits, as a gateway that runs shows it."""
        return [] == self._get(self.compose.running()[0], "deliveries?state=pending")["deliveries"]

    def logs(self) -> str:
        return self.compose.logs()

    def _get(self, name: str, path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.compose.diag_ports[name]}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=15) as answer:
            return dict(json.load(answer))

    def _post(self, route: str, body: bytes, port: int = 0) -> bytes:
        url = f"http://127.0.0.1:{port or self.compose.port}/api/shop/{route}"
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=15) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, postgres_server: Any) -> Iterator[Scene]:
    """Everything, which the tests of this module share; a test that kills a gateway starts it again."""
    find_tool("nginx")
    with CdnStandIn(shop("first")) as cdn, Receiver() as receiver, contextlib.ExitStack() as stack:
        variables = {"SDK_KEY": SDK_KEY, "POSTGRES_PASSWORD": "secret"}
        replaced = {
            "https://ops.example.com/hook": receiver.url,
            "172.28.0.10/32": "127.0.0.1/32",
            "poll_interval: 30 ": f"base_url: {cdn.url}\n    poll_interval: 30 ",
        }
        compose = Compose(FOLDER, tmp_path_factory.mktemp("compose"), variables, replaced, postgres_server)
        stack.callback(compose.close)
        compose.start()
        yield Scene(compose, cdn, receiver)


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    with contextlib.closing(Streams()) as group:
        yield group


def test_a_client_behind_nginx_gets_each_change_while_nodes_die(scene: Scene, streams: Streams) -> None:
    """A flag and a stream through nginx; the node of the stream is killed, and each message is sent once."""
    scene.begin("before")
    eventually(scene.all_delivered, scene.logs, limit=WAIT)
    sent = len(scene.receiver.taken)
    assert "before" == scene.value()
    path = stream_path("shop", GERMAN, "banner")
    stream = streams.open(scene.compose.port, path)
    streams.read_until(lambda: stream.payloads, WAIT)
    scene.change("one")
    streams.read_until(lambda: "one" == stream.payloads[-1]["value"], WAIT)
    (victim,) = [name for name in scene.compose.gateways if scene.overview(name)["streams"]]
    eventually(lambda: updates(scene, sent) == {"one": 1} and scene.all_delivered(), scene.logs, limit=WAIT)
    scene.compose.kill(victim)  # with no message in flight, which would be sent once more
    try:
        streams.read_until(lambda: stream.ended, WAIT)
        again = streams.open(scene.compose.port, path, headers=f"Last-Event-ID: {stream.ids[-1]}\r\n")
        streams.read_until(lambda: again.status == 200, WAIT)
        scene.change("two")
        streams.read_until(lambda: again.payloads and "two" == again.payloads[-1]["value"], WAIT)
        assert ["two"] == [payload["value"] for payload in again.payloads if payload["value"] != "one"]
        others = [name for name in scene.compose.gateways if name != victim]
        eventually(lambda: {"two"} == {scene.serves(name) for name in others}, scene.logs, limit=WAIT)
        assert ["two"] * 6 == [scene.value() for _ in range(6)]
        eventually(lambda: "two" in updates(scene, sent) and scene.all_delivered(), scene.logs, limit=WAIT)
    finally:
        scene.compose.start_gateway(victim)
        scene.compose.wait_for(victim)
    assert {"one": 1, "two": 1} == updates(scene, sent)
    assert 1 == max(Counter(call.id for call in scene.receiver.taken).values())


def updates(scene: Scene, start: int) -> Counter[str]:
    """Return how often the receiver has got each new value of the flag."""
    messages = [json.loads(call.body) for call in scene.receiver.taken[start:]]
    flags = [message["data"]["newValue"] for message in messages if message["type"] == "FLAG_UPDATED"]
    return Counter(flag["r"][0]["s"]["v"]["s"] for flag in flags)


def test_the_console_shows_the_cluster(scene: Scene, tmp_path: Path) -> None:
    """Each node with its config and its age, which one polls, how late changes arrive, who delivers; light and dark."""
    if not AXE.exists():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    scene.begin("shown")
    name = scene.compose.gateways[0]

    def complete() -> bool:
        nodes = (scene.overview(name)["cluster"] or {"nodes": []})["nodes"]
        sdks = [sdk for node in nodes for sdk in node["sdks"]]
        return len(sdks) == 3 and len({sdk["config"] for sdk in sdks}) == 1 and sum(sdk["polls"] for sdk in sdks) == 1

    eventually(complete, lambda: json.dumps(scene.overview(name)["cluster"]), limit=WAIT)
    browser = open_browser(tmp_path)
    try:
        page = ConsolePage(browser)
        browser.get(f"http://127.0.0.1:{scene.compose.diag_ports[name]}/#/now")
        tag = scene.overview(name)["sdks"][0]["config"]["tag"][:8]
        eventually(lambda: scene.overview(name)["cluster"]["leases"], limit=WAIT)
        (lease,) = scene.overview(name)["cluster"]["leases"]
        assert ("ops", True) == (lease["endpoint"], bool(lease["node"]))
        page.shows(
            "Cluster",
            f"3 nodes, this is {name}",
            *scene.compose.gateways,
            tag,
            "polls",
            "serves",
            "Delivered by",
            "ops",
        )
        for size, scheme in (("desktop", "light"), ("telephone", "dark")):
            page.look(size, scheme)
            assert [] == page.faults(), (size, scheme)
        assert [] == page.severe()
    finally:
        browser.quit()
