"""The client with signed users: tokens that end, tokens that are refused, and 200 users of one gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from browser import open_browser
from child_lines import ChildLines
from client_package import VERSION
from client_page import SIGNED, SLOW, Issuer, ShopGateway, Tabs, streams_begun
from eventually import eventually
from jumping_clock import JumpingClock
from shop import shop
from tokens import SECRET, user_token
from tracked import ROOT

HERE = Path(__file__).resolve().parent
USERS = 200


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> JumpingClock:
    """Return the clock of the gateway."""
    return JumpingClock(tmp_path_factory.mktemp("clock") / "site")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, clock: JumpingClock) -> Iterator[ShopGateway]:
    """Return a running gateway that believes only tokens."""
    scene = ShopGateway(tmp_path_factory.mktemp("shop"), env=clock.env, sse={"users": "signed"}, **SIGNED)
    try:
        scene.gateway.start()
        yield scene
    finally:
        scene.gateway.kill()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Return one headless Chromium for the module's tests."""
    browser = open_browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture
def scene(running: ShopGateway, chromium: Chrome) -> Iterator[tuple[ShopGateway, Tabs, Issuer]]:
    """Return the gateway, a browser without tabs and stored values, and an issuer of tokens."""
    running.begin()
    with Issuer() as issuer:
        tabs = Tabs(chromium, issuer, running.gateway)
        tabs.close_all()
        yield running, tabs, issuer
        tabs.close_all()


def test_a_stream_outlives_its_token(scene: tuple[ShopGateway, Tabs, Issuer], clock: JumpingClock) -> None:
    """When the token ends, the page gets another one and resumes: no error, no value twice, and changes arrive."""
    shop_gateway, tabs, issuer = scene
    before = streams_begun(shop_gateway.gateway)
    tab = tabs.open(name="anna", user=None)
    tabs.expect(tab, "before")
    issuer.ahead = 3600
    clock.set(3600)
    try:
        eventually(lambda: streams_begun(shop_gateway.gateway) == before + 2, limit=SLOW)
        shop_gateway.show("after")
        tabs.expect(tab, "before", "after")
        assert 2 == issuer.issued
        assert [] == tabs.read(tab, "window.errors")
    finally:
        clock.set(0)


def test_a_refused_token_is_reported(scene: tuple[ShopGateway, Tabs, Issuer]) -> None:
    """A page of another origin reads the gateway's reason; with a good token it has its values."""
    _, tabs, issuer = scene
    issuer.key = SECRET[::-1]
    tab = tabs.open(name="anna", user=None)
    eventually(lambda: tabs.read(tab, "window.errors"), limit=SLOW)
    assert "token" == tabs.read(tab, "window.errors[0][0]")
    assert tabs.read(tab, "window.errors[0][1]").startswith("401 ")
    assert [] == tabs.read(tab, "window.seen")
    issuer.key = SECRET
    tabs.read(tab, "dispatchEvent(new Event('online'))")  # instead of a pause of up to ten seconds
    tabs.expect(tab, "before")


def test_of_200_users_none_sees_the_value_of_another(tmp_path: Path, node: str) -> None:
    """Each has a flag value of its own; all clients run in one process, as tabs of one browser would."""
    scene = ShopGateway(tmp_path, sse={"users": "signed"}, **SIGNED)
    names = [f"user-{number}" for number in range(USERS)]
    config = shop("before")
    rules = [
        {"c": [{"u": {"a": "Identifier", "c": 28, "s": name}}], "s": {"v": {"s": name}, "i": f"v-{name}"}}
        for name in names
    ]
    config["f"]["banner"]["r"] = rules
    scene.write(config)
    tokens = [user_token(name) for name in names]
    client = ROOT / "gateway" / "web" / "browser" / f"client-{VERSION}.js"
    try:
        scene.gateway.start()
        (tmp_path / "tokens.json").write_text(json.dumps(tokens), "utf-8")
        program = [node, "clients/identities.mjs", str(client), scene.gateway.url, str(tmp_path / "tokens.json")]
        with ChildLines(program, cwd=HERE) as child:
            assert [[name] for name in names] == child.next()
            for rule in rules:
                rule["s"]["v"]["s"] += "-after"
            scene.write(config)
            assert [[name, f"{name}-after"] for name in names] == child.next()
    finally:
        scene.gateway.kill()
