"""Rules of webhooks, of the exporter and of networks."""

from __future__ import annotations

import pytest

from gateway.settings import load

SDKS = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"
HOOK = "name: ops, url: 'https://x.example/SECRET'"


def problems(text: str) -> list[str]:
    """Return the problems of a file."""
    return [str(problem) for problem in load(SDKS + text, {}, exists=lambda _: False).problems]


def test_an_endpoint_with_name_and_url_is_valid() -> None:
    """Name and URL are enough."""
    assert problems(f"webhooks: [{{{HOOK}}}]") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("webhooks: [{url: 'https://x.example/SECRET'}]", "needs a name"),
        ("webhooks: [{name: ops}]", "needs a URL"),
        ("webhooks: [{name: ops, url: 'ftp://x.example/SECRET'}]", "not a valid URL"),
        (f"webhooks: [{{{HOOK}}}, {{{HOOK}}}]", "the name 'ops' is used by another endpoint"),
        (f"webhooks: [{{{HOOK}, sdks: [two]}}]", "unknown SDK 'two'"),
        (f"webhooks: [{{{HOOK}, ca_file: /nowhere.pem}}]", "couldn't find the file /nowhere.pem"),
        ("webhooks: [{name: ' ops', url: 'https://x.example/SECRET'}]", "begins or ends with a space"),
        ('webhooks: [{name: "a\\nb", url: "https://x.example/SECRET"}]', "contains control characters"),
        ("webhooks: [{name: " + "a" * 129 + ", url: 'https://x.example/SECRET'}]", "at most 128 characters"),
        ("webhooks: [{name: ops, url: 'https://x example/SECRET'}]", "not a valid URL"),
        (f"webhooks: [{{{HOOK}, secrets: [SECRET, '']}}]", "webhooks[0].secrets[1]"),
        (f"webhooks: [{{{HOOK}, headers: {{'X Y': SECRET}}}}]", "not a valid header name"),
        (f'webhooks: [{{{HOOK}, headers: {{X: ["SECRET\\r\\nY: Z"]}}}}]', "a line break or control character"),
        (f"webhooks: [{{{HOOK}, concurrency: 1001}}]", "a whole number from 1 to 1000"),
        ("exporter: {endpoint_url: 'https://x.example', headers: {'': SECRET}}", "not a valid header name"),
        ("webhooks: [{name: ops, url: 'https://x.example/#SECRET'}]", "the URL has a fragment (#)"),
        ("exporter: {endpoint_url: 'https://x.example/#SECRET'}", "the URL has a fragment (#)"),
        ("exporter: {bulk: true}", "kind 'webhook' needs a URL"),
        ("exporter: {kind: file, endpoint_url: 'https://x.example/SECRET'}", "kind 'file' needs a path"),
        ("exporter: {kind: file, path: /nowhere/x.jsonl}", "folder /nowhere does not exist"),
        ("exporter: {endpoint_url: 'ftp://x.example/SECRET'}", "not a valid URL"),
        ("exporter: {endpoint_url: 'https://x.example', ca_file: /nowhere.pem}", "couldn't find the file /nowhere.pem"),
        ("exporter: {endpoint_url: 'https://x.example', sampling: 1.5}", "sampling"),
        ("delivery: {allowed_networks: [10.0.0.0/99]}", "not a network"),
        ("delivery: {denied_networks: [here]}", "not a network"),
        ("delivery: {source_address: here}", "not an IP address"),
    ],
)
def test_invalid_options_are_refused(text: str, expected: str) -> None:
    """Each gives one problem without secrets."""
    (found,) = problems(text)
    assert expected in found
    assert "SECRET" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (False, False)),
        ("exporter: {kind: webhook}", (False, False)),
        ("exporter: {endpoint_url: 'https://x.example'}", (True, True)),
        ("exporter: {kind: file, path: /var/log/evaluations.jsonl}", (True, False)),
    ],
)
def test_evaluations_are_exported_if_a_target_is_set(text: str, expected: tuple[bool, bool]) -> None:
    """Only those for an endpoint are stored in the outbox."""
    settings = load(SDKS + text, {}).settings
    assert settings is not None
    assert expected == (settings.exporter.on, settings.exporter.spools)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("format: slack, events: [FLAG_UPDATED]", "events", "only format envelope uses it"),
        ("format: notifier, users: [{Identifier: '1'}]", "users", "only format envelope uses it"),
        ("meta: {app: shop}", "meta", "only format notifier uses it"),
        ("users: [{Identifier: '1'}], events: [FLAG_UPDATED]", "users", "events does not contain USER_FLAGS_UPDATED"),
        ("events: [USER_FLAGS_UPDATED]", "events", "users is empty"),
        ("users: [{}]", "users[0]", "without attributes is not watched"),
        ("headers: {Content-TYPE: text/plain}", "headers.Content-TYPE", "the gateway sets this header itself"),
        ("secret: 'whsec_no base64!'", "secret", "is not base64 after it"),
        ("secrets: ['whsec_c2VjcmV0', whsec_]", "secrets[1]", "is not base64 after it"),
    ],
)
def test_options_without_effect_give_a_warning(text: str, path: str, words: str) -> None:
    """The settings are valid; the warning contains no secret."""
    loaded = load(SDKS + f"webhooks: [{{{HOOK}, {text}}}]", {})
    (warning,) = loaded.warnings
    assert ((), f"webhooks[0].{path}") == (loaded.problems, warning.path)
    assert words in warning.text
    assert "base64!" not in str(warning)


def test_options_with_effect_give_no_warning() -> None:
    """Each option is used with the format that has it; base64 may omit its padding."""
    envelope = "users: [{Identifier: '1'}], secrets: [whsec_c2VjcmV0cw==, whsec_c2VjcmV0cw, any text]"
    hooks = (
        f"webhooks: [{{{HOOK}, {envelope}}}, {{name: b, url: 'https://x.example', format: notifier, meta: {{a: b}}}}]"
    )
    loaded = load(SDKS + hooks, {})
    assert ((), ()) == (loaded.problems, loaded.warnings)
