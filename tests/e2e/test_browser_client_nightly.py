"""The client in Chromium and in Firefox: twelve tabs, and what networks, clocks and sleeping machines do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from browser import Origin, open_browser
from client_page import SIGNED, SLOW, Issuer, ShopGateway, Tabs, open_streams, page_origin, streams_begun
from eventually import eventually
from firefox import Firefox
from jumping_clock import JumpingClock
from relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAY = 86_400
Opened = tuple[Any, int]  # a browser, and its process
Scene = tuple[ShopGateway, Tabs]


def _chromium(profile: Path) -> Opened:
    browser = open_browser(profile)
    return browser, int(browser.service.process.pid)


def _firefox(profile: Path) -> Opened:
    browser = Firefox(profile)
    return browser, browser.process.pid


@pytest.fixture(scope="module", params=[_chromium, _firefox], ids=["chromium", "firefox"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Return a browser for the module's tests."""
    start: Callable[[Path], Opened] = request.param
    browser, process = start(tmp_path_factory.mktemp("profile"))
    yield browser, process
    browser.quit()


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """Return the origin of the page."""
    with page_origin() as pages:
        yield pages


@pytest.fixture
def scene(opened: Opened, origin: Origin, tmp_path: Path) -> Iterator[Scene]:
    """Return a running gateway and a browser without stored values."""
    shop = ShopGateway(tmp_path)
    try:
        shop.gateway.start()
        tabs = Tabs(opened[0], origin, shop.gateway)
        tabs.close_all()
        yield shop, tabs
        tabs.close_all()
    finally:
        shop.gateway.kill()


def test_twelve_tabs_have_one_stream(scene: Scene) -> None:
    """Every tab sees every change, also when the tab that reads the stream is closed, again and again."""
    shop, tabs = scene
    opened = [tabs.open() for _ in range(12)]
    for tab in opened:
        tabs.expect_last(tab, "before")
    assert (1, 1) == (open_streams(shop.gateway), streams_begun(shop.gateway))
    for number in range(1, 12):
        tabs.close(opened.pop(0))
        eventually(lambda number=number: streams_begun(shop.gateway) == 1 + number, limit=SLOW)
        shop.show(f"after-{number}")
        for tab in opened:
            tabs.expect_last(tab, f"after-{number}")
        assert 1 == open_streams(shop.gateway)
    assert [] == tabs.read(opened[0], "window.errors")


def test_a_page_survives_restarts(scene: Scene) -> None:
    """A stop, a kill, and a time without a gateway: the new value arrives each time."""
    shop, tabs = scene
    opened = [tabs.open() for _ in range(3)]
    for number, end in enumerate([shop.gateway.stop, shop.gateway.kill]):
        for tab in opened:
            tabs.expect_last(tab, "before" if not number else "after-0")
        end()
        Event().wait(number * 15)  # several attempts fail
        shop.show(f"after-{number}")
        shop.gateway.restart()
    for tab in opened:
        tabs.expect_last(tab, "after-1")
    assert {"connection"} >= {code for tab in opened for code, _ in tabs.read(tab, "window.errors")}


@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_a_page_without_a_network_comes_back(scene: Scene, how: str) -> None:
    """Connections that end, and connections that only fall silent: when the network is back, so are the values."""
    shop, tabs = scene
    with Relay(shop.gateway.port) as relay:
        tabs.gateway_url = relay.url
        tab = tabs.open()
        tabs.expect(tab, "before")
        getattr(relay, how)()
        shop.show("after")
        Event().wait(10)
        tabs.expect(tab, "before")
        if how == "cut":
            relay.mend()
            tabs.expect(tab, "before", "after")
        else:
            # The network is back, but the old connection is dead without a sign: silence for 70 s reveals it.
            relay.forget()
            eventually(lambda: tabs.read(tab, "window.seen.at(-1)") == "after", limit=150)


def test_a_browser_that_slept_for_a_minute_has_the_newest_value(opened: Opened, scene: Scene) -> None:
    """Nothing of the browser runs for 60 s, in which two changes are made."""
    shop, tabs = scene
    tab = tabs.open()
    tabs.expect(tab, "before")
    processes = family_of(opened[1])
    try:
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        shop.show("after")
        Event().wait(60)
        shop.show("later")
        eventually(lambda: shop.serves("later"), limit=SLOW)
    finally:
        for each in reversed(processes):
            os.kill(each, signal.SIGCONT)
    tabs.expect_last(tab, "later")


@pytest.mark.parametrize("skew", [-DAY, DAY], ids=["a day behind", "a day ahead"])
def test_the_clock_of_the_browser_does_not_matter(scene: Scene, skew: int) -> None:
    """A page whose clock is a day off gets values and changes, and finds the gateway again."""
    shop, tabs = scene
    tab = tabs.open(skew=skew * 1000)
    tabs.expect(tab, "before")
    shop.show("after")
    tabs.expect(tab, "before", "after")
    shop.gateway.kill()
    shop.show("later")
    shop.gateway.restart()
    tabs.expect(tab, "before", "after", "later")


def test_a_stream_outlives_its_tokens(opened: Opened, tmp_path: Path) -> None:
    """Three tokens end: each is replaced, no value is lost or shown twice, and nothing is reported."""
    clock = JumpingClock(tmp_path / "clock")
    shop = ShopGateway(tmp_path, env=clock.env, sse={"users": "signed"}, **SIGNED)
    with Issuer() as issuer:
        tabs = Tabs(opened[0], issuer, shop.gateway)
        try:
            shop.gateway.start()
            tab = tabs.open(name="anna", user=None)
            tabs.expect(tab, "before")
            for number in range(1, 4):
                issuer.ahead = number * 3600
                clock.set(issuer.ahead)
                eventually(lambda number=number: streams_begun(shop.gateway) == 1 + number, limit=SLOW)
                shop.show(f"after-{number}")
                tabs.expect_last(tab, f"after-{number}")
            assert ["before", "after-1", "after-2", "after-3"] == tabs.read(tab, "window.seen")
            assert [] == tabs.read(tab, "window.errors")
            tabs.close_all()
        finally:
            shop.gateway.kill()


def test_a_page_that_is_open_for_days_goes_on(opened: Opened, origin: Origin, tmp_path: Path) -> None:
    """When the address of its stream has expired (410), it requests another one at once."""
    clock = JumpingClock(tmp_path / "clock")
    shop = ShopGateway(tmp_path, env=clock.env)
    tabs = Tabs(opened[0], origin, shop.gateway)
    try:
        shop.gateway.start()
        tab = tabs.open()
        tabs.expect(tab, "before")
        clock.set(2 * DAY)
        shop.gateway.kill()
        shop.show("after")
        shop.gateway.restart()
        tabs.expect(tab, "before", "after")
        tabs.close_all()
    finally:
        shop.gateway.kill()


def family_of(process: int) -> list[int]:
    """Return a process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text("utf-8", "replace").rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [process]
    for each in found:
        found += children.get(each, [])
    return found
