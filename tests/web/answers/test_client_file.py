"""The client for browsers on the main port."""

from __future__ import annotations

import gzip
import re

import pytest

from gateway.web.answers.client_file import client_files
from web_memory import MemorySite

CONFIG = {"f": {}}
NEWEST = next(iter(client_files()))
ELSEWHERE = {"Origin": "https://app.example"}


def test_the_newest_version_is_cached_for_a_short_time() -> None:
    """A page of another origin may import it, and asks for the file again with its validator."""
    site = MemorySite(CONFIG)
    answer = site.request("GET", "/client.js", ELSEWHERE)
    assert (200, client_files()[NEWEST].body) == (answer.status, answer.body)
    assert {
        "content-type": "text/javascript; charset=utf-8",
        "x-content-type-options": "nosniff",
        "cache-control": "public, max-age=600",
        "access-control-allow-origin": "https://app.example",
    } == {name: answer[name] for name in ("content-type", "x-content-type-options", "cache-control",
                                          "access-control-allow-origin")}  # fmt: skip
    again = site.request("GET", "/client.js", {"If-None-Match": answer["etag"]})
    assert (304, b"", answer["etag"]) == (again.status, again.body, again["etag"])
    packed = site.request("GET", "/client.js", {"Accept-Encoding": "gzip"})
    assert answer.body == gzip.decompress(packed.body)
    assert "Accept-Encoding" in packed["vary"]


def test_each_version_stays_at_its_address() -> None:
    """A version is cached for good; the text in its file names it."""
    site = MemorySite(CONFIG)
    for version, file in client_files().items():
        answer = site.request("GET", f"/client/{version}.js")
        assert (200, "public, max-age=31536000, immutable") == (answer.status, answer["cache-control"])
        assert file.body == answer.body
        assert f"@flaggateway/client {version}," in answer.text.splitlines()[0]


@pytest.mark.parametrize("path", ["/client", "/client/9.9.9.js", f"/client/{NEWEST}", "/client/..%2Fclient.js"])
def test_other_names_are_not_found(path: str) -> None:
    """There is nothing else at these addresses, and a script can read that."""
    answer = MemorySite(CONFIG).request("GET", path, ELSEWHERE)
    assert (404, "https://app.example") == (answer.status, answer["access-control-allow-origin"])


def test_it_comes_and_goes_with_the_streams() -> None:
    """Without streams there is no client; CORS and headers are those of ``http.sse``."""
    assert 404 == MemorySite(CONFIG, {"http": {"sse": {"enabled": False}}}).request("GET", "/client.js").status
    section = {"cors": {"allowed_origins": ["https://a.example"]}, "headers": {"X-From": "us"}}
    answer = MemorySite(CONFIG, {"http": {"sse": section}}).request("GET", "/client.js", ELSEWHERE)
    assert ("https://a.example", "us") == (answer["access-control-allow-origin"], answer["x-from"])


def test_versions_are_in_order() -> None:
    """The first one is the newest, by number and not by text."""
    numbers = [[int(part) for part in version.split(".")] for version in client_files()]
    assert sorted(numbers, reverse=True) == numbers
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in client_files())


def test_a_page_can_import_it_before_it_has_any_secret() -> None:
    """Signed users, keys of callers and the headers of other sections are not required for it."""
    keys = [{"name": "shop", "hash": "sha256:" + "0" * 64}]
    settings = {"http": {"auth": {"keys": keys}, "api": {"auth_headers": {"X-Key": "1"}}}}
    site = MemorySite(CONFIG, settings)
    assert 401 == site.request("GET", "/sse/sdk1/eval-all").status
    assert 200 == site.request("GET", "/client.js", ELSEWHERE).status
