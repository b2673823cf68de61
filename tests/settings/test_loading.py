"""Loading of settings: defaults, the YAML file and the environment, in that order, and warnings."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Settings, load, masked
from gateway.settings.fields import Option, options

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
    """A variable overrides the file."""
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
def test_booleans_of_the_environment(word, value):
    """The environment accepts the words that ConfigCat Proxy accepts."""
    assert value == settings(HTTP_STATUS_ENABLED=word).http.status.enabled


@pytest.mark.parametrize("word", ["yes", "no", "on", "TrUe", " true", "2"])
def test_other_words_are_no_booleans_in_the_environment(word):
    """Any other word is an error that names the variable."""
    (problem,) = load(ONE, {"CONFIGCAT_HTTP_ENABLED": word}).problems
    assert "CONFIGCAT_HTTP_ENABLED" == problem.variable
    assert problem.text.startswith("failed to read environment variable 'CONFIGCAT_HTTP_ENABLED': ")


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("on", True), ("no", False), ("False", False)])
def test_yaml_words_are_booleans_in_the_file(word, value):
    """The file also accepts the words of YAML 1.1 for a boolean option."""
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
    """ConfigCat Proxy's name and the regular name set the same option."""
    loaded = load(ONE, {f"CONFIGCAT_{name}": "2.5"})
    assert loaded.settings is not None
    assert (2.5, ()) == (loaded.settings.http.sse.heart_beat_interval, loaded.warnings)


def test_attributes_keep_their_types():
    """Integers, fractions, text and lists keep their types, and the country code NO stays text."""
    text = "default_user_attributes: {Country: NO, on: on, time: 12:30, n: 7, f: 7.0, e: 1e3, s: '7', l: [a, 'b']}"
    found = settings(text).default_user_attributes
    expected = {"Country": "NO", "on": "on", "time": "12:30", "n": 7, "f": 7.0, "e": 1000.0, "s": "7", "l": ["a", "b"]}
    assert expected == found
    assert [str, str, str, int, float, float, str, list] == [type(value) for value in found.values()]


@pytest.mark.parametrize("value", ["true", "{a: b}", "[1]", "[[a]]", "null", ".nan", "[null]"])
def test_other_attributes_are_refused_by_name(value):
    """An attribute of another type is an error with its name and without its value."""
    (problem,) = load(ONE + f"default_user_attributes: {{odd: {value}}}", {}).problems
    assert "'odd' has an invalid type, only 'string', 'number', and 'string[]' types are allowed" == problem.text


def test_text_options_keep_their_spelling():
    """A text option keeps the characters of the file, even if YAML reads them as a number or a boolean."""
    found = settings("http: {api: {headers: {A: 0123, B: 1.10, C: yes, D: 2024-01-01}}}").http.api.headers
    assert {"A": "0123", "B": "1.10", "C": "yes", "D": "2024-01-01"} == found


def test_tls_version_needs_no_quotes():
    """A version that YAML reads as a number is accepted."""
    assert "1.3" == settings("tls: {min_version: 1.3}").tls.min_version


def test_levels_fall_back_to_the_global_one():
    """A component without a level has log.level; streams too, even if http.log has a level."""
    found = settings("log: {level: info}\nhttp: {log: {level: debug}}")
    assert ("debug", "info", "info", "info") == (
        found.http.log.level,
        found.http.sse.log.level,
        found.sdks["a"].log.level,
        found.sdks["a"].offline.log.level,
    )


@pytest.mark.parametrize(("written", "effective"), [(0, 60), (-5, 60), (0.5, 0.5), (3, 3)])
def test_a_poll_interval_of_zero_or_less_is_a_minute(written, effective):
    """An interval of 0 or less means 60 seconds."""
    loaded = load(f"sdks: {{a: {{key: {KEY}, poll_interval: {written}}}}}", {})
    assert loaded.settings is not None
    assert effective == loaded.settings.sdks["a"].poll_interval


