"""Headless Chromium, and a second origin that serves it pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from gateway.testing.threaded import QuietHandler, ThreadedServer
from outside_tools import find_tool

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)


def open_browser(profile: Path, *flags: str) -> Chrome:
    """Return a running Chromium with an empty profile; the test is skipped, or fails in CI, where it is missing."""
    chromium, driver = find_tool("chromium"), find_tool("chromedriver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=Service(driver))
    browser.set_script_timeout(30)
    return browser


class Origin(ThreadedServer):
    """A web server of its own origin that serves these pages; use it as a context manager."""

    def __init__(self, pages: Mapping[str, tuple[str, bytes | Callable[[], bytes]]]) -> None:
        """Take path → (content type, body, or a function that returns it)."""

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                kind, body = pages.get(path, ("text/plain", b""))
                if callable(body):
                    body = body()
                self.send_response(200 if path in pages else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
        self.url = f"http://127.0.0.1:{self.port}"
