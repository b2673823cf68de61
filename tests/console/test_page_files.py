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
    assert "Accept, Accept-Encoding" == request.header("vary")
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


def sent(path: Path, coding: bytes) -> tuple[PageRequest, bytes]:
    """Return the request for a file of the page with this ``Accept-Encoding``, and the body of its answer."""
    index = path.name == "index.html"
    request = PageRequest("/" if index else f"/console/{path.relative_to(PAGE)}", HTML if index else b"")
    request.requestHeaders.setRawHeaders(b"accept-encoding", [coding])
    body = PageFiles().render(request)
    assert body is not None
    assert str(len(body)) == request.header("content-length")
    return request, body


SENT = [path for path in PAGE.rglob("*") if path.suffix in {".html", ".js", ".css", ".svg"}]


def test_the_page_is_small() -> None:
    """A console is opened in emergencies, over slow connections too; the requirement is about 60 KiB."""
    assert sum(len(sent(path, b"gzip, deflate, br")[1]) for path in SENT) < 64 * 1024


@pytest.mark.parametrize("path", SENT, ids=lambda path: path.name)
def test_a_file_is_compressed_for_clients_that_accept_it(path: Path) -> None:
    """Both forms are the same file, with validators of their own; where compression gains nothing there is one."""
    plain, body = sent(path, b"gzip;q=0")
    coded, packed = sent(path, b"br;q=0.5, gzip")
    assert "" == plain.header("content-encoding")
    if coded.header("content-encoding"):
        assert ("gzip", body) == (coded.header("content-encoding"), gzip.decompress(packed))
        assert len(packed) < len(body)
        assert plain.header("etag") != coded.header("etag")
    else:
        assert (body, plain.header("etag")) == (packed, coded.header("etag"))
        assert len(body) < 200
    assert {"Accept-Encoding"} == {request.header("vary").removeprefix("Accept, ") for request in (plain, coded)}
    again = PageRequest(plain.path.decode(), HTML)
    again.requestHeaders.setRawHeaders(b"accept-encoding", [b"gzip"])
    again.wanted = coded.header("etag").encode()
    assert (b"", "") == (PageFiles().render(again), again.header("content-encoding"))


@pytest.mark.parametrize("path", [path for path in SENT if path.suffix in {".js", ".css"}], ids=lambda path: path.name)
def test_files_are_sent_without_comments_and_indentation(path: Path) -> None:
    """With the same lines at the same numbers; files of others are sent as published."""
    body = sent(path, b"")[1].decode()
    source = path.read_text("utf-8")
    if path.parent.name == "vendor":
        assert source == body
        return
    lines = list(zip(source.split("\n"), body.split("\n"), strict=True))
    assert [] == [pair for pair in lines if pair[1] not in {pair[0].strip(), ""}]
    dropped = [line.strip() for line, left in lines if line.strip() and not left]
    assert [] == [line for line in dropped if not line.startswith("// ")]
    assert path.suffix == ".css" or dropped


def test_each_view_has_screenshots() -> None:
    """In both color schemes, of a size that a page of documentation can have; ``make screenshots`` takes them."""
    folder = Path(__file__).resolve().parents[2] / "docs/console"
    shown = set(re.findall(r"console/([a-z]+-(?:light|dark)\.webp)", (folder.parent / "console.md").read_text("utf-8")))
    views = re.findall(r"^  (\w+): \[", (PAGE / "main.js").read_text("utf-8"), re.MULTILINE)
    assert {f"{view}-{scheme}.webp" for view in views for scheme in ("light", "dark")} <= shown
    assert shown == {path.name for path in folder.iterdir()}
    assert [] == [path.name for path in folder.iterdir() if path.stat().st_size > 60 * 1024]
