"""What a reload can apply."""

from __future__ import annotations

import pytest

from gateway.settings import Settings, changes, load, restart_needed

SDK = "sdks: {a: {key: k}}\n"


def settings(text: str) -> Settings:
    found = load(text if "sdks:" in text else SDK + text, {}).settings
    assert found is not None
    return found


RELOADABLE = [
    ("sdks: {a: {key: k}, b: {key: k}}", ["sdks.b"]),
    ("sdks: {b: {key: k}}", ["sdks.a", "sdks.b"]),
    ("sdks: {a: {key: l, poll_interval: 5}}", ["sdks.a.key", "sdks.a.poll_interval"]),
    ("default_user_attributes: {a: b}", ["default_user_attributes"]),
    ("http: {log: {level: info}}", ["http.log.level"]),
    ("http: {trusted_proxies: [10.0.0.0/8]}", ["http.trusted_proxies"]),
    (
        "http: {sse: {heart_beat_interval: 1, max_connections: 5}}",
        ["http.sse.heart_beat_interval", "http.sse.max_connections"],
    ),
    ("http: {api: {enabled: false, headers: {a: b}}}", ["http.api.enabled", "http.api.headers"]),
    ("http: {cdn_proxy: {cors: {allowed_origins: [x]}}}", ["http.cdn_proxy.cors.allowed_origins"]),
    ("http: {webhook: {auth_headers: {a: b}}}", ["http.webhook.auth_headers"]),
    ("http: {status: {enabled: true}}", ["http.status.enabled"]),
    ("upstream: {timeout: 5}", ["upstream.timeout"]),
    ("tls: {min_version: 1.3, certificates: [{cert: c, key: k}]}", ["tls.min_version", "tls.certificates"]),
]
RESTART = [
    ("http: {port: 1}", ["http.port"]),
    ("http: {bind: 127.0.0.1, enabled: false}", ["http.enabled", "http.bind"]),
    ("diag: {port: 1, bind: 127.0.0.1, enabled: false}", ["diag.enabled", "diag.port", "diag.bind"]),
    ("log: {format: json}", ["log.format"]),
    ("workers: 2", ["workers"]),
    ("tls: {enabled: true, certificates: [{cert: c, key: k}]}", ["tls.enabled"]),
]


@pytest.mark.parametrize(("text", "paths"), RELOADABLE)
def test_a_reload_applies_these(text, paths):
    """Options that a running gateway takes over ask for no restart."""
    old, new = settings(SDK), settings(text)
    assert (tuple(paths), ()) == (changes(old, new), restart_needed(old, new))


@pytest.mark.parametrize(("text", "paths"), RESTART)
def test_only_a_restart_applies_these(text, paths):
    """Options that are bound to the process are named."""
    assert tuple(paths) == restart_needed(settings(SDK), settings(text))


def test_equal_settings_differ_in_nothing():
    """Reading the same file again changes nothing."""
    assert ((), ()) == (changes(settings(SDK), settings(SDK)), restart_needed(settings(SDK), settings(SDK)))


def test_a_changed_level_reaches_whoever_falls_back_to_it():
    """Levels are compared as they hold, so a new global level is a change of each that follows it."""
    assert "http.sse.log.level" in changes(settings(SDK), settings("log: {level: debug}"))
