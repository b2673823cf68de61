"""The OFREP web provider, unchanged and without polling, learns of changes from the gateway's event stream."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from browser import Origin, open_browser
from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from nginx import nginx_before
from outside_tools import missing
from shop import shop

HERE = Path(__file__).resolve().parent
BY_ID = [["X-ConfigCat-SdkId", "shop"]]
GERMAN = {"targetingKey": "anna", "Country": "Germany"}
FRENCH = {"targetingKey": "zoe", "Country": "France"}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Return one headless Chromium for the module's tests."""
    browser = open_browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """Return an origin with a page that uses the provider."""
    require_tool("node")
    bundle = tmp_path_factory.mktemp("bundle") / "page.js"
    esbuild = HERE / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    command = [esbuild, "clients/ofrep_stream_page.js", "--bundle", "--log-level=warning", f"--outfile={bundle}"]
    subprocess.run(command, cwd=HERE, check=True)
    html = b'<!doctype html><title>ofrep</title><script src="/page.js"></script>'
    with Origin({"/": ("text/html", html), "/page.js": ("text/javascript", bundle.read_bytes())}) as origin:
        yield origin


def look(browser: Chrome, name: str) -> Any:
    """Return a variable of the page."""
    return browser.execute_script(f"return window.{name}")


def begin(browser: Chrome, page: Origin, url: str, headers: Any, context: Any) -> None:
    """Open the page, and wait until its provider has its values and its stream."""
    browser.get(page.url)
    browser.execute_script(
        "window.begin(...arguments).catch(e => { window.failed = String(e); })", url, headers, context
    )
    eventually(lambda: look(browser, "opens"), lambda: f"({look(browser, 'failed')}, {look(browser, 'fetches')})")


@pytest.mark.parametrize("auth", [{}, {"X-Api-Key": "secret"}], ids=["open", "with auth headers"])
def test_the_provider_learns_of_a_change_without_polling(
    chromium: Chrome,
    page: Origin,
    upstream: CdnStandIn,
    gateway_process: Callable[..., GatewayProcess],
    auth: dict[str, str],
) -> None:
    """The provider sends one request at the start, and one for the change that affects its user."""
    sdk = {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}
    gateway = gateway_process({"sdks": {"shop": sdk}, "http": {"ofrep": {"auth_headers": auth}}})
    begin(chromium, page, gateway.url, BY_ID + [list(line) for line in auth.items()], GERMAN)
    eventually(lambda: look(chromium, "seen") == ["before"], lambda: str(look(chromium, "seen")))
    upstream.set(shop("after"))
    eventually(lambda: look(chromium, "seen")[-1] == "after", lambda: str(look(chromium, "fetches")))
    fetches = look(chromium, "fetches")
    assert "flagConfigEtag" in fetches[-1][0]
    assert [gateway.url] == [url.partition("/ofrep/")[0] for url in look(chromium, "streams")]
    # A stream that opens shortly after the gateway started gets one event to be safe; its request is a 304.
    assert [200, 200] == [status for _, status in fetches if status != 304]
    assert len(fetches) <= 3


def test_a_change_for_other_users_causes_no_request(
    chromium: Chrome, page: Origin, upstream: CdnStandIn, gateway: GatewayProcess
) -> None:
    """After a change for Germany a French user's provider sends no request until a flag of that user changes."""
    begin(chromium, page, gateway.url, BY_ID, FRENCH)
    eventually(lambda: look(chromium, "seen"), lambda: look(chromium, "failed"))
    upstream.set(shop("after"))
    eventually(lambda: serves_banner(gateway, "after"), lambda: "the gateway did not take the config")
    upstream.set(shop("after") | {"f": shop("after")["f"] | {"new": {"t": 0, "v": {"b": True}, "i": "n"}}})
    eventually(lambda: look(chromium, "seen")[1:], lambda: str(look(chromium, "fetches")))
    # One event for the new flag, which affects all users; at most one more, to be safe, shortly after the start.
    assert ["elsewhere", "elsewhere"] == look(chromium, "seen")
    assert [200, 200] == [status for _, status in look(chromium, "fetches") if status != 304]


@pytest.mark.parametrize("by", ["X-Forwarded-Prefix", "http.public_url"])
def test_the_provider_reaches_the_stream_behind_a_path_prefix(
    chromium: Chrome,
    page: Origin,
    upstream: CdnStandIn,
    gateway_process: Callable[..., GatewayProcess],
    tmp_path: Path,
    by: str,
) -> None:
    """Behind nginx with ``location /flags/`` the provider learns of a change, and does not poll."""
    sdk = {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}
    gateway = gateway_process({"sdks": {"shop": sdk}, "http": {"trusted_proxies": ["127.0.0.1"]}})
    header = "proxy_set_header X-Forwarded-Prefix /flags;" if by == "X-Forwarded-Prefix" else ""
    with nginx_before(gateway.port, tmp_path, "/flags", header) as url:
        if not header:
            gateway.reload(gateway.settings | {"http": {"public_url": url}})
            eventually(lambda: b'"origin"' in gateway.post("/ofrep/v1/evaluate/flags", b"{}", headers=dict(BY_ID))[1])
        begin(chromium, page, url, BY_ID, GERMAN)
        upstream.set(shop("after"))
        eventually(lambda: look(chromium, "seen")[-1:] == ["after"], lambda: str(look(chromium, "fetches")))
        assert [f"{url}/ofrep/v1/streams/shop"] == [each.rpartition("/")[0] for each in look(chromium, "streams")]
        assert len(look(chromium, "fetches")) <= 3


def serves_banner(gateway: GatewayProcess, banner: str) -> bool:
    """Whether the gateway serves the config of this banner."""
    body = json.dumps({"key": "banner", "user": {"Country": "Germany"}}).encode()
    return banner.encode() in gateway.post("/api/shop/eval", body)[1]