def test_an_sdk_is_online_by_default():
    """An SDK without offline options is online."""
    assert settings().sdks["a"].offline.enabled is False


def test_exporter_options_have_camel_case_aliases():
    """The camel case names set the same options."""
    loaded = load(ONE + "exporter: {endpointUrl: 'https://x.example', flushInterval: 5, maxEventInMemory: 7}", {})
    assert loaded.settings is not None
    exporter = loaded.settings.exporter
    assert ("https://x.example", 5, 7) == (exporter.endpoint_url, exporter.flush_interval, exporter.max_event_in_memory)
    assert () == loaded.warnings


def warnings(text: str, **environ: str) -> list[tuple[str, str]]:
    loaded = load(ONE + text, {f"CONFIGCAT_{name}": value for name, value in environ.items()})
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
def test_an_unknown_key_gives_a_warning_with_a_suggestion(text, path, near):
    """The warning contains the key and the most similar option."""
    key = path.rpartition(".")[2]
    assert [(path, f"unknown option '{key}', ignored; did you mean {near}?")] == warnings(text)


def test_an_unknown_key_without_similar_option_has_no_suggestion():
    """The warning contains only the key."""
    assert [("qqqqqqqq", "unknown option 'qqqqqqqq', ignored")] == warnings("qqqqqqqq: 1")


def test_an_unknown_key_has_line_and_column():
    """The warning has the position of the key."""
    (warning,) = load(ONE + "http:\n  prt: 1\n", {}).warnings
    assert (3, 3) == (warning.line, warning.column)


def test_an_unknown_variable_gives_a_warning_with_a_suggestion():
    """A variable with our prefix and no option gives a warning."""
    expected = [("CONFIGCAT_HTTP_PROT", "unknown environment variable, ignored; did you mean CONFIGCAT_HTTP_PORT?")]
    assert expected == warnings("", HTTP_PROT="1")


def test_variables_of_kubernetes_give_no_warning():
    """Kubernetes sets such variables for a service called configcat-…."""
    injected = {
        "PROXY_SERVICE_HOST": "x",
        "PROXY_SERVICE_PORT": "1",
        "PROXY_PORT_8050_TCP_ADDR": "x",
        "PROXY_PORT": "x",
    }
    assert [] == warnings("", **injected)


def test_warnings_about_unknown_names_are_limited():
    """After fifty warnings one more has the number of the rest."""
    found = warnings("".join(f"unknown{index}: 1\n" for index in range(80)))
    assert (51, ("", "30 more unknown options, ignored")) == (len(found), found[-1])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("grpc: {port: 50052, log: {level: info}}", "grpc"),
        ("grpc: {enabled: true}", "grpc"),
        ("cache: {dynamodb: {enabled: true, table: t}}", "cache.dynamodb"),
        ("diag: {metrics: {otlp: {enabled: true}}}", "diag.metrics.otlp"),
        ("diag: {traces: {enabled: true, otlp: {enabled: true}}}", "diag.traces"),
        ("diag: {service_name: x}", "diag.service_name"),
        ("profile: {poll_interval: 90}", "profile"),
    ],
)
def test_an_unsupported_feature_gives_one_warning(text, path):
    """All options of an unsupported feature give one warning together."""
    (found,) = warnings(text)
    assert path == found[0]
    assert found[1].startswith("not supported yet, ignored")


def test_the_warning_of_an_unsupported_feature_lists_its_options():
    """The warning contains the options that have no effect."""
    expected = [("grpc", "not supported yet, ignored: grpc.port, grpc.log.level")]
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
def test_an_unsupported_feature_that_is_off_gives_no_warning(text):
    """Switching off an unsupported feature is fine."""
    assert [] == warnings(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("profile: {key: p, secret: s}", "profile.key"),
    ],
)
def test_an_unsupported_config_source_is_an_error(text, path):
    """An unsupported source of configs prevents the start."""
    loaded = load(text if "sdks" in text else ONE + text, {})
    assert [path] == [problem.path for problem in loaded.problems]
    assert "not supported yet" in loaded.problems[0].text
    assert loaded.settings is None


