"""Options that a reload can apply."""

from __future__ import annotations

import pytest

from gateway.settings import Settings, load, restart_needed

SDK = "sdks: {a: {key: k}}\n"


def settings(text: str) -> Settings:
    found = load(text if "sdks:" in text else SDK + text, {}).settings
    assert found is not None
    return found


RELOADABLE = [
    "sdks: {a: {key: k}, b: {key: k}}",
    "sdks: {b: {key: k}}",
    "sdks: {a: {key: l, poll_interval: 5}}",
    "default_user_attributes: {a: b}",
    "http: {log: {level: info}}",
    "http: {trusted_proxies: [10.0.0.0/8]}",
    "http: {sse: {heart_beat_interval: 1, max_connections: 5}}",
    "http: {api: {enabled: false, headers: {a: b}}}",
    "http: {cdn_proxy: {cors: {allowed_origins: [x]}}}",
    "http: {webhook: {auth_headers: {a: b}}}",
    "http: {status: {enabled: true}}",
    "upstream: {timeout: 5}",
    "tls: {min_version: 1.3, certificates: [{cert: c, key: k}]}",
]
RESTART = [
    ("http: {port: 1}", ["http.port"]),
    ("http: {bind: 127.0.0.1, enabled: false}", ["http.enabled", "http.bind"]),
    ("diag: {port: 1, bind: 127.0.0.1, enabled: false}", ["diag.enabled", "diag.port", "diag.bind"]),
    ("log: {format: json}", ["log.format"]),
    ("workers: 2", ["workers"]),
    ("tls: {enabled: true, certificates: [{cert: c, key: k}]}", ["tls.enabled"]),
]


@pytest.mark.parametrize("text", RELOADABLE)
def test_options_that_a_reload_applies(text):
    """Options that a running gateway can apply need no restart."""
    old, new = settings(SDK), settings(text)
    assert old != new
    assert () == restart_needed(old, new)


@pytest.mark.parametrize(("text", "paths"), RESTART)
def test_options_that_only_a_restart_applies(text, paths):
    """Options of the process itself are returned."""
    assert tuple(paths) == restart_needed(settings(SDK), settings(text))


def test_equal_settings_need_no_restart():
    """Reading the same file again needs no restart."""
    assert () == restart_needed(settings(SDK), settings(SDK))
