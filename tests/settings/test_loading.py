"""Defaults, the YAML file and the environment, in that order."""

from __future__ import annotations

import pytest

from gateway.settings import Settings, load

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
ONE = f"sdks: {{a: {{key: {KEY}}}}}\n"


def settings(text: str = "", **environ: str) -> Settings:
    loaded = load(ONE + text, {f"CONFIGCAT_{name}": value for name, value in environ.items()})
    assert () == loaded.problems
    assert loaded.settings is not None
    return loaded.settings


def test_defaults_are_the_documented_ones():
    """Without a file everything but the SDKs has its default."""
    found = load(None, {"CONFIGCAT_SDKS": f'{{"a":"{KEY}"}}'}).settings
    assert found is not None
    assert (8050, 8051, "warn", 60) == (
        found.http.port,
        found.diag.port,
        found.log.level,
        found.sdks["a"].poll_interval,
    )
    assert (True, True, False) == (found.http.enabled, found.http.sse.enabled, found.http.status.enabled)
    assert (20, 5, 5) == (
        found.http.sse.heart_beat_interval,
        found.http.sse.drain_window,
        found.sdks["a"].offline.cache_poll_interval,
    )


def test_the_environment_wins_over_the_file():
    """A variable overrides what the file says."""
    assert 9002 == settings("http: {port: 9001}", HTTP_PORT="9002").http.port


def test_an_empty_variable_counts_as_not_set():
    """An empty variable leaves the file's value alone."""
    assert 9001 == settings("http: {port: 9001}", HTTP_PORT="").http.port


def test_null_in_the_file_counts_as_not_set():
    """A section or option without a value has its defaults."""
    found = settings("http:\ndiag: {port: }\ntls: ~")
    assert (8050, 8051, False) == (found.http.port, found.diag.port, found.tls.enabled)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ["1", "t", "T", "TRUE", "true", "True"]),
        *((word, False) for word in ["0", "f", "F", "FALSE", "false", "False"]),
    ],
)
def test_truth_values_of_the_environment(word, value):
    """The environment takes the words of the replaced system."""
    assert value == settings(HTTP_STATUS_ENABLED=word).http.status.enabled


@pytest.mark.parametrize("word", ["yes", "no", "on", "TrUe", " true", "2"])
def test_other_words_are_no_truth_values_in_the_environment(word):
    """Any other word is an error that names the variable."""
    (problem,) = load(ONE, {"CONFIGCAT_HTTP_ENABLED": word}).problems
    assert "CONFIGCAT_HTTP_ENABLED" == problem.variable
    assert problem.text.startswith("failed to read environment variable 'CONFIGCAT_HTTP_ENABLED': ")


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("on", True), ("no", False), ("False", False)])
def test_yaml_words_are_truth_values_in_the_file(word, value):
    """The file takes YAML's older words too where the option is a truth value."""
    assert value == settings(f"http: {{status: {{enabled: {word}}}}}").http.status.enabled


def test_lists_maps_and_certificates_are_json_in_the_environment():
    """Lists, maps, attributes and certificates come as JSON in one variable each."""
    found = settings(
        HTTP_API_CORS_ALLOWED_ORIGINS='["https://a.example","https://b.example"]',
        HTTP_API_AUTH_HEADERS='{"X-Auth":"s"}',
        DEFAULT_USER_ATTRIBUTES='{"Country":"NO","n":7,"f":7.5,"l":["a"]}',
        TLS_CERTIFICATES='[{"cert":"/c","key":"/k"}]',
        WORKERS="1",
    )
    assert ["https://a.example", "https://b.example"] == found.http.api.cors.allowed_origins
    assert {"X-Auth": "s"} == found.http.api.auth_headers
    assert {"Country": "NO", "n": 7, "f": 7.5, "l": ["a"]} == found.default_user_attributes
    assert ("/c", "/k") == (found.tls.certificates[0].cert, found.tls.certificates[0].key)


@pytest.mark.parametrize("name", ["HTTP_SSE_HEARTBEAT_INTERVAL", "HTTP_SSE_HEART_BEAT_INTERVAL"])
def test_both_names_of_the_heartbeat_interval_work(name):
    """The replaced system's name and the regular one mean the same option."""
    loaded = load(ONE, {f"CONFIGCAT_{name}": "2.5"})
    assert loaded.settings is not None
    assert (2.5, ()) == (loaded.settings.http.sse.heart_beat_interval, loaded.warnings)


def test_attributes_keep_their_types():
    """Whole numbers, fractions, text and lists stay what they are, and Norway stays a country."""
    text = "default_user_attributes: {Country: NO, on: on, time: 12:30, n: 7, f: 7.0, e: 1e3, s: '7', l: [a, 'b']}"
    found = settings(text).default_user_attributes
    expected = {"Country": "NO", "on": "on", "time": "12:30", "n": 7, "f": 7.0, "e": 1000.0, "s": "7", "l": ["a", "b"]}
    assert expected == found
    assert [str, str, str, int, float, float, str, list] == [type(value) for value in found.values()]


@pytest.mark.parametrize("value", ["true", "{a: b}", "[1]", "[[a]]", "null", ".nan", "[null]"])
def test_other_attributes_are_refused_by_name(value):
    """An attribute of another type is an error that names it and does not show it."""
    (problem,) = load(ONE + f"default_user_attributes: {{odd: {value}}}", {}).problems
    assert "'odd' has an invalid type, only 'string', 'number', and 'string[]' types are allowed" == problem.text


def test_text_options_keep_their_spelling():
    """A text option takes the file's letters, also where YAML would make them a number or a truth value."""
    found = settings("http: {api: {headers: {A: 0123, B: 1.10, C: yes, D: 2024-01-01}}}").http.api.headers
    assert {"A": "0123", "B": "1.10", "C": "yes", "D": "2024-01-01"} == found


def test_tls_version_needs_no_quotes():
    """A version that YAML takes for a number is still a version."""
    assert "1.3" == settings("tls: {min_version: 1.3}").tls.min_version


def test_levels_fall_back_to_the_global_one():
    """A component without a level has that of log.level, streams included although HTTP has its own."""
    found = settings("log: {level: info}\nhttp: {log: {level: debug}}")
    assert ("debug", "info", "info", "info") == (
        found.http.log.level,
        found.http.sse.log.level,
        found.sdks["a"].log.level,
        found.sdks["a"].offline.log.level,
    )


@pytest.mark.parametrize(("written", "effective"), [(0, 60), (-5, 60), (0.5, 0.5), (3, 3)])
def test_poll_intervals_of_nothing_mean_a_minute(written, effective):
    """An interval of 0 or less means 60 seconds."""
    loaded = load(f"sdks: {{a: {{key: {KEY}, poll_interval: {written}}}}}", {})
    assert loaded.settings is not None
    assert effective == loaded.settings.sdks["a"].poll_interval


def test_offline_has_a_value_when_nothing_was_said():
    """An SDK that says nothing is not offline."""
    assert settings().sdks["a"].offline.enabled is False


def test_exporter_takes_the_spellings_of_its_seed():
    """Names in camel case mean the same options."""
    loaded = load(ONE + "exporter: {endpointUrl: 'https://x.example', flushInterval: 5, maxEventInMemory: 7}", {})
    assert loaded.settings is not None
    exporter = loaded.settings.exporter
    assert ("https://x.example", 5, 7) == (exporter.endpoint_url, exporter.flush_interval, exporter.max_event_in_memory)
    assert () == loaded.warnings