CANARY = "hunter2-canary"


OPTIONS = list(options())


SECRETS = [option for option in OPTIONS if option.info.hidden]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["warn", "1.2", "eu"])
)


values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


# Wrong shapes that a user may give a secret.
wrapped = st.recursive(
    st.just(CANARY),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["X-A", "b"]), inner, min_size=1, max_size=2)
        | inner.map(lambda value: [value, None, 7, True])
    ),
    max_leaves=3,
)


def placed(option: Option, value: object) -> dict[str, object]:
    tree: object = value
    for part in reversed(option.path):
        tree = {str(part).replace("<id>", "a"): tree}
    assert isinstance(tree, dict)
    return tree


def merged(trees: list[dict[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for tree in trees:
        for key, value in tree.items():
            old = made.get(key)
            made[key] = merged([old, value]) if isinstance(old, dict) and isinstance(value, dict) else value
    return made


@given(
    st.text() | st.text(alphabet="abc:{}[]-&*!|>'\"\n \t#%@,?<~0", max_size=60),
    st.dictionaries(
        st.sampled_from([name.replace("<ID>", "A") for option in OPTIONS for name in option.names]),
        st.text(),
        max_size=4,
    ),
)
def test_no_text_makes_loading_raise(text, environ):
    """Any text and any variables give either settings or problems."""
    loaded = load(text, environ)
    assert (loaded.settings is None) == bool(loaded.problems)


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), values), max_size=5))
def test_no_values_make_loading_raise(pairs):
    """Any value of any option gives either valid settings or problems."""
    text = json.dumps(merged([placed(option, value) for option, value in pairs]))
    loaded = load(text, {"CONFIGCAT_SDKS": '{"a":"k"}'})
    assert (loaded.settings is None) == bool(loaded.problems)
    if loaded.settings is not None:
        assert isinstance(loaded.settings, Settings)
        json.dumps(masked(loaded.settings))
    assert all(str(problem).isprintable() for problem in (*loaded.problems, *loaded.warnings))


@given(
    st.lists(st.tuples(st.sampled_from(SECRETS), wrapped), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["", "\n  ]", "\nx: *y"]),
)
def test_no_problem_contains_a_secret_of_the_file(pairs, block, ruin):
    """No message contains the secret, for any shape of its value and any syntax error of the file."""
    tree = merged([placed(option, value) for option, value in pairs])
    text = yaml.safe_dump(tree, default_flow_style=not block) + ruin
    loaded = load(text, {})
    assert CANARY not in repr((loaded.problems, loaded.warnings))
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))


@given(
    st.sampled_from(SECRETS),
    st.sampled_from(
        [
            CANARY,
            f"*{CANARY}",
            f"!{CANARY} x",
            f"{{{CANARY}",
            f'"{CANARY}',
            f"[{CANARY}, {CANARY}",
            f"%{CANARY}",
            f"@{CANARY}",
            f"&{CANARY} x",
            f"| {CANARY}",
            f"{CANARY}: {CANARY}",
        ]
    ),
)
def test_no_problem_contains_an_unquoted_secret(option, written):
    """A secret that is YAML syntax makes the file invalid, and no message contains it."""
    names = [str(part).replace("<id>", "a") for part in option.path]
    text = "\n".join("  " * depth + name + ":" for depth, name in enumerate(names))
    loaded = load(text + " " + written + "\n", {})
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))


@given(st.sampled_from(SECRETS), wrapped | st.just(CANARY), st.sampled_from(["", "}", ","]))
def test_no_problem_contains_a_secret_of_the_environment(option, value, ruin):
    """No message contains the secret, for any value of its variable."""
    environ = {
        name.replace("<ID>", "A"): (value if isinstance(value, str) else json.dumps(value)) + ruin
        for name in option.names
    }
    loaded = load("sdks: {a: {}}", environ)
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))
