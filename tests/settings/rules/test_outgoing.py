"""Rules of web hooks and of where they may go."""

from __future__ import annotations

import pytest

from gateway.settings import load

SDKS = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"
HOOK = "name: ops, url: 'https://x.example/SECRET'"


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    return [str(problem) for problem in load(SDKS + text, {}, exists=lambda _: False).problems]


def test_a_web_hook_needs_a_name_and_an_address() -> None:
    """With both it is fine."""
    assert problems(f"webhooks: [{{{HOOK}}}]") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("webhooks: [{url: 'https://x.example/SECRET'}]", "needs a name"),
        ("webhooks: [{name: ops}]", "needs an address"),
        ("webhooks: [{name: ops, url: 'ftp://x.example/SECRET'}]", "not a usable address"),
        (f"webhooks: [{{{HOOK}}}, {{{HOOK}}}]", "the name 'ops' is taken by another web hook"),
        (f"webhooks: [{{{HOOK}, sdks: [two]}}]", "there is no SDK 'two'"),
        (f"webhooks: [{{{HOOK}, ca_file: /nowhere.pem}}]", "couldn't find the file /nowhere.pem"),
        ("webhooks: [{name: ' ops', url: 'https://x.example/SECRET'}]", "blanks around it"),
        ('webhooks: [{name: "a\\nb", url: "https://x.example/SECRET"}]', "characters that nobody can read"),
        ("webhooks: [{name: " + "a" * 129 + ", url: 'https://x.example/SECRET'}]", "at most 128 characters"),
        ("webhooks: [{name: ops, url: 'https://x example/SECRET'}]", "not a usable address"),
        (f"webhooks: [{{{HOOK}, secrets: [SECRET, '']}}]", "webhooks[0].secrets[1]"),
        (f"webhooks: [{{{HOOK}, headers: {{'X Y': SECRET}}}}]", "not the name of a header"),
        (f'webhooks: [{{{HOOK}, headers: {{X: ["SECRET\\r\\nY: Z"]}}}}]', "a line break or control character"),
        (f"webhooks: [{{{HOOK}, concurrency: 1001}}]", "a whole number from 1 to 1000"),
        ("exporter: {endpoint_url: 'https://x.example', headers: {'': SECRET}}", "not the name of a header"),
        ("exporter: {bulk: true}", "kind 'webhook' needs an address"),
        ("exporter: {kind: file, endpoint_url: 'https://x.example/SECRET'}", "kind 'file' needs a path"),
        ("exporter: {kind: file, path: /nowhere/x.jsonl}", "there is no folder /nowhere"),
        ("exporter: {endpoint_url: 'ftp://x.example/SECRET'}", "not a usable address"),
        ("exporter: {endpoint_url: 'https://x.example', ca_file: /nowhere.pem}", "couldn't find the file /nowhere.pem"),
        ("exporter: {endpoint_url: 'https://x.example', sampling: 1.5}", "sampling"),
        ("delivery: {allowed_networks: [10.0.0.0/99]}", "not a network"),
        ("delivery: {denied_networks: [here]}", "not a network"),
        ("delivery: {source_address: here}", "not an IP address"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(text: str, expected: str) -> None:
    """One problem each, in words, without what may be secret."""
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
def test_evaluations_are_exported_where_it_is_said_where_to(text: str, expected: tuple[bool, bool]) -> None:
    """And only those that go to an endpoint wait in the outbox."""
    settings = load(SDKS + text, {}).settings
    assert settings is not None
    assert expected == (settings.exporter.on, settings.exporter.spools)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("format: slack, events: [FLAG_UPDATED]", "events", "only format envelope has it"),
        ("format: notifier, users: [{Identifier: '1'}]", "users", "only format envelope has it"),
        ("meta: {app: shop}", "meta", "only format notifier has it"),
        ("users: [{Identifier: '1'}], events: [FLAG_UPDATED]", "users", "events leaves out USER_FLAGS_UPDATED"),
        ("events: [USER_FLAGS_UPDATED]", "events", "there are no users to watch"),
        ("users: [{}]", "users[0]", "without attributes is not watched"),
        ("headers: {Content-TYPE: text/plain}", "headers.Content-TYPE", "the gateway sets this header itself"),
        ("secret: 'whsec_no base64!'", "secret", "does not go on with base64"),
        ("secrets: ['whsec_c2VjcmV0', whsec_]", "secrets[1]", "does not go on with base64"),
    ],
)
def test_what_has_no_effect_is_a_warning(text: str, path: str, words: str) -> None:
    """It works, and probably not as it was meant; no secret is shown."""
    loaded = load(SDKS + f"webhooks: [{{{HOOK}, {text}}}]", {})
    (warning,) = loaded.warnings
    assert ((), f"webhooks[0].{path}") == (loaded.problems, warning.path)
    assert words in warning.text
    assert "base64!" not in str(warning)


def test_what_is_meant_is_no_warning() -> None:
    """Each option under the format that has it, and both spellings of base64's end."""
    envelope = "users: [{Identifier: '1'}], secrets: [whsec_c2VjcmV0cw==, whsec_c2VjcmV0cw, any text]"
    hooks = (
        f"webhooks: [{{{HOOK}, {envelope}}}, {{name: b, url: 'https://x.example', format: notifier, meta: {{a: b}}}}]"
    )
    loaded = load(SDKS + hooks, {})
    assert ((), ()) == (loaded.problems, loaded.warnings)
