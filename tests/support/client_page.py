"""A page that uses the client for browsers, as the gateway serves it, and what a test reads of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from browser import Origin
from eventually import eventually
from gateway_process import GatewayProcess
from shop import GERMAN, shop
from tokens import SECRET, user_token

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
    const { name, skew, ...others } = options;
    const now = Date.now;
    if (skew) Date.now = () => now() + skew;
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


SIGNED: dict[str, Any] = {
    "identity": {
        "keys": [{"alg": "HS256", "secret": SECRET}],
        "leeway": 0,
        "claims": {"sub": "Identifier", "country": "Country"},
    }
}


class ShopGateway:
    """A gateway whose config is a file that a test edits."""

    def __init__(self, home: Path, *, env: dict[str, str] | None = None, **settings: Any) -> None:
        self._config = home / "config.json"
        self.show("before")
        sdk = {"key": "any", "offline": {"enabled": True, "local": {"file_path": str(self._config)}}}
        http = {"sse": {"drain_window": 0} | settings.pop("sse", {})}
        self.gateway = GatewayProcess({"sdks": {"shop": sdk}, "http": http} | settings, home, env=env)

    def show(self, banner: str) -> None:
        """Write the config whose banner for German users is this text."""
        self.write(shop(banner))

    def write(self, config: dict[str, Any]) -> None:
        """Write a config."""
        fresh = self._config.with_suffix(".new")
        fresh.write_text(json.dumps(config), "utf-8")
        fresh.replace(self._config)

    def serves(self, banner: str) -> bool:
        """Whether a German user has this banner."""
        body = json.dumps({"key": "banner", "user": GERMAN}).encode()
        return f'"{banner}"'.encode() in self.gateway.post("/api/shop/eval", body)[1]

    def begin(self) -> None:
        """Serve the first config."""
        self.show("before")
        eventually(lambda: self.serves("before"), limit=SLOW)


def page_origin() -> Origin:
    """Return the origin of the page."""
    return Origin({"/": ("text/html", PAGE), "/other": ("text/html", b"<!doctype html><title>other</title>")})


class Issuer(Origin):
    """The origin of the page, which also issues tokens."""

    def __init__(self) -> None:
        self.ahead = 0.0  # seconds, of the gateway's clock
        self.key = SECRET
        self.issued = 0
        pages = {"/": ("text/html", PAGE), "/other": ("text/html", b""), "/token/anna": ("text/plain", self._token)}
        super().__init__(pages)

    def _token(self) -> bytes:
        self.issued += 1
        return user_token("anna", seconds=self.ahead + 600, key=self.key, country=GERMAN["Country"]).encode()


class Tabs:
    """Tabs of one browser, which Selenium drives."""

    def __init__(self, browser: Any, origin: Origin, gateway: GatewayProcess) -> None:
        self.browser = browser
        self._origin = origin
        self.gateway_url = ""  # of a network in front of the gateway
        self._gateway = gateway
        self._first = browser.current_window_handle

    def url(self, **options: Any) -> str:
        """Return the address of the page with these options of the client."""
        given = {"user": GERMAN} | options
        query = {"gateway": self.gateway_url or self._gateway.url, "options": json.dumps(given)}
        return f"{self._origin.url}/?{urlencode(query)}"

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
