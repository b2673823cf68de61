"""Rules of the cross-origin options."""

from __future__ import annotations

import pytest

from gateway.settings import load

SDKS = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"


@pytest.mark.parametrize("section", ["api", "ofrep", "sse", "cdn_proxy"])
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("cors: {allow_credentials: true}", "cors.allow_credentials"),
        ("cors: {allow_credentials: true, allowed_origins: []}", "cors.allow_credentials"),
        ("cors: {allow_credentials: true, allowed_origins: ['https://a.b', '*']}", "cors.allowed_origins[1]"),
        (
            "cors: {allow_credentials: true, allowed_origins_regex: {patterns: [a.b], if_no_match: '*'}}",
            "cors.allowed_origins_regex.if_no_match",
        ),
        (
            "cors: {allow_credentials: true, allowed_origins_regex: {patterns: [a.b, '.*'], if_no_match: 'https://a'}}",
            "cors.allowed_origins_regex.patterns[1]",
        ),
        (
            (
                "headers: {access-control-allow-origin: '*'}, "
                "cors: {allow_credentials: true, allowed_origins: ['https://a.b']}"
            ),
            "headers.access-control-allow-origin",
        ),
        (
            "cors: {allow_credentials: true, allowed_origins: ['https://a.b'], allowed_headers: [X-A, '*']}",
            "cors.allowed_headers[1]",
        ),
        ("headers: {access-control-allow-credentials: 'true'}", "headers.access-control-allow-credentials"),
        (
            "headers: {Access-Control-Allow-Credentials: ' True '}, cors: {allowed_origins: ['*']}",
            "cors.allowed_origins[0]",
        ),
        (
            (
                "headers: {Access-Control-Allow-Credentials: 'true'}, "
                "cors: {allowed_origins_regex: {patterns: ['.*'], if_no_match: 'https://a'}}"
            ),
            "cors.allowed_origins_regex.patterns[0]",
        ),
        (
            (
                "headers: {Access-Control-Allow-Credentials: 'true', Access-Control-Allow-Origin: '*'}, "
                "cors: {enabled: false}"
            ),
            "headers.Access-Control-Allow-Origin",
        ),
        (
            (
                "headers: {Access-Control-Allow-Credentials: 'true'}, "
                "cors: {allowed_origins: ['https://a.b'], allowed_headers: ['*']}"
            ),
            "cors.allowed_headers[0]",
        ),
        ("cors: {allowed_headers: ['X A']}", "cors.allowed_headers[0]"),
        ('cors: {allowed_headers: ["X-A\\r\\nX: b"]}', "cors.allowed_headers[0]"),
        ("cors: {allowed_headers: ['']}", "cors.allowed_headers[0]"),
    ],
)
def test_credentials_with_every_origin_and_bad_headers_are_refused(section: str, options: str, path: str) -> None:
    """Any page on the web could read the answers that a user's cookies open: an error at start, not a warning."""
    (found,) = load(f"{SDKS}http: {{{section}: {{{options}}}}}", {}).problems
    assert f"http.{section}.{path}" == found.path


@pytest.mark.parametrize(
    "cors",
    [
        "allow_credentials: true, allowed_origins: ['https://a.b']",
        "allow_credentials: true, allowed_origins_regex: {patterns: ['https://.*[.]a[.]b$'], if_no_match: 'https://a'}",
        "enabled: false, allow_credentials: true",
        "allowed_headers: ['*', X-A]",
    ],
)
def test_credentials_of_listed_origins_are_allowed(cors: str) -> None:
    """Also where CORS is off; ``*`` may stand for headers without credentials."""
    assert () == load(f"{SDKS}http: {{api: {{cors: {{{cors}}}}}}}", {}).problems


@pytest.mark.parametrize(
    "options",
    [
        "headers: {Access-Control-Allow-Credentials: 'true'}, cors: {allowed_origins: ['https://a.b']}",
        "headers: {Access-Control-Allow-Credentials: 'true', Access-Control-Allow-Origin: 'https://a.b'}",
        "headers: {Access-Control-Allow-Credentials: 'true'}, cors: {enabled: false}",
        "headers: {Access-Control-Allow-Credentials: 'false'}",
    ],
)
def test_credentials_by_hand_are_allowed_where_the_origins_are_named(options: str) -> None:
    """By a list, or by a header that is set by hand too; where no origin is allowed they have no effect."""
    assert () == load(f"{SDKS}http: {{sse: {{{options}}}}}", {}).problems
