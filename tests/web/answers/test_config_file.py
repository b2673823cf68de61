"""The CDN proxy, beyond what the recorded answers cover."""

from __future__ import annotations

import gzip
import json

import brotli
import pytest
from twisted.internet.task import Clock

from gateway.flags import load
from gateway.web.compress import BROTLI_HEADERS, GZIP_HEADERS, PIECE, ConfigEncodings
from web_memory import SDK_KEY, MemorySite

CONFIG = {"f": {f"flag{n}": {"t": 0, "v": {"b": True}, "i": f"v{n}"} for n in range(20)}}
BODY = json.dumps(CONFIG, indent=1).encode()
ALIAS = "/configuration-files/configcat-proxy/sdk1/config_v6.json"


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(BODY, etag='W/"up"')


@pytest.mark.parametrize(
    "path",
    [
        ALIAS,
        ALIAS + "/",
        "/configuration-files/configcat-proxy/sdk1",
        "/configuration-files/configcat-proxy%2Fsdk1/config_v6.json",
        f"/configuration-files/{SDK_KEY}/config_v6.json",
        f"/configuration-files/{SDK_KEY}",
        "/configuration-files/" + SDK_KEY.replace("/", "%2F") + "/config_v6.json",
    ],
)
def test_every_way_to_name_an_sdk(site: MemorySite, path: str) -> None:
    """Key and alias work, with or without the file's name, and with escaped slashes; the bytes are the upstream's."""
    answer = site.request("GET", path)
    assert (200, BODY, 'W/"up"', "application/json", "max-age=0, must-revalidate") == (
        answer.status,
        answer.body,
        answer["etag"],
        answer["content-type"],
        answer["cache-control"],
    )


@pytest.mark.parametrize(
    "path",
    [
        "/configuration-files",
        "/configuration-files/",
        "/configuration-files/configcat-proxy",
        "/configuration-files/configcat-proxy/",
        "/configuration-files/configcat-proxy/config_v6.json",
        "/configuration-files/config_v6.json",
        "/configuration-files/%2Fconfig_v6.json",
    ],
)
def test_missing_id_is_400(site: MemorySite, path: str) -> None:
    """A path that names no SDK is 400, with the section's headers, and never finds an SDK without a key."""
    site.sdk.key = ""
    answer = site.request("GET", path)
    assert (400, "'sdkId' path parameter must be set\n", "*") == (
        answer.status,
        answer.text,
        answer["access-control-allow-origin"],
    )


def test_header_names_have_the_known_case(site: MemorySite) -> None:
    """Header names have the case that ConfigCat Proxy sends."""
    assert "Etag" in [name for name, _ in site.request("GET", ALIAS).headers]


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"If-None-Match": 'W/"up"'}, "", 304),
        ({}, "?ccetag=W%2F%22up%22", 304),
        ({"If-None-Match": '"x"'}, "?ccetag=W%2F%22up%22", 200),
        ({"If-None-Match": '"up"'}, "", 304),
        ({"If-None-Match": "*"}, "", 304),
        ({"If-None-Match": '"x", W/"up"'}, "", 304),
        ({}, "?ccetag=%22up%22", 304),
        ({"If-None-Match": ""}, "?ccetag=%22up%22", 304),
        ({}, "?ccetag=", 200),
    ],
)
def test_validators(site: MemorySite, headers: dict[str, str], query: str, status: int) -> None:
    """The comparison is weak, the header goes before ``ccetag``."""
    answer = site.request("GET", ALIAS + query, headers)
    assert (status, 'W/"up"') == (answer.status, answer["etag"])
    if status == 304:
        assert (b"", None) == (answer.body, answer["content-type"])


def test_file_is_encoded_once_per_snapshot(site: MemorySite) -> None:
    """Gzip and brotli bodies are compressed once per config."""
    encodings = site.site.routes.dispatcher.context.encodings
    site.request("GET", ALIAS, {"Accept-Encoding": "gzip, br"})
    site.request("GET", ALIAS, {"Accept-Encoding": "gzip"})
    first = (
        encodings.body(site.sdk, site.snapshot, GZIP_HEADERS, Clock()),
        encodings.body(site.sdk, site.snapshot, BROTLI_HEADERS, Clock()),
    )
    site.request("GET", ALIAS, {"Accept-Encoding": "gzip, br"})
    assert first[0] is encodings.body(site.sdk, site.snapshot, GZIP_HEADERS, Clock())
    assert first[1] is encodings.body(site.sdk, site.snapshot, BROTLI_HEADERS, Clock())


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip;q=0", None),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br", "br"),
        ("gzip, br;q=0", "gzip"),
        ("gzip, br;q=0.5", "gzip"),
        ("brotli", None),
        ("identity", None),
        ("*", "gzip"),
    ],
)
def test_encoding_is_chosen_from_what_the_client_lists(site: MemorySite, accept: str, encoding: str | None) -> None:
    """The one with the highest weight, brotli before gzip, and always ``Vary: Accept-Encoding``."""
    answer = site.request("GET", ALIAS, {"Accept-Encoding": accept})
    decode = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}[encoding]
    assert (encoding, BODY) == (answer["content-encoding"], decode(answer.body))
    assert "Accept-Encoding" in str(answer["vary"])
    same = site.request("GET", ALIAS, {"Accept-Encoding": accept, "If-None-Match": 'W/"up"'})
    assert (304, encoding, b"") == (same.status, same["content-encoding"], same.body)


def test_errors_are_gzipped(site: MemorySite) -> None:
    """The error for an unknown SDK is gzipped when gzip is accepted, and is not cached."""
    answer = site.request("GET", "/configuration-files/nope", {"Accept-Encoding": "gzip, br"})
    assert (404, "gzip", None) == (answer.status, answer["content-encoding"], answer["cache-control"])
    assert b"could not identify a configured SDK\n" == gzip.decompress(answer.body)


def test_head_has_the_length_of_the_file(site: MemorySite) -> None:
    """HEAD has the length of the body that it leaves out."""
    answer = site.request("HEAD", ALIAS)
    assert (200, str(len(BODY)), b"") == (answer.status, answer["content-length"], answer.body)


@pytest.mark.parametrize(
    ("encoding", "decode"), [(GZIP_HEADERS, gzip.decompress), (BROTLI_HEADERS, brotli.decompress)], ids=["gzip", "br"]
)
def test_a_large_file_is_compressed_a_piece_per_turn_and_once(site: MemorySite, encoding, decode) -> None:
    """Requests that come meanwhile wait for the same work; one that is cancelled changes nothing for the others."""
    body = json.dumps({"f": {f"flag{n}": {"t": 1, "v": {"s": f"{n:0400}"}} for n in range(1_000)}}).encode()
    assert len(body) > 5 * PIECE
    snapshot, clock, encodings = load(body, ""), Clock(), ConfigEncodings()

    answers = [encodings.body(site.sdk, snapshot, encoding, clock) for _ in range(3)]
    answers[0].addErrback(lambda _: None)
    answers[0].cancel()
    assert ([True, False, False], 1) == ([each.called for each in answers], len(clock.getDelayedCalls()))

    clock.advance(0)
    assert body == decode(answers[1].result)
    assert answers[1].result is answers[2].result is encodings.body(site.sdk, snapshot, encoding, clock)
    assert [] == clock.getDelayedCalls()
