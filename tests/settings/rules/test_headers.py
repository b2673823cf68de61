"""Rules of header fields, and warnings about routes that stay open."""

from __future__ import annotations

import pytest

from gateway.settings import load

SDKS = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"
GUARDED = ["http: {api: {auth_headers: %s}}", "http: {ofrep: {auth_headers: %s}}"]
GUARDED += ["http: {webhook: {auth_headers: %s}}", "diag: {auth_headers: %s}"]


@pytest.mark.parametrize("option", GUARDED)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("{X-Diag: ''}", "the value is empty, so that it would protect nothing"),
        ("{X-Diag: '  '}", "contains only white space"),
        ("{'': SECRET}", "not a valid header name"),
        ("{'X Diag': SECRET}", "not a valid header name"),
        ("{'X-Diag:': SECRET}", "not a valid header name"),
        ("{X-Ä: SECRET}", "not a valid header name"),
        ('{X-Diag: "SECRET\\nx"}', "contains a line break or control character"),
        ('{X-Diag: "SECRET\\0"}', "contains a line break or control character"),
        ("{X-Diag: SECRET, x-diag: SECRET}", "the header is listed twice"),
    ],
)
def test_required_headers_that_protect_nothing_are_refused(option: str, headers: str, expected: str) -> None:
    """Each gives one problem that does not contain the value."""
    (found,) = load(SDKS + option % headers, {}).problems
    assert "auth_headers" in found.path
    assert expected in str(found)
    assert "SECRET" not in str(found)


def test_an_unset_variable_in_json_is_refused() -> None:
    """A script that inserts a variable into the JSON inserts nothing if the variable is unset."""
    (found,) = load(SDKS, {"CONFIGCAT_DIAG_AUTH_HEADERS": '{"X-Diag": ""}'}).problems
    assert ("diag.auth_headers.X-Diag", "CONFIGCAT_DIAG_AUTH_HEADERS") == (found.path, found.variable)


@pytest.mark.parametrize("section", ["api", "ofrep", "sse", "cdn_proxy"])
@pytest.mark.parametrize("headers", ['{X-A: "a\\r\\nSet-Cookie: b"}', "{'X A': b}", "{'': b}"])
def test_response_headers_are_valid_in_http(section: str, headers: str) -> None:
    """A line break in a value would begin another header."""
    (found,) = load(f"{SDKS}http: {{{section}: {{headers: {headers}}}}}", {}).problems
    assert found.path.startswith(f"http.{section}.headers.")


@pytest.mark.parametrize("section", ["api", "ofrep", "sse", "cdn_proxy"])
def test_response_headers_without_effect_give_a_warning(section: str) -> None:
    """The answers set headers that describe their bytes; those for proxies and scripts are the operator's."""
    headers = "{content-type: text/plain, ETag: x, Cache-Control: private, X-Accel-Buffering: 'yes', Vary: X, X-A: b}"
    loaded = load(f"{SDKS}http: {{{section}: {{headers: {headers}}}}}", {})
    assert () == loaded.problems
    path = f"http.{section}.headers."
    assert [path + "content-type", path + "ETag"] == [warning.path for warning in loaded.warnings]
    assert "has no effect: the gateway sets this header itself" in str(loaded.warnings[0])


@pytest.mark.parametrize("user", ["'a:b'", '"a\\nb"'])
def test_a_user_name_that_no_client_can_send_is_refused(user: str) -> None:
    """The colon ends the user name in Basic authentication."""
    (found,) = load(f"{SDKS}http: {{webhook: {{auth: {{user: {user}, password: SECRET}}}}}}", {}).problems
    assert "http.webhook.auth.user" == found.path


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ("", []),
        ("enabled: false, api: {auth_headers: {X: s}}", []),
        ("api: {enabled: false, auth_headers: {X: s}}", []),
        ("api: {auth_headers: {X: s}}", ["ofrep.auth_headers", "sse.enabled", "cdn_proxy.enabled"]),
        ("ofrep: {auth_headers: {X: s}}", ["api.auth_headers", "sse.enabled", "cdn_proxy.enabled"]),
        ("api: {auth_headers: {X: s}}, ofrep: {auth_headers: {X: s}}", ["sse.enabled", "cdn_proxy.enabled"]),
        ("api: {auth_headers: {X: s}}, ofrep: {enabled: false}, sse: {enabled: false}", ["cdn_proxy.enabled"]),
    ],
)
def test_routes_that_stay_open_beside_guarded_ones_give_a_warning(http: str, expected: list[str]) -> None:
    """Streams and the config JSON have no auth_headers of their own."""
    loaded = load(f"{SDKS}http: {{{http}}}", {})
    assert () == loaded.problems
    assert [f"http.{path}" for path in expected] == [warning.path for warning in loaded.warnings]
