"""Rules: errors with their texts, and warnings."""

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
    ("", "sdks", "sdk: at least 1 SDK must be configured"),
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
    (sdk("base_url: cdn.example.com"), "sdks.a.base_url", "not a valid URL"),
    (sdk("base_url: 'http://h/?q'"), "sdks.a.base_url", "the URL has a query (?), which cannot be used here"),
    (sdk("base_url: 'http://h/#f'"), "sdks.a.base_url", "the URL has a fragment (#), which is never sent"),
    (ONE + "http_proxy: {url: 'http://h?'}", "http_proxy.url", "the URL has a query (?), which cannot be used here"),
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
        "cors: the 'if_no_match' field is required when allowed origins regex is set",
    ),
    (
        ONE + "http: {sse: {cors: {allowed_origins_regex: {patterns: ['ok', '(?=a)'], if_no_match: x}}}}",
        "http.sse.cors.allowed_origins_regex.patterns[1]",
        "cors: not a regular expression: invalid perl operator: (?=",
    ),
    (ONE + "http: {trusted_proxies: [10.0.0.0/8, nonsense]}", "http.trusted_proxies[1]", "not a network"),
    (ONE + "http: {bind: nowhere}", "http.bind", "not an IP address"),
    (ONE + "http_proxy: {url: 'socks5://p:1'}", "http_proxy.url", "not a valid URL"),
    (ONE + "http_proxy: {url: 'http://[::1'}", "http_proxy.url", "not a valid URL"),
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
    """One violated rule gives one problem with its path and the documented text."""
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
def test_rules_do_not_apply_to_what_is_off(text):
    """Options without effect are accepted, as ConfigCat Proxy does."""
    assert () == problems(text)


def test_all_problems_are_reported_at_once():
    """Invalid values and violated rules are reported together, each once."""
    text = "log: {level: x}\nsdks: {a: {}, b: {key: k, data_governance: x}}\nhttp: {port: 0, bind: x}"
    found = [problem.path for problem in problems(text, {"CONFIGCAT_DIAG_PORT": "x"})]
    assert ["sdks.a.key", "log.level", "sdks.b.data_governance", "http.port", "http.bind", "diag.port"] == sorted(
        found, key=["sdks.a.key", "log.level", "sdks.b.data_governance", "http.port", "http.bind", "diag.port"].index
    )
    assert 6 == len(found)


def test_a_problem_has_position_value_and_allowed_values():
    """The text has path, line, column, the value found and the allowed values."""
    (problem,) = problems(ONE + "http:\n  port: 70000\n")
    assert (3, 9, "'70000'", "a whole number from 1 to 65535") == (
        problem.line,
        problem.column,
        problem.found,
        problem.allowed,
    )
    line = "http.port (line 3, column 9): http: invalid port 70000"
    assert f"{line} (found '70000'; allowed: a whole number from 1 to 65535)" == str(problem)


def test_a_problem_of_the_environment_has_the_variable():
    """The problem of a variable has its name, even if the file sets the option too."""
    (problem,) = problems(ONE + "http: {port: 1}", {"CONFIGCAT_HTTP_PORT": "99999"})
    assert ("http.port", "CONFIGCAT_HTTP_PORT", None) == (problem.path, problem.variable, problem.line)
    assert "CONFIGCAT_HTTP_PORT: http: invalid port 99999" in str(problem)


def test_a_violated_rule_has_the_variable_that_set_the_value():
    """The problem has the variable that set the value."""
    (problem,) = problems(ONE, {"CONFIGCAT_HTTP_PROXY_URL": "nonsense"})
    assert ("http_proxy.url", "CONFIGCAT_HTTP_PROXY_URL") == (problem.path, problem.variable)


def test_a_value_inside_a_variables_json_is_found_by_path():
    """A value inside a variable's JSON has its own path."""
    (problem,) = problems(ONE, {"CONFIGCAT_TLS_CERTIFICATES": '[{"cert": 1, "key": "/k"}]'})
    assert ("tls.certificates[0].cert", "CONFIGCAT_TLS_CERTIFICATES") == (problem.path, problem.variable)


def test_missing_files_are_reported():
    """Each configured file must exist; ``exists`` decides."""
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


def test_a_local_file_without_offline_mode_gives_a_warning():
    """A file has no effect without offline mode."""
    loaded = load(f"sdks: {{a: {{key: {KEY}, offline: {{local: {{file_path: /f}}}}}}}}", {})
    assert ["sdks.a.offline.local.file_path"] == [warning.path for warning in loaded.warnings]


@pytest.mark.parametrize(
    ("sdk", "warned"),
    [
        ('{key: "#YOUR-SDK-KEY#"}', True),
        ("{key: configcat-proxy/shop}", True),
        ("{key: configcat-proxy/shop, base_url: 'https://flags.example'}", False),
        ("{key: shop, offline: {enabled: true, local: {file_path: /f}}}", False),
    ],
)
def test_a_key_of_no_valid_form_gives_a_warning(sdk, warned):
    """A placeholder in place of a key gives a warning; with a local file any key is fine."""
    loaded = load(f"sdks: {{a: {sdk}}}", {})
    assert [("sdks.a.key", "not a valid SDK key: no config is fetched for this SDK")] * warned == [
        (warning.path, warning.text) for warning in loaded.warnings
    ]


