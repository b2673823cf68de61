"""Warnings, and options that this version does not have yet."""

from __future__ import annotations

import pytest

from gateway.settings import load

KEY = f"{'x' * 22}/{'y' * 22}"
SDK = f"sdks: {{a: {{key: {KEY}}}}}\n"


def warnings(text: str, **environ: str) -> list[tuple[str, str]]:
    loaded = load(SDK + text, {f"CONFIGCAT_{name}": value for name, value in environ.items()})
    assert () == loaded.problems
    return [(warning.variable or warning.path, warning.text) for warning in loaded.warnings]


@pytest.mark.parametrize(
    ("text", "path", "near"),
    [
        ("http: {prt: 1}", "http.prt", "http.port"),
        ("http: {sse: {heartbeat_interval: 1}}", "http.sse.heartbeat_interval", "http.sse.heart_beat_interval"),
        ("http: {cdn-proxy: {enabled: false}}", "http.cdn-proxy", "http.cdn_proxy"),
        ("HTTP: {port: 1}", "HTTP", "http"),
        ("max_connections: 5", "max_connections", "http.sse.max_connections"),
        ("poll_interval: 5", "poll_interval", "sdks.<id>.poll_interval"),
    ],
)
def test_an_unknown_key_is_warned_about_with_its_neighbour(text, path, near):
    """A typing slip is named, with the option that was probably meant."""
    key = path.rpartition(".")[2]
    assert [(path, f"unknown option '{key}', ignored; did you mean {near}?")] == warnings(text)


def test_an_unknown_key_without_neighbour_is_only_named():
    """No guess is better than a wild one."""
    assert [("qqqqqqqq", "unknown option 'qqqqqqqq', ignored")] == warnings("qqqqqqqq: 1")


def test_an_unknown_key_has_its_place():
    """The warning points at the key's line."""
    (warning,) = load(SDK + "http:\n  prt: 1\n", {}).warnings
    assert (3, 3) == (warning.line, warning.column)


def test_an_unknown_variable_is_warned_about_with_its_neighbour():
    """Variables with our prefix that mean nothing are named."""
    expected = [("CONFIGCAT_HTTP_PROT", "unknown environment variable, ignored; did you mean CONFIGCAT_HTTP_PORT?")]
    assert expected == warnings("", HTTP_PROT="1")


def test_variables_of_the_platform_are_not_ours():
    """What Kubernetes injects for services of this name is not called a slip."""
    injected = {
        "PROXY_SERVICE_HOST": "x",
        "PROXY_SERVICE_PORT": "1",
        "PROXY_PORT_8050_TCP_ADDR": "x",
        "PROXY_PORT": "x",
    }
    assert [] == warnings("", **injected)


def test_unknown_names_are_not_told_without_end():
    """After fifty the rest is counted."""
    found = warnings("".join(f"unknown{index}: 1\n" for index in range(80)))
    assert (51, ("", "30 more unknown options, ignored")) == (len(found), found[-1])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("grpc: {port: 50052, log: {level: info}}", "grpc"),
        ("grpc: {enabled: true}", "grpc"),
        ("cache: {redis: {enabled: true, password: p}}", "cache.redis"),
        ("diag: {metrics: {otlp: {enabled: true}}}", "diag.metrics.otlp"),
        ("diag: {traces: {enabled: true, otlp: {enabled: true}}}", "diag.traces"),
        ("diag: {service_name: x}", "diag.service_name"),
        ("profile: {poll_interval: 90}", "profile"),
    ],
)
def test_a_missing_feature_is_warned_about_once(text, path):
    """Options of a feature that does not exist yet give one warning together."""
    (found,) = warnings(text)
    assert path == found[0]
    assert found[1].startswith("not available in this version of flaggateway, ignored")


def test_a_missing_feature_names_the_options_that_were_set():
    """An operator sees which lines of the file do nothing."""
    expected = [("grpc", "not available in this version of flaggateway, ignored: grpc.port, grpc.log.level")]
    assert expected == warnings("grpc: {port: 50052, log: {level: info}}")


