"""A page that uses the client for browsers, as the gateway serves it, and what a test reads of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from browser import Origin
from eventually import eventually
from gateway_process import GatewayProcess
from shop import GERMAN

SLOW = 60.0  # seconds; what is awaited takes two on an idle machine

# ``seen`` has each value of the flag ``banner``, a stale one in a list; ``errors`` the codes of errors.
PAGE = b"""<!doctype html><meta charset="utf-8"><title>client</title><script type="module">
const query = new URLSearchParams(location.search);
window.seen = [];
window.errors = [];
window.restored = false;
addEventListener("pageshow", (event) => { window.restored = event.persisted; });
try {
  const { connect } = await import(query.get("gateway") + "/client.js");
  window.open = (options) => {
    const { name, ...others } = options;
    if (name) others.token = async () => (await fetch("/token/" + name)).text();
    const onError = ({ code, message }) => window.errors.push([code, message]);
    window.flags = connect(query.get("gateway"), { sdk: "shop", onError, ...others });
    window.flags.on("banner", (value, { stale }) => window.seen.push(stale ? [value] : value));
  };
  window.open(JSON.parse(query.get("options")));
} catch (error) {
  window.errors.push(["page", String(error)]);
}
</script>"""


def page_origin() -> Origin:
    """Return the origin of the page."""
    return Origin({"/": ("text/html", PAGE), "/other": ("text/html", b"<!doctype html><title>other</title>")})


class Tabs:
    """Tabs of one browser, which Selenium drives."""

    def __init__(self, browser: Any, origin: Origin, gateway: GatewayProcess) -> None:
        self.browser = browser
        self._origin = origin
        self._gateway = gateway
        self._first = browser.current_window_handle

    def url(self, **options: Any) -> str:
        """Return the address of the page with these options of the client."""
        given = {"user": GERMAN} | options
        return f"{self._origin.url}/?{urlencode({'gateway': self._gateway.url, 'options': json.dumps(given)})}"

    def open(self, **options: Any) -> str:
        """Open the page in a new tab; return the tab."""
        self.browser.switch_to.new_window("tab")
        self.browser.get(self.url(**options))
        return str(self.browser.current_window_handle)

    def read(self, tab: str, expression: str) -> Any:
        """Return the value of an expression in a tab."""
        self.browser.switch_to.window(tab)
        return self.browser.execute_script(f"return {expression}")

    def expect(self, tab: str, *wanted: Any) -> None:
        """Wait until a tab has seen exactly these values."""
        eventually(
            lambda: self.read(tab, "window.seen") == list(wanted),
            lambda: f"(wanted {wanted}, seen {self.read(tab, '[window.seen, window.errors]')})",
            limit=SLOW,
        )

    def expect_last(self, tab: str, wanted: Any) -> None:
        """Wait until the last value that a tab has seen is this one."""
        eventually(
            lambda: self.read(tab, "window.seen.at(-1)") == wanted,
            lambda: f"(wanted {wanted}, seen {self.read(tab, '[window.seen, window.errors]')})",
            limit=SLOW,
        )

    def close(self, tab: str) -> None:
        """Close a tab."""
        self.browser.switch_to.window(tab)
        self.browser.close()

    def close_all(self) -> None:
        """Close every tab but the first one, and forget what pages have stored."""
        for tab in self.browser.window_handles:
            if tab != self._first:
                self.close(tab)
        self.browser.switch_to.window(self._first)
        self.browser.get(f"{self._origin.url}/other")
        self.browser.execute_script("localStorage.clear()")


def open_streams(gateway: GatewayProcess) -> int:
    """Return the number of open streams."""
    return _sum(gateway, "configcat_stream_connections{")


def streams_begun(gateway: GatewayProcess) -> int:
    """Return the number of streams that were opened by a short URL since the start."""
    return _sum(gateway, "flaggateway_http_requests_total{", 'route="/sse/{sdkId}/streams/{token}"', 'method="GET"')


def _sum(gateway: GatewayProcess, *parts: str) -> int:
    lines = gateway.get("/metrics", diag=True)[1].decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if all(part in line for part in parts))