def test_old_tls_versions_give_a_warning():
    """Versions below 1.2 are allowed and warned about."""
    text = "tls: {enabled: true, min_version: 1.0, certificates: [{cert: /c, key: /k}]}"
    warnings = load(ONE + text, {}).warnings
    assert [("tls.min_version", "TLS 1.0 and 1.1 are unsafe")] == [(found.path, found.text) for found in warnings]


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
    ],
)
def test_unsupported_features_are_validated(text, texts):
    """Errors have ConfigCat Proxy's texts, in addition to the problem that the feature is not supported."""
    found = {problem.text for problem in load(text, {}).problems}
    assert texts == {words for words in found if "not supported" not in words}
    assert texts < found


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (
            sdk("offline: {enabled: true, use_cache: true, local: {file_path: /f}}"),
            {
                "sdk-a: can't use both local file and cache for offline mode",
                "sdk-a: offline mode enabled with cache, but no cache is configured",
            },
        ),
        (ONE + "offline: {enabled: true}", {"offline: global offline mode enabled, but no cache is configured"}),
        (
            ONE + "offline: {enabled: true}\ncache: {mongodb: {enabled: true, url: 'mongodb://h'}}",
            {"offline: global offline mode enabled, but no cache is configured"},
        ),
        (ONE + "cache: {redis: {enabled: true, addresses: []}}", {"redis: at least 1 server address required"}),
        (ONE + "cache: {redis: {enabled: true, addresses: ['redis://h']}}", {"redis: not a host and a port"}),
        (ONE + "cache: {redis: {enabled: true, user: u}}", {"redis: a user needs a password"}),
        (ONE + "cache: {redis: {enabled: true}}\ncluster: {name: 'a b'}", {"cluster: not a name"}),
        (ONE + "cache: {redis: {enabled: true}}\ncluster: {node: 'a{b}'}", {"cluster: not a name"}),
        (
            ONE + "cache: {redis: {enabled: true, addresses: [a, b], tls: {enabled: true, server_name: n}}}",
            {"redis: the servers of a cluster have several names"},
        ),
    ],
)
def test_caches_are_validated(text, texts):
    """The errors of ConfigCat Proxy have its texts."""
    assert texts == {problem.text for problem in problems(text)}


@pytest.mark.parametrize("address", ["h", "h:1", "10.0.0.1:6379", "[::1]:6379", "[::1]"])
def test_addresses_of_redis(address):
    """A port, and the brackets of an IPv6 address, are as in URLs."""
    assert not problems(ONE + f"cache: {{redis: {{enabled: true, addresses: ['{address}']}}}}")


def test_global_offline_makes_followers_of_sdks_without_a_setting_of_their_own():
    """One that has a local file, or is online, stays as it is."""
    text = (
        f"sdks: {{a: {{key: {KEY}}}, b: {{key: {KEY}, offline: {{enabled: false}}}}, "
        f"c: {{key: {KEY}, offline: {{enabled: true, local: {{file_path: /f}}}}}}}}\n"
        "cache: {redis: {enabled: true}}\noffline: {enabled: true, cache_poll_interval: 7}"
    )
    settings = load(text, {}).settings
    assert settings is not None
    offline = {sdk_id: sdk.offline for sdk_id, sdk in settings.sdks.items()}
    assert (True, True, 7) == (offline["a"].enabled, offline["a"].use_cache, offline["a"].cache_poll_interval)
    assert (False, False) == (offline["b"].enabled, offline["b"].use_cache)
    assert (True, False) == (offline["c"].enabled, offline["c"].use_cache)


PUBLIC = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\nhttp: {public_url: '%s'}"


@pytest.mark.parametrize(
    "url",
    [
        "flags.example",
        "//flags.example",
        "ftp://flags.example",
        "https://user:secret@flags.example",
        "https://flags.example/?a=1",
        "https://flags.example/#part",
        "https://flags.example/a b",
        "https://flags.example/<x>",
        "https://",
    ],
)
def test_a_public_url_that_clients_cannot_reach_is_refused(url):
    """Its value may hold a password and is not shown."""
    (problem,) = load(PUBLIC % url, {}).problems
    assert "http.public_url" == problem.path
    assert "secret" not in str(problem)


@pytest.mark.parametrize("url", ["https://flags.example", "http://[::1]:8050/flags", "https://flags.example:8443/a/b/"])
def test_a_public_url_may_have_a_port_and_a_path(url):
    """An IPv6 address is a host, too."""
    assert () == load(PUBLIC % url, {}).problems


@pytest.mark.parametrize("secret", ["s3cret", "x" * 31])
def test_a_secret_of_stream_urls_that_could_be_guessed_is_refused(secret):
    """The SDK key is known to many, and short secrets can be tried; the secret is not shown."""
    text = PUBLIC.replace("public_url: '%s'", f"sse: {{url_secret: {secret}}}")
    (problem,) = load(text, {}).problems
    assert "http.sse.url_secret" == problem.path
    assert secret not in str(problem)
    assert () == load(text.replace(secret, "x" * 32), {}).problems