@pytest.mark.parametrize(
    "text",
    [
        "grpc: {enabled: false}",
        "grpc: {enabled: false, port: 50052}",
        "grpc:",
        "workers: 1",
        "cache: {redis: {enabled: false, addresses: [a]}}",
        "diag: {traces: {enabled: false}}",
        "offline: {enabled: false}",
        "profile: {key: ''}",
    ],
)
def test_a_missing_feature_that_nobody_asks_for_is_not_mentioned(text):
    """Switching off what does not exist is no news."""
    assert [] == warnings(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("profile: {key: p, secret: s}", "profile.key"),
        ("offline: {enabled: true}\ncache: {redis: {enabled: true}}", "offline.enabled"),
        (
            "cache: {redis: {enabled: true}}\nsdks: {b: {key: k, offline: {enabled: true, use_cache: true}}}",
            "sdks.b.offline.use_cache",
        ),
    ],
)
def test_what_would_change_the_served_config_is_an_error(text, path):
    """A source of configs that does not exist yet stops the start."""
    loaded = load(text if "sdks" in text else SDK + text, {})
    assert [path] == [problem.path for problem in loaded.problems]
    assert "not available in this version of flaggateway" in loaded.problems[0].text
    assert loaded.settings is None


def test_a_file_that_is_not_served_is_pointed_out():
    """A file without offline mode has no effect, which nobody means."""
    loaded = load(f"sdks: {{a: {{key: {KEY}, offline: {{local: {{file_path: /f}}}}}}}}", {})
    assert ["sdks.a.offline.local.file_path"] == [warning.path for warning in loaded.warnings]


@pytest.mark.parametrize(
    ("sdk", "told"),
    [
        ('{key: "#YOUR-SDK-KEY#"}', True),
        ("{key: configcat-proxy/shop}", True),
        ("{key: configcat-proxy/shop, base_url: 'https://flags.example'}", False),
        ("{key: shop, offline: {enabled: true, local: {file_path: /f}}}", False),
    ],
)
def test_a_key_that_no_upstream_can_know_is_pointed_out(sdk, told):
    """A placeholder that was left in the file is found before the start; a local file goes with any key."""
    loaded = load(f"sdks: {{a: {sdk}}}", {})
    assert [("sdks.a.key", "no SDK key has this form, so nothing will be fetched for this SDK")] * told == [
        (warning.path, warning.text) for warning in loaded.warnings
    ]


def test_old_tls_is_pointed_out():
    """Versions below 1.2 are allowed and warned about."""
    text = "tls: {enabled: true, min_version: 1.0, certificates: [{cert: /c, key: /k}]}"
    assert [("tls.min_version", "TLS 1.0 and 1.1 are unsafe")] == warnings(text)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (
            "profile: {key: p, poll_interval: 59, webhook_signing_key: k, webhook_signature_valid_for: 4}",
            {
                "profile: proxy is in online mode without a profile secret",
                "profile: auto configuration poll interval cannot be less than 60 seconds",
                "profile: webhook signature validity check must be greater than 5 seconds",
            },
        ),
        (
            "sdks: {a: {key: k, offline: {enabled: true, use_cache: true, local: {file_path: /f}}}}",
            {
                "sdk-a: can't use both local file and cache for offline mode",
                "sdk-a: offline mode enabled with cache, but no cache is configured",
            },
        ),
        (
            "sdks: {a: {key: k}}\noffline: {enabled: true}",
            {"offline: global offline mode enabled, but no cache is configured"},
        ),
    ],
)
def test_missing_features_are_checked_all_the_same(text, texts):
    """What the replaced system refuses is refused in its words, beside the news that the feature is missing."""
    found = {problem.text for problem in load(text, {}).problems}
    assert texts == {words for words in found if "not available" not in words}
    assert texts < found
