"""The pages of ``examples/`` in Chromium, with the demo's flags: each shows a value, and its change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from browser import Origin, open_browser
from client_package import build_examples, bundle
from eventually import eventually
from gateway_process import GatewayProcess
from outside_tools import find_tool
from tracked import ROOT

EXAMPLES = ROOT / "examples"
DEMO = (ROOT / "etc" / "demo" / "config.json").read_text("utf-8")
BEFORE, AFTER = '{"d": 39.0}', '{"d": 29.0}'  # freeShippingFrom for zoe in France

QUESTION = b'{"key":"freeShippingFrom","user":{"Identifier":"zoe","Country":"France"}}'


class Demo:
    """The demo gateway, whose config a test edits."""

    def __init__(self, home: Path) -> None:
        self.config = home / "config.json"
        self.show(BEFORE)
        sdk = {"key": "demo-key", "offline": {"enabled": True, "local": {"file_path": str(self.config)}}}
        self.gateway = GatewayProcess({"sdks": {"demo": sdk}, "http": {"sse": {"drain_window": 0}}}, home)

    def show(self, value: str) -> None:
        """Write the config with this value."""
        assert 1 == DEMO.count(BEFORE)
        fresh = self.config.with_suffix(".new")
        fresh.write_text(DEMO.replace(BEFORE, value), "utf-8")
        fresh.replace(self.config)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return a running demo gateway."""
    scene = Demo(tmp_path_factory.mktemp("demo"))
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
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """Return the origin that serves the examples with their bundles."""
    dist = build_examples(tmp_path_factory.mktemp("examples"))
    pages = {f"/{file.parent.name}/": ("text/html", file.read_bytes()) for file in EXAMPLES.glob("*/index.html")}
    scripts = {
        f"/dist/{each.relative_to(dist)}": ("text/javascript", each.read_bytes()) for each in dist.glob("*/*.js")
    }
    with Origin(pages | scripts) as origin:
        yield origin


def limit(browser: Chrome) -> str:
    """Return what the page shows."""
    found = browser.find_elements(By.ID, "limit")
    return found[0].text if found else ""


def watch(browser: Chrome, demo: Demo, url: str) -> None:
    """Open a page; it shows the value, and without another load its change."""
    demo.show(BEFORE)
    eventually(lambda: b'"value":39' in demo.gateway.post("/api/demo/eval", QUESTION)[1], limit=60)
    browser.get(url)
    eventually(lambda: limit(browser) == "39", lambda: f"({browser.page_source})", limit=60)
    demo.show(AFTER)
    eventually(lambda: limit(browser) == "29", lambda: f"({browser.page_source})", limit=60)


@pytest.mark.parametrize("name", ["openfeature", "react", "vanilla", "vue"])
def test_a_page_shows_a_value_and_its_change(chromium: Chrome, demo: Demo, site: Origin, name: str) -> None:
    """A page of another origin than the gateway's, with the packages that a user would install."""
    watch(chromium, demo, f"{site.url}/{name}/?{urlencode({'gateway': demo.gateway.url})}")


def test_every_example_is_tested() -> None:
    """No folder is left out."""
    folders = {file.parent.name for file in EXAMPLES.glob("*/*") if file.suffix in {".html", ".mjs"}}
    assert {"openfeature", "react", "vanilla", "vue", "server-rendered"} == folders


def test_react_takes_over_the_html_of_a_server(chromium: Chrome, demo: Demo, tmp_path: Path) -> None:
    """It renders the first values of the HTML, as hydration requires, then those that have come meanwhile."""
    script = bundle(ROOT / "tests" / "e2e" / "clients" / "hydration.jsx", tmp_path)
    html = b'<!doctype html><title>hydration</title><div id="root"></div><script src="/page.js"></script>'
    demo.show(AFTER)
    eventually(lambda: b'"value":29' in demo.gateway.post("/api/demo/eval", QUESTION)[1], limit=60)
    with Origin({"/": ("text/html", html), "/page.js": ("text/javascript", script)}) as origin:
        chromium.get(f"{origin.url}/?{urlencode({'gateway': demo.gateway.url})}")
        eventually(lambda: limit(chromium) == "29", lambda: f"({chromium.page_source})", limit=60)
        found = chromium.execute_script("return [window.rendered, window.live, window.problems]")
    assert ["45none", 29, []] == found


def test_a_rendered_page_goes_on_from_its_first_values(chromium: Chrome, demo: Demo) -> None:
    """The value is in the HTML; the stream of the page confirms it, and brings only the change."""
    env = os.environ | {"GATEWAY": demo.gateway.url, "PORT": "0"}
    command = [find_tool("node"), "server.mjs"]
    with subprocess.Popen(
        command, cwd=EXAMPLES / "server-rendered", env=env, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            watch(chromium, demo, url)
            chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
            chromium.get(url)
            assert "29" == limit(chromium)
        finally:
            chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
            server.kill()
