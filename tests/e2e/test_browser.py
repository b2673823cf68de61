"""Chromium, in a page of another origin, uses the gateway by EventSource and by the OFREP web provider."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from browser import Origin, open_browser
from cdn_stand_in import SDK_KEY
from eventually import eventually
from outside_tools import missing
from shop import GERMAN, shop

HERE = Path(__file__).resolve().parent

# As in the documentation's example: data by btoa, a plain EventSource, every message kept.
STREAM_PAGE = b"""<!doctype html><title>stream</title><script>
window.seen = [];
window.opens = 0;
window.listen = (base, path, rawData) => {
  window.source = new EventSource(base + path + btoa(JSON.stringify(rawData)));
  window.source.onopen = () => { window.opens += 1; };
  window.source.onmessage = (event) => { window.seen.push(JSON.parse(event.data).value); };
};
</script>"""


SHORT_URL = """
const [gateway, body, done] = arguments;
const headers = { "Content-Type": "application/json" };
const post = (path) => fetch(gateway + path, { method: "POST", headers, body });
(async () => {
  const answer = await post("/sse/shop/streams");
  const url = new URL((await answer.json()).url, answer.url);
  const mistakes = [post("/wrong/sse/shop/streams"), fetch(gateway + "/sse/shop/streams"), fetch(url + "x")];
  const wrong = await Promise.all(mistakes);
  window.source = new EventSource(url);
  window.source.onmessage = (event) => { window.seen.push(JSON.parse(event.data).value); };
  return [answer, ...wrong].map((each) => each.status);
})().then(done, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Return one headless Chromium for the module's tests."""
    browser = open_browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture
def page():
    """Return the origin of the streaming page."""
    with Origin({"/": ("text/html", STREAM_PAGE)}) as origin:
        yield origin


def seen(browser):
    """Return what the open page received so far."""
    return browser.execute_script("return window.seen")


def expect(browser, wanted):
    """Wait until the open page received exactly this."""
    eventually(lambda: seen(browser) == wanted, lambda: f"(seen: {seen(browser)}, wanted: {wanted})")


def listen(browser, page, gateway, path="/sse/eval/k/", **data):
    """Open the page in the current tab and let it listen."""
    browser.get(page.url)
    browser.execute_script(f"window.listen({json.dumps(gateway.url)}, {json.dumps(path)}, {json.dumps(data)})")


@pytest.mark.parametrize(
    ("path", "sdk"), [("/sse/eval/k/", {"sdkKey": SDK_KEY}), ("/sse/shop/eval/", {})], ids=["by SDK key", "by SDK id"]
)
def test_an_event_source_of_another_origin_sees_a_change(chromium, page, gateway, upstream, path, sdk):
    """A page of another origin gets the value and, without another request, the next one."""
    listen(chromium, page, gateway, path, **sdk, key="banner", user=GERMAN)
    expect(chromium, ["before"])
    upstream.set(shop("after"))
    expect(chromium, ["before", "after"])


def test_a_page_of_another_origin_opens_a_short_url(chromium, page, gateway, upstream):
    """A script posts the user as JSON, which needs a preflight, and opens the URL; it can read statuses of mistakes."""
    chromium.get(page.url)
    asked = [gateway.url, json.dumps({"key": "banner", "user": GERMAN})]
    statuses = chromium.execute_async_script(SHORT_URL, *asked)
    expect(chromium, ["before"])
    upstream.set(shop("after"))
    expect(chromium, ["before", "after"])
    assert [201, 404, 405, 403] == statuses


def test_an_event_source_comes_back_after_a_restart_of_the_gateway(chromium, page, gateway, upstream):
    """The browser reconnects by itself when the gateway is restarted, and shows what changed meanwhile."""
    listen(chromium, page, gateway, sdkKey=SDK_KEY, key="banner", user=GERMAN)
    expect(chromium, ["before"])
    assert 0 == gateway.stop()
    upstream.set(shop("after"))
    gateway.restart()
    expect(chromium, ["before", "after"])
    assert 2 == chromium.execute_script("return window.opens")
    upstream.set(shop("later"))
    expect(chromium, ["before", "after", "later"])


def test_three_tabs_see_every_change(chromium, page, gateway, upstream):
    """Three tabs of one browser each have a stream and receive every change."""
    first = chromium.current_window_handle
    tabs = [first]
    for _ in range(2):
        chromium.switch_to.new_window("tab")
        tabs.append(chromium.current_window_handle)
    try:
        for tab in tabs:
            chromium.switch_to.window(tab)
            listen(chromium, page, gateway, sdkKey=SDK_KEY, key="banner", user=GERMAN)
            expect(chromium, ["before"])
        upstream.set(shop("after"))
        for tab in tabs:
            chromium.switch_to.window(tab)
            expect(chromium, ["before", "after"])
    finally:
        for tab in tabs[1:]:
            chromium.switch_to.window(tab)
            chromium.close()
        chromium.switch_to.window(first)


@pytest.fixture(scope="module")
def ofrep_page(require_tool, tmp_path_factory):
    """Return an origin with the documentation's OFREP example, bundled for the browser."""
    require_tool("node")
    bundle = tmp_path_factory.mktemp("bundle") / "page.js"
    esbuild = HERE / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    subprocess.run(
        [esbuild, "clients/ofrep_page.js", "--bundle", "--log-level=warning", f"--outfile={bundle}"],
        cwd=HERE,
        check=True,
    )
    html = b'<!doctype html><title>ofrep</title><script src="/page.js"></script>'
    pages = {"/": ("text/html", html), "/page.js": ("text/javascript", bundle.read_bytes())}
    with Origin(pages) as origin:
        yield origin


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-ConfigCat-SdkKey", SDK_KEY), ("X-ConfigCat-SdkId", "shop")],
    ids=["by SDK key", "by SDK id"],
)
def test_the_web_provider_of_another_origin_sees_a_change(chromium, ofrep_page, gateway, upstream, header, value):
    """The OFREP example of the documentation works in a page of another origin, preflight included."""
    chromium.get(ofrep_page.url)
    chromium.execute_script("window.localStorage.clear()")
    chromium.execute_script(
        "window.begin(...arguments).catch(e => { window.failed = String(e); })", gateway.url, header, value
    )
    eventually(lambda: seen(chromium)[:1], lambda: chromium.execute_script("return window.failed"))
    assert ["before"] == seen(chromium)[:1]
    upstream.set(shop("after"))
    eventually(lambda: "after" in seen(chromium), lambda: f"(seen: {seen(chromium)})")
