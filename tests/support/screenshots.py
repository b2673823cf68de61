"""Screenshots of the console for docs/console.md, from a demo gateway: ``make screenshots``.

settings, changes, streams, requests ──► gateway ──► headless Chromium ──► docs/console/<view>-<scheme>.webp
"""

from __future__ import annotations

import argparse
import base64
import copy
import itertools
import json
import random
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from browser import open_browser
from cdn_stand_in import CdnStandIn
from eventually import eventually
from gateway.text import hash_password
from gateway_process import GatewayProcess
from receiver import Receiver
from streams import Streams, stream_path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "etc/demo/config.json"
KEYS = {
    "shop": "configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210",
    "app": "configcat-sdk-1/0123456789abcdefghijkl/0123456789lkjihgfedcba",
    "intranet": "configcat-sdk-1/lkjihgfedcba9876543210/0123456789abcdefghijkl",
}
INTRANET = ("adminTools", "darkMode", "supportChat", "apiRateLimit")
SUBSCRIBED = {"audit": ["FLAG_CREATED", "FLAG_UPDATED", "FLAG_DELETED", "USER_FLAGS_UPDATED"]}
USER, PASSWORD = "anna", "shows the console"
HEADERS = {"Authorization": f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"}
KEYS_ASKED = (*["freeShippingFrom"] * 9, *["newCheckout"] * 3, "saleBaner")  # no config has the last one
AGENTS = (
    {"User-Agent": "shop-web/4.2", "X-ConfigCat-UserAgent": "ConfigCat-JS/a-9.3.1"},
    {"User-Agent": "okhttp/4.12", "X-ConfigCat-UserAgent": "ConfigCat-Droid/a-10.4.0"},
    {"User-Agent": "CFNetwork/1568", "X-ConfigCat-UserAgent": "ConfigCat-Swift/a-11.1.0"},
    {"User-Agent": "checkout-service/2025.11"},
)
HOOK = {"X-Auth": "let-me-in"}
WIDTH = 1280
TALLEST = 1_250  # pixels of an image
QUALITY = 82  # of WebP, in percent
LARGEST = 60 * 1024  # bytes of an image
NAMES = ("zoe", "anna", "ben", "chloe", "david", "emma", "finn", "greta", "hugo", "ida", "jonas", "klara", "leo", "mia")
COUNTRIES = ("France", "Germany", "Italy", "Spain", "Netherlands", "United States", "Canada", "Hungary")
ZOE = {"Identifier": "zoe", "Country": "France"}


def user(number: int) -> dict[str, Any]:
    """Return a customer."""
    name = NAMES[number % len(NAMES)]
    return {
        "Identifier": f"{name}-{number}",
        "Email": f"{name}@mail.example",
        "Country": COUNTRIES[number % len(COUNTRIES)],
        "Platform": ("web", "ios", "android")[number % 3],
        "Orders": number % 17,
    }


class Demo:
    """Three SDKs with streams, requests and changes; one config is held, and two of four endpoints fail."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        shop = json.loads(DEMO.read_text("utf-8"))
        parts = {
            "shop": shop,
            "app": shop | {"f": dict(itertools.islice(shop["f"].items(), 14))},
            "intranet": shop | {"f": {key: shop["f"][key] for key in INTRANET}},
        }
        self.configs: dict[str, Any] = copy.deepcopy(parts)
        self.cdns = {name: stack.enter_context(CdnStandIn(config)) for name, config in parts.items()}
        answers = {"audit": 204, "chat": 200, "crm": 413, "warehouse": 503}
        self.receivers = {
            name: stack.enter_context(Receiver(lambda _, status=status: status)) for name, status in answers.items()
        }
        self.gateway = GatewayProcess(self._settings(), home)
        self.gateway.start()
        stack.callback(self.gateway.stop)
        self.streams = Streams()
        stack.callback(self.streams.close)
        for number in range(46):
            key = ("freeShippingFrom", None, None, "saleBanner")[number % 4]
            self.streams.open(self.gateway.port, stream_path(("shop", "shop", "app")[number % 3], user(number), key))
        for number in range(3):
            self.streams.open(self.gateway.port, stream_path("shop", ZOE | {"Orders": number}))
        self._over = Event()
        thread = Thread(target=self._evaluate, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._over.set)

    def _settings(self) -> dict[str, Any]:
        sdks = {
            name: {"key": KEYS[name], "base_url": cdn.url, "poll_interval": 3600} for name, cdn in self.cdns.items()
        }
        formats = {"chat": "slack"}
        return {
            "workers": 2,
            "sdks": sdks,
            "http": {"webhook": {"auth_headers": HOOK}, "sse": {"drain_window": 0}},
            "diag": {"users": {USER: hash_password(PASSWORD, b"screenshots.salt")}, "operators": [USER]},
            "upstream": {"guard": {"max_removed_percent": 30}},
            "webhooks": [
                {"name": name, "url": receiver.url, "format": formats.get(name, "envelope"), "users": [ZOE]}
                | ({"events": SUBSCRIBED[name]} if name in SUBSCRIBED else {})
                for name, receiver in self.receivers.items()
            ],
        }

    def _evaluate(self) -> None:
        rates = random.Random(7)
        for number in itertools.count():
            asked: dict[str, Any] = {"user": user(number % 400)}
            path = f"/api/{('shop', 'app')[number % 2]}/eval-all"
            if number % 3:
                path = path.removesuffix("-all")
                asked["key"] = KEYS_ASKED[number % len(KEYS_ASKED)]
            agent = AGENTS[number % len(AGENTS)]
            self.gateway.post(path, json.dumps(asked).encode(), headers=agent)
            if self._over.wait(rates.uniform(0.01, 0.08)):
                return

    def change(self, sdk: str, author: str, note: str, **flags: dict[str, Any] | None) -> None:
        """Change flags of an SDK as an author: a definition, or None for a flag that vanishes."""
        config = self.configs[sdk]
        for key, definition in flags.items():
            if definition is None:
                config["f"].pop(key)
            else:
                config["f"][key] = definition
        self.publish(sdk, author, note)

    def shipping(self, price: float) -> dict[str, Any]:
        """Return the flag ``freeShippingFrom`` with another price in Europe, which zoe gets."""
        definition: dict[str, Any] = copy.deepcopy(self.configs["shop"]["f"]["freeShippingFrom"])
        definition["r"][0]["s"]["v"]["d"] = price
        return {"freeShippingFrom": definition}

    def publish(self, sdk: str, author: str, note: str) -> None:
        """Serve the config, and announce it."""
        self.cdns[sdk].set(self.configs[sdk])
        body = json.dumps({"changedBy": author, "changeNotes": note}).encode()
        assert self.gateway.post(f"/hook/{sdk}", body, headers=HOOK)[0] == 200
        eventually(lambda: self._announced(sdk))

    def _announced(self, sdk: str) -> bool:
        shown = next(each for each in self.get("/overview")["sdks"] if each["id"] == sdk)
        etag = self.cdns[sdk].etag
        return etag in {(shown["config"] or {}).get("etag"), (shown["held"] or {}).get("etag")}

    def get(self, path: str) -> Any:
        """Return an answer of the API."""
        return json.loads(self.gateway.get(f"/api/v1{path}", headers=HEADERS, diag=True)[1])

    def live(self, seconds: float) -> None:
        """Let clients read and time pass, for the plots."""
        until = time.monotonic() + seconds
        self.streams.read_until(lambda: time.monotonic() >= until, seconds + 60)

    def play(self, seconds: float) -> None:
        """Make the changes, over some time; the last config is held."""
        steps = (
            ("shop", "Jane Doe", "Free shipping from 29 in Europe", self.shipping(29)),
            ("app", "Ben Ito", "", {"darkMode": {"t": 0, "v": {"b": True}, "i": "5c01"}}),
            (
                "shop",
                "Ana Silva <ana@shop.example>",
                "Winter sale begins",
                {
                    "winterSale": {"t": 0, "v": {"b": True}, "i": "5c02"},
                    "saleBanner": {"t": 1, "v": {"s": "Winter sale: up to 30 %"}, "i": "5c03"},
                },
            ),
            ("shop", "Jane Doe", "Voice search is not ready", {"voiceSearch": None}),
        )
        for sdk, author, note, changed in steps:
            self.live(seconds / len(steps))
            self.change(sdk, author, note, **changed)
        self.configs["intranet"]["f"] = {"darkMode": self.configs["intranet"]["f"]["darkMode"]}
        self.publish("intranet", "Ben Ito", "Clean up")
        self.live(8)


class Camera:
    """A browser on the console of the demo that saves what it shows."""

    def __init__(self, demo: Demo, browser: Chrome, target: Path) -> None:
        self.demo = demo
        self.browser = browser
        self.target = target
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": HEADERS})

    def set(self, scheme: str, width: int) -> None:
        """Choose a color scheme and a width of the window."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self._size(width, 900)

    def _size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def views(self) -> Iterator[str]:
        """Show each view with something in it, one after the other, and yield its name."""
        yield self._open("now", "canvas")
        yield self._open("changes", "article")
        changes = self.demo.get("/changes?sdk=shop&limit=100")["changes"]
        free = next(each["id"] for each in changes if (each["notes"] or "").startswith("Free"))
        yield self._open(f"changes/{free}", "section pre", name="change")
        question = {
            "sdk": "shop",
            "key": "freeShippingFrom",
            "user": json.dumps(ZOE, indent=2),
            "other": json.dumps(ZOE | {"Country": "Canada"}, indent=2),
        }
        self._open(f"explain?{urllib.parse.urlencode(question)}", "form")
        self.find("button.main").click()
        yield self._open("explain", "pre.tree", stay=True)
        self._open("impact", "form")
        Select(self.browser.find_elements(By.TAG_NAME, "select")[0]).select_by_visible_text("shop")
        Select(self.browser.find_elements(By.TAG_NAME, "select")[1]).select_by_visible_text("one flag")
        self.find("input[list=keys]").send_keys("freeShippingFrom")
        eventually(lambda: '"d": 29' in str(self.find("textarea").get_property("value")))
        edited = str(self.find("textarea").get_property("value")).replace('"d": 29', '"d": 35')
        fill = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', { bubbles: true }))"
        self.browser.execute_script(fill, self.find("textarea"), edited)
        self.find("button.main").click()
        yield self._open("impact", "section[aria-labelledby=connected] table", stay=True)
        self._open("streams", "table")
        for stream in ("tail", "test-stream"):
            card = f"section[aria-labelledby={stream}]"
            Select(self.find(f"{card} select")).select_by_visible_text("shop")
            self.find(f"{card} button.main").click()
            self._open("streams", f"{card} dl.log", stay=True)
        self.demo.change("shop", "Jane Doe", "A trial", **self.demo.shipping(25))
        yield self._open("streams", "section[aria-labelledby=tail] .fresh", stay=True)
        self.demo.change("shop", "Jane Doe", "The trial is over", **self.demo.shipping(29))
        yield self._open("deliveries", "table")
        failed = self.demo.get("/deliveries?state=failed")["deliveries"][0]["id"]
        yield self._open(f"deliveries/{failed}", "table", name="delivery")
        yield self._open("clients", "table")
        yield self._open("configs", "section table")

    def find(self, selector: str) -> Any:
        """Return the first element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def _open(self, view: str, wanted: str, *, name: str = "", stay: bool = False) -> str:
        if not stay:
            self.browser.get("about:blank")
            self.browser.get(f"{self.demo.gateway.diag}/#/{view}")
        found = self.browser.find_elements
        eventually(lambda: found(By.CSS_SELECTOR, wanted), lambda: found(By.TAG_NAME, "body")[0].text)
        return name or view.partition("?")[0]

    def save(self, name: str, width: int) -> Path:
        """Save the whole page, and return the file."""
        self._size(width, 900)
        self.demo.live(0.7)  # until everything has loaded and moves no more
        height = int(self.browser.execute_script("return document.body.scrollHeight"))
        height = max(500, min(height, TALLEST))
        self._size(width, height)
        self.browser.execute_script("scrollTo(0, 0)")
        self.demo.live(0.3)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        for quality in (QUALITY, 70, 55, 40):
            image = {"format": "webp", "quality": quality, "clip": clip}
            data = base64.b64decode(self.browser.execute_cdp_cmd("Page.captureScreenshot", image)["data"])
            if len(data) <= LARGEST:
                break
        path = self.target / f"{name}.webp"
        path.write_bytes(data)
        return path


def main(arguments: list[str] | None = None) -> None:
    """Write the screenshots."""
    parser = argparse.ArgumentParser(prog="python -m screenshots", description=__doc__)
    parser.add_argument("--target", type=Path, default=ROOT / "docs/console", help="folder of the images")
    parser.add_argument("--seconds", type=float, default=75.0, help="how long the demo runs before, for the plots")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--view", help="take only the images of this view")
    options = parser.parse_args(arguments)
    options.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        demo = Demo(Path(home), stack)
        demo.play(options.seconds)
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser = open_browser(Path(profile), "--hide-scrollbars")
        stack.callback(browser.quit)
        camera = Camera(demo, browser, options.target)
        for scheme in ("light", "dark"):
            camera.set(scheme, options.width)
            for name in camera.views():
                if options.view not in {None, name.partition("/")[0]}:
                    continue
                path = camera.save(f"{name.partition('/')[0]}-{scheme}", options.width)
                print(f"{path}  {path.stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
