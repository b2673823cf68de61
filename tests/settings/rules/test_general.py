"""What is refused, in which words."""

from __future__ import annotations

import pytest

from gateway.settings import Problem, load

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
ONE = f"sdks: {{a: {{key: {KEY}}}}}\n"


def problems(text: str, environ: dict[str, str] | None = None, **more: object) -> tuple[Problem, ...]:
    loaded = load(text, environ or {}, **more)  # type: ignore[arg-type]
    assert (loaded.settings is None) == bool(loaded.problems)
    return loaded.problems


def sdk(options: str) -> str:
    return f"sdks: {{a: {{key: {KEY}, {options}}}}}"


# Each row: settings, and the one problem's path and text.
CASES = [
    ("", "sdks", "sdk: at least 1 SDK or a proxy profile must be configured"),
    ("sdks: {a: {base_url: 'https://x.example'}}", "sdks.a.key", "sdk-a: SDK key is required"),
    (
        sdk("data_governance: EU"),
        "sdks.a.data_governance",
        "sdk-a: invalid data governance value, it must be 'global' or 'eu'",
    ),
    (
        sdk("webhook_signing_key: k, webhook_signature_valid_for: 4"),
        "sdks.a.webhook_signature_valid_for",
        "sdk-a: webhook signature validity check must be greater than 5 seconds",
    ),
    (
        sdk("offline: {enabled: true}"),
        "sdks.a.offline.enabled",
        "sdk-a: offline mode requires either a configured cache or a local file",
    ),
    (
        sdk("offline: {enabled: true, local: {file_path: /f, polling: true, poll_interval: 0}}"),
        "sdks.a.offline.local.poll_interval",
        "sdk-a: local file poll interval must be greater than 1 seconds",
    ),
    (
        sdk("offline: {cache_poll_interval: 0}"),
        "sdks.a.offline.cache_poll_interval",
        "sdk-a: cache poll interval must be greater than 1 seconds",
    ),
    (sdk("base_url: cdn.example.com"), "sdks.a.base_url", "not a usable address"),
    (
        ONE + "offline: {cache_poll_interval: 0}",
        "offline.cache_poll_interval",
        "offline: cache poll interval must be greater than 1 seconds",
    ),
    (ONE + "http: {port: 0}", "http.port", "http: invalid port 0"),
    (ONE + "http: {port: 65536, enabled: false}", "http.port", "http: invalid port 65536"),
    (ONE + "http: {port: 8051}", "diag.port", "diag: the same port as http.port"),
    (ONE + "http: {port: 9, bind: '::1'}\ndiag: {port: 9}", "diag.port", "diag: the same port as http.port"),
    (ONE + "diag: {port: -1}", "diag.port", "diag: invalid port -1"),
    (ONE + "grpc: {port: 70000, enabled: false}", "grpc.port", "grpc: invalid port 70000"),
    (
        ONE + "http: {webhook: {auth: {user: u}}}",
        "http.webhook.auth",
        "webhook: both basic auth user and password required",
    ),
    (
        ONE + "http: {ofrep: {cors: {allowed_origins_regex: {patterns: ['a.*']}}}}",
        "http.ofrep.cors.allowed_origins_regex.if_no_match",
        "cors: the 'if no watch' field is required when allowed origins regex is set",
    ),
    (
        ONE + "http: {sse: {cors: {allowed_origins_regex: {patterns: ['ok', '(?=a)'], if_no_match: x}}}}",
        "http.sse.cors.allowed_origins_regex.patterns[1]",
        "cors: not a regular expression: invalid perl operator: (?=",
    ),
    (ONE + "http: {trusted_proxies: [10.0.0.0/8, nonsense]}", "http.trusted_proxies[1]", "not a network"),
    (ONE + "http: {bind: nowhere}", "http.bind", "not an address of this machine"),
    (ONE + "http_proxy: {url: 'socks5://p:1'}", "http_proxy.url", "not a usable address"),
    (ONE + "http_proxy: {url: 'http://[::1'}", "http_proxy.url", "not a usable address"),
    (ONE + "tls: {enabled: true}", "tls.certificates", "tls: TLS is enabled without a certificate"),
    (
        ONE + "tls: {enabled: true, certificates: [{cert: /c}]}",
        "tls.certificates[0]",
        "tls: both TLS cert and key file required",
    ),
    (ONE + "tls: {min_version: 1.4}", "tls.min_version", "not allowed"),
    (ONE + "log: {level: warning}", "log.level", "not allowed"),
    (ONE + "http: {sse: {log: {level: DEBUG}}}", "http.sse.log.level", "not allowed"),
    (ONE + "http: {enabled: maybe}", "http.enabled", "wrong type"),
    (ONE + "http: {port: '8050'}", "http.port", "wrong type"),
    (ONE + "http: [a]", "http", "not a mapping"),
    (ONE + "upstream: {timeout: .inf}", "upstream.timeout", "wrong type"),
    (ONE + "http: {api: {headers: {A: [b]}}}", "http.api.headers.A", "wrong type"),
    (
        ONE + "diag: {metrics: {otlp: {enabled: true, protocol: udp}}}",
        "diag.metrics.otlp.protocol",
        "diag: invalid otlp protocol udp (only 'http', 'https', or 'grpc' allowed)",
    ),
    (
        ONE + "cache: {redis: {enabled: true, addresses: []}}",
        "cache.redis.addresses",
        "redis: at least 1 server address required",
    ),
    (ONE + "cache: {mongodb: {enabled: true}}", "cache.mongodb.url", "mongodb: invalid connection uri"),
]


