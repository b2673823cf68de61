"""The client for browsers in Chromium, in pages of another origin than the gateway's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from browser import Origin, open_browser
from client_page import SLOW, ShopGateway, Tabs, open_streams, page_origin, streams_begun
from eventually import eventually
from outside_tools import find_tool, run
from shop import FRENCH


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopGateway]:
    """Return a running gateway."""
    scene = ShopGateway(tmp_path_factory.mktemp("shop"))
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


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """Return the origin of the page."""
    with page_origin() as pages:
        yield pages


@pytest.fixture
def store(running: ShopGateway, chromium: Chrome, origin: Origin) -> Iterator[tuple[ShopGateway, Tabs]]:
    """Return the gateway with its first config, and a browser without tabs and stored values."""
    running.begin()
    tabs = Tabs(chromium, origin, running.gateway)
    tabs.close_all()
    eventually(lambda: open_streams(running.gateway) == 0, limit=SLOW)
    yield running, tabs
    tabs.close_all()


def test_tabs_share_a_stream(store: tuple[ShopGateway, Tabs]) -> None:
    """Three tabs have one stream; when the tab that reads it is closed, another goes on from its last event."""
    scene, tabs = store
    before = streams_begun(scene.gateway)
    opened = [tabs.open() for _ in range(3)]
    for tab in opened:
        tabs.expect_last(tab, "before")
    assert (1, 1) == (open_streams(scene.gateway), streams_begun(scene.gateway) - before)
    scene.show("after")
    for tab in opened:
        tabs.expect_last(tab, "after")
    tabs.close(opened[0])
    eventually(lambda: streams_begun(scene.gateway) == before + 2, limit=SLOW)
    scene.show("later")
    for tab in opened[1:]:
        tabs.expect_last(tab, "later")
    assert 1 == open_streams(scene.gateway)
    assert [] == tabs.read(opened[1], "window.errors")


def test_users_do_not_share_a_stream(store: tuple[ShopGateway, Tabs]) -> None:
    """Two tabs of different users have a stream each, and each sees its own values; attributes may be any text."""
    scene, tabs = store
    german = tabs.open(user={"Identifier": "李", "Country": "Germany"})
    french = tabs.open(user=FRENCH)
    tabs.expect(german, "before")
    tabs.expect(french, "elsewhere")
    assert 2 == open_streams(scene.gateway)
    scene.show("after")
    tabs.expect(german, "before", "after")
    tabs.expect(french, "elsewhere")


def test_the_next_page_has_the_last_values_at_once(store: tuple[ShopGateway, Tabs]) -> None:
    """After a reload the stored value is there first, stale, and the gateway confirms it without sending it."""
    _, tabs = store
    tab = tabs.open()
    tabs.expect(tab, "before")
    tabs.browser.refresh()
    tabs.expect(tab, ["before"], "before")
    stored = tabs.read(tab, "JSON.stringify(localStorage)")
    assert "before" in stored
    assert "anna" not in stored


def test_a_page_comes_back_from_the_back_forward_cache(store: tuple[ShopGateway, Tabs]) -> None:
    """Its stream ends when it is left; when it is restored, it sees what has changed meanwhile."""
    scene, tabs = store
    tab = tabs.open()
    tabs.expect(tab, "before")
    tabs.browser.execute_script("location.href = '/other'")
    eventually(lambda: open_streams(scene.gateway) == 0, limit=SLOW)
    scene.show("after")
    tabs.browser.back()
    tabs.expect_last(tab, "after")
    assert tabs.read(tab, "[window.restored, window.seen]") == [True, ["before", "after"]]


def test_a_page_of_another_origin_reads_the_reason_of_an_error(store: tuple[ShopGateway, Tabs]) -> None:
    """An unknown SDK, an unknown flag and refused attributes have a code and the gateway's text."""
    _, tabs = store
    unknown = tabs.open(sdk="nothing")
    refused = tabs.open(user={"Admin": True})
    for tab, code in ((unknown, "sdk"), (refused, "request")):
        eventually(lambda tab=tab: tabs.read(tab, "window.errors"), limit=SLOW)
        assert code == tabs.read(tab, "window.errors[0][0]")
        assert tabs.read(tab, "window.errors[0][1]").startswith(("404 ", "400 "))
    known = tabs.open()
    tabs.expect(known, "before")
    assert 7 == tabs.read(known, "window.flags.value('no-flag', 7)")
    eventually(lambda: tabs.read(known, "window.errors.length"), limit=SLOW)
    assert [["flag", "no-flag: no such flag"]] == tabs.read(known, "window.errors")


def test_a_proxy_may_begin_with_http2(running: ShopGateway) -> None:
    """Without TLS, curl gets the client over HTTP/2 that it begins itself, and over HTTP/1.1 as before."""
    url = f"{running.gateway.url}/client.js"
    command = [find_tool("curl"), "--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out"]
    for option, version in (("--http2-prior-knowledge", "2"), ("--http2", "1.1"), ("--http1.1", "1.1")):
        assert f"200 {version}" == run(*command, "%{http_code} %{http_version}", option, url)
