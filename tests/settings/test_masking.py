"""Masking of secrets."""

from __future__ import annotations

import json

import pytest
from msgspec.inspect import DictType

from gateway.settings import load, masked
from gateway.settings.fields import options
from gateway.settings.loading import effective
from gateway.settings.masking import mask_userinfo
from gateway.settings.parsing.nodes import read_json
from gateway.settings.parsing.settings_reader import SettingsReader


def test_no_secret_is_shown():
    """Keys, passwords, signing keys and header values are masked, everything else is shown."""
    text = """
    sdks: {a: {key: CANARY-CANARY, webhook_signing_key: CANARY, base_url: 'https://u:CANARY@h.example/x'}}
    http:
      api: {auth_headers: {X-A: CANARY}, headers: {X-B: shown}}
      ofrep: {auth_headers: {X-A: CANARY}}
      webhook: {auth: {user: shown, password: CANARY}, auth_headers: {X-A: CANARY}}
    http_proxy: {url: 'http://u:CANARY@proxy.example:3128'}
    diag: {auth_headers: {Authorization: CANARY}}
    cache: {redis: {password: CANARY}, mongodb: {url: 'mongodb://u:CANARY@h.example/CANARY'}}
    webhooks:
    - {name: a, url: 'https://hooks.example/CANARY', secret: CANARY}
    - {name: b, url: 'https://hooks.example', secrets: [CANARY], headers: {A: [CANARY]}}
    exporter: {endpoint_url: 'https://x.example/CANARY', secret: CANARY, headers: {A: CANARY}}
    profile: {secret: CANARY}
    """
    loaded = load(text.replace("\n    ", "\n"), {})
    assert loaded.settings is not None
    shown = json.dumps(masked(loaded.settings))
    assert 1 == shown.count("NARY")  # the end of the SDK key
    assert "********ANARY" in shown
    for visible in (
        "https://*****@h.example/x",
        "http://*****@proxy.example:3128",
        '"X-B": "shown"',
        '"X-A": "*****"',
    ):
        assert visible in shown


def test_every_hidden_option_is_masked():
    """Every option that is marked as hidden is masked."""
    hidden = [option for option in options() if option.info.hidden]
    assert 15 < len(hidden)
    for option in hidden:
        value: object = "https://u:CANARY@h.example?CANARY"
        if option.info.hidden in {"all", "key"}:
            value = {"X": "CANARY"} if isinstance(option.field.kind, DictType) else "CANARY......."
        tree: object = value
        for part in reversed(option.path):
            tree = {str(part).replace("<id>", "a"): tree}
        loaded = load(json.dumps(tree), {"CONFIGCAT_A_KEY": "other"} if option.path[-1] != "key" else {})
        found = loaded.settings or effective(SettingsReader({}).settings(read_json(json.dumps(tree))))
        assert "CANARY" not in json.dumps(masked(found)), option.path


def test_an_empty_secret_stays_visible_as_empty():
    """An empty secret is not masked."""
    loaded = load("sdks: {a: {key: k}}", {})
    assert loaded.settings is not None
    assert '"password": ""' in json.dumps(masked(loaded.settings))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1/p", "http://h:1/p"),
        ("http://u@h", "http://*****@h"),
        ("http://[::1", "*****"),
        ("user:pass@host", "*****"),
        ("plain", "plain"),
    ],
)
def test_user_and_query_of_a_url_are_masked(url, shown):
    """Every part that may contain a password is masked, also if the URL is invalid."""
    assert shown == mask_userinfo(url)