@pytest.mark.parametrize(("text", "path", "expected"), CASES, ids=[f"{case[1]}-{i}" for i, case in enumerate(CASES)])
def test_each_rule_has_its_text_and_path(text, path, expected):
    """One broken rule gives one problem, with its path and the documented words."""
    assert [(path, expected)] == [(problem.path, problem.text) for problem in problems(text)]


@pytest.mark.parametrize(
    "text",
    [
        sdk("webhook_signature_valid_for: 1"),
        sdk("webhook_signing_key: k, webhook_signature_valid_for: 5"),
        sdk("offline: {enabled: true, local: {file_path: /f, poll_interval: 0}}"),
        ONE + "http: {webhook: {enabled: false, auth: {user: u}}}",
        ONE + "http: {api: {cors: {enabled: false, allowed_origins_regex: {patterns: [a]}}}}",
        ONE + "diag: {traces: {otlp: {protocol: udp}}}",
        ONE + "http: {port: 8051, enabled: false}",
        ONE + "diag: {port: 8050, enabled: false}",
        ONE + "http: {port: 9, bind: 127.0.0.1}\ndiag: {port: 9, bind: '::1'}",
        ONE + "http: {bind: '::1', trusted_proxies: ['2001:db8::/32', 10.1.2.3]}",
    ],
)
def test_rules_hold_only_where_they_matter(text):
    """What the replaced system lets pass, because it has no effect, passes here."""
    assert () == problems(text)


def test_all_problems_are_told_at_once():
    """Wrong values and broken rules all appear in one go, each once."""
    text = "log: {level: x}\nsdks: {a: {}, b: {key: k, data_governance: x}}\nhttp: {port: 0, bind: x}"
    found = [problem.path for problem in problems(text, {"CONFIGCAT_DIAG_PORT": "x"})]
    assert ["sdks.a.key", "log.level", "sdks.b.data_governance", "http.port", "http.bind", "diag.port"] == sorted(
        found, key=["sdks.a.key", "log.level", "sdks.b.data_governance", "http.port", "http.bind", "diag.port"].index
    )
    assert 6 == len(found)


def test_a_problem_says_where_what_and_what_is_allowed():
    """The line names path, line and column, the value found and the values allowed."""
    (problem,) = problems(ONE + "http:\n  port: 70000\n")
    assert (3, 9, "'70000'", "a whole number from 1 to 65535") == (
        problem.line,
        problem.column,
        problem.found,
        problem.allowed,
    )
    line = "http.port (line 3, column 9): http: invalid port 70000"
    assert f"{line} (found '70000'; allowed: a whole number from 1 to 65535)" == str(problem)


def test_a_problem_of_the_environment_names_the_variable():
    """What a variable set is told by its name, whatever the file says."""
    (problem,) = problems(ONE + "http: {port: 1}", {"CONFIGCAT_HTTP_PORT": "99999"})
    assert ("http.port", "CONFIGCAT_HTTP_PORT", None) == (problem.path, problem.variable, problem.line)
    assert "CONFIGCAT_HTTP_PORT: http: invalid port 99999" in str(problem)


def test_a_rule_names_the_variable_that_set_the_value():
    """A rule's problem points at the place where its value was set."""
    (problem,) = problems(ONE, {"CONFIGCAT_HTTP_PROXY_URL": "nonsense"})
    assert ("http_proxy.url", "CONFIGCAT_HTTP_PROXY_URL") == (problem.path, problem.variable)


def test_a_value_inside_a_variables_json_is_found_by_path():
    """Nested JSON of a variable has the path of the option below."""
    (problem,) = problems(ONE, {"CONFIGCAT_TLS_CERTIFICATES": '[{"cert": 1, "key": "/k"}]'})
    assert ("tls.certificates[0].cert", "CONFIGCAT_TLS_CERTIFICATES") == (problem.path, problem.variable)


def test_files_that_are_not_there_are_told():
    """Named files must exist; the caller says what exists."""
    text = (
        sdk("offline: {enabled: true, local: {file_path: /none.json}}")
        + "\nupstream: {ca_file: /ca}\ntls: {enabled: true, certificates: [{cert: /c, key: /there}]}"
    )
    assert [
        "sdk-a: couldn't find the local file /none.json",
        "couldn't find the file /ca",
        "couldn't find the file /c",
    ] == [problem.text for problem in problems(text, exists=lambda path: path == "/there")]


def test_line_breaks_cannot_forge_a_message():
    """Control characters of an SDK id do not reach the terminal."""
    shown = str(problems('sdks: {"a\\e[31m\\nb": {}}')[0])
    assert shown.isprintable()
