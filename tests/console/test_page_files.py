"""The files of the page: which are served, with which headers, and that those of others are unchanged."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest
from twisted.web.test.requesthelper import DummyRequest

from gateway.console.page_files import PageFiles

PAGE = Path(str(files("gateway.console").joinpath("page")))
HTML = b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


class PageRequest(DummyRequest):
    """A request with the parts that the page uses."""

    def __init__(self, path: str, accept: bytes = b"", method: bytes = b"GET") -> None:
        super().__init__([])
        self.path, self.method = path.encode(), method
        self.wanted = b""
        if accept:
            self.requestHeaders.setRawHeaders(b"accept", [accept])

    def setETag(self, etag: bytes) -> bytes | None:
        """Return something true if the client has this version."""
        self.responseHeaders.setRawHeaders(b"etag", [etag])
        return etag if etag == self.wanted else None

    def header(self, name: str) -> str:
        """Return a field of the answer."""
        return (self.responseHeaders.getRawHeaders(name) or [""])[0]


def test_the_page_is_at_the_root_for_a_browser_only() -> None:
    """Others get the list of paths there."""
    request = PageRequest("/", HTML)
    body = PageFiles().render(request)
    assert body is not None
    assert b"console/main.js" in body
    assert "text/html; charset=utf-8" == request.header("content-type")
    assert "Accept" == request.header("vary")
    assert PageFiles().render(PageRequest("/", b"*/*")) is None
    assert PageFiles().render(PageRequest("/")) is None
    assert PageFiles().render(PageRequest("/", HTML, b"POST")) is None


def test_what_the_page_loads_is_served() -> None:
    """Each import and link of each file leads to a file with a type that browsers accept with ``nosniff``."""
    found = {}
    index = (PAGE / "index.html").read_text("utf-8")
    waiting = [f"/{name}" for name in re.findall(r'(?:src|href)="(console/[^"]+)"', index)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            request = PageRequest(path)
            body = PageFiles().render(request)
            assert body is not None, path
            found[path] = request.header("content-type")
            names = re.findall(r'^import .* from "\./([^"]+)";$', body.decode(), re.MULTILINE)
            waiting += [f"/console/{name}" for name in names]
    assert {path for path in found if path.endswith(".js")} == {
        f"/console/{path.relative_to(PAGE)}" for path in PAGE.rglob("*.js")
    }
    assert {"text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml"} == set(found.values())


@pytest.mark.parametrize("path", ["/console/", "/console/../api.py", "/console/vendor/LICENSE.htm", "/console/nothing"])
def test_nothing_else_is_served(path: str) -> None:
    """No folder, no module of the package, no licence."""
    assert PageFiles().render(PageRequest(path, HTML)) is None


def test_a_browser_that_has_a_file_gets_304() -> None:
    """The validator is of the content, so a new version of the gateway is seen at once."""
    request = PageRequest("/console/main.js")
    PageFiles().render(request)
    again = PageRequest("/console/main.js")
    again.wanted = request.header("etag").encode()
    assert PageFiles().render(again) == b""
    assert "no-cache" == again.header("cache-control")


def test_the_page_loads_nothing_from_elsewhere() -> None:
    """The policy allows this origin only, no inline script and no frame around the page; no file names another host."""
    request = PageRequest("/", HTML)
    PageFiles().render(request)
    policy = request.header("content-security-policy")
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for path in PAGE.iterdir():
        if path.is_file() and path.suffix != ".svg":
            assert not re.findall(r"https?://", path.read_text("utf-8")), path


def test_files_of_others_are_as_published() -> None:
    """Their hashes are in the table beside them, with package and licence."""
    table = (PAGE / "vendor/README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.-]+)` \|.*\| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (PAGE / "vendor").glob("*.[jc]s*")}
    assert dict(rows) == found
    assert {"preact-htm.js"} <= set(found)


def test_the_page_is_small() -> None:
    """A console is opened in emergencies, over slow connections too; the requirement is about 60 KiB."""
    sent = [path for path in PAGE.rglob("*") if path.suffix in {".html", ".js", ".css", ".svg"}]
    assert sum(len(gzip.compress(path.read_bytes())) for path in sent) < 64 * 1024


def test_each_view_has_screenshots() -> None:
    """In both color schemes, of a size that a page of documentation can have; ``make screenshots`` takes them."""
    folder = Path(__file__).resolve().parents[2] / "docs/console"
    shown = set(re.findall(r"console/([a-z]+-(?:light|dark)\.webp)", (folder.parent / "console.md").read_text("utf-8")))
    views = re.findall(r"^  (\w+): \[", (PAGE / "main.js").read_text("utf-8"), re.MULTILINE)
    assert {f"{view}-{scheme}.webp" for view in views for scheme in ("light", "dark")} <= shown
    assert shown == {path.name for path in folder.iterdir()}
    assert [] == [path.name for path in folder.iterdir() if path.stat().st_size > 60 * 1024]
