"""``flaggateway import``: a settings file of each neighbour becomes one of ours that a gateway starts with."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.command import main
from gateway.migration import NEIGHBOURS, Unreadable, convert
from gateway.migration.neighbour import Always, NoEqual, To
from gateway.settings import Settings, load, option_table
from gateway_process import unused_port

SETTINGS = Path(__file__).parent / "settings"
FILES = {
    "options.yml": "configcat-proxy",
    "goff-proxy.yaml": "goff",
    "flagsets.yaml": "goff",
    "unleash-edge.env": "unleash-edge",
    "ld-relay.conf": "ld-relay",
}
# Texts of the files above that are secret, and of which nothing may remain.
FOREIGN = re.compile(r"sdk-1{8}|sdk-3{8}|mob-2{8}|507f1f77|edge-token|frontend-token|upstream-secret|retriever-token")
UNUSED = re.compile(
    r"profile-secret|mongo-password|second-key|admin-key|key-of-[ab]|github-token|prometheus-password|proxy pass"
)


@pytest.fixture
def logged_errors() -> None:
    """Replace the fixture of the whole suite: nothing here logs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the settings name."""
    made = tmp_path_factory.mktemp("imported")
    authority = trustme.CA()
    issued = authority.issue_cert("gateway.example.com")
    issued.private_key_pem.write_to_path(made / "key.pem")
    (made / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(made / "ca.pem")
    (made / "kiosk.json").write_text('{"p": {}, "f": {}}')
    return made


def text_of(file: str, folder: Path) -> str:
    return (SETTINGS / file).read_text("utf-8").replace("FOLDER", str(folder))


def imported(file: str, folder: Path) -> tuple[str, Settings]:
    text = convert(NEIGHBOURS[FILES[file]], text_of(file, folder)).text
    loaded = load(text, {})
    assert () == loaded.problems
    assert loaded.settings is not None
    return text, loaded.settings


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """A runner with a state directory of its own, and free ports."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    port = unused_port()
    monkeypatch.setenv("CONFIGCAT_HTTP_PORT", str(port))
    monkeypatch.setenv("CONFIGCAT_DIAG_PORT", str(unused_port(port)))
    return CliRunner()


@pytest.mark.parametrize("file", FILES)
def test_check_accepts_the_result(runner: CliRunner, tmp_path: Path, folder: Path, file: str) -> None:
    """The file is written for its owner only, and `flaggateway check` finds no problem and no unknown option."""
    source, target = tmp_path / file, tmp_path / "flaggateway.yml"
    source.write_text(text_of(file, folder))
    result = runner.invoke(main, ["import", "--from", FILES[file], str(source), "-o", str(target)])
    assert 0 == result.exit_code, result.output
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    checked = runner.invoke(main, ["check", "-c", str(target), "--json"])
    found = json.loads(checked.stdout)
    assert (0, []) == (checked.exit_code, found["problems"])
    assert [] == [warning for warning in found["warnings"] if "unknown" in warning["text"]]


@pytest.mark.parametrize("file", FILES)
def test_each_setting_is_named(folder: Path, file: str) -> None:
    """As the origin of an option, or in the list of those that have none; no setting vanishes without a word."""
    text, _ = imported(file, folder)
    named = text.partition("\n\n")[2].replace("\n#   ", " ")
    tree = NEIGHBOURS[FILES[file]].read(text_of(file, folder))
    words = set(re.findall(r"[\w.\[\]-]+(?: [A-Z]\w+(?:\.\w+)*)?", named))
    missing = [name for name, above in leaves(tree) if not words & {name, *above}]
    assert [] == missing


def leaves(value: Any, path: str = "") -> list[tuple[str, list[str]]]:
    """The names of all settings, each with the names of the groups that it is in."""
    if isinstance(value, dict) and value:
        found = [each for name, below in value.items() for each in leaves(below, f"{path}.{name}" if path else name)]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        found = [each for index, item in enumerate(value) for each in leaves(item, f"{path}[{index}]")]
    else:
        return [(path, [])]
    return [(name, [*above, path] if path else above) for name, above in found]


@pytest.mark.parametrize("file", FILES)
def test_secrets_appear_only_as_values_of_options(folder: Path, file: str) -> None:
    """No comment contains a value; credentials that are of no use here appear nowhere."""
    text, _ = imported(file, folder)
    assert not FOREIGN.search(text)
    assert not UNUSED.search(text)
    for line in text.splitlines():
        assert not line.lstrip().startswith("#") or not re.search(r"[a-z]-(secret|password|token|key)\b", line), line


def test_configcat_proxy(folder: Path) -> None:
    """Options keep their names and values; those without an effect there do not change anything here."""
    _, settings = imported("options.yml", folder)
    assert ["web-shop", "back-office", "kiosk"] == list(settings.sdks)
    shop = settings.sdks["web-shop"]
    assert (30, "eu", 120) == (shop.poll_interval, shop.data_governance, shop.webhook_signature_valid_for)
    assert {"Plan": "free", "Betas": ["checkout", "search"]} == shop.default_user_attributes
    assert settings.sdks["back-office"].offline.use_cache
    assert ("", 20) == (settings.profile.key, settings.http.sse.heart_beat_interval)
    assert ("1.2", "1.3") == (settings.cache.redis.tls.min_version, settings.tls.min_version)
    assert {"X-API-KEY": "api-key-of-the-shop"} == settings.http.api.auth_headers


def test_options_of_configcat_proxy_that_cannot_be_used() -> None:
    """A level that it ignores, and a cache that is not supported, are left out with the reason; the file is valid."""
    text = """
    sdks: {a: {key: k, log: {level: verbose}, offline: {enabled: true, use_cache: true}}}
    offline: {enabled: true}
    cache: {mongodb: {enabled: true, url: 'mongodb://localhost'}}
    grpc: {enabled: false}
    """
    result = convert(NEIGHBOURS["configcat-proxy"], text)
    loaded = load(result.text, {})
    assert () == loaded.problems
    assert "# * sdks.a.log.level: not one of debug, info, warn, error" in result.text
    assert "offline.enabled, sdks.a.offline.use_cache: offline mode needs a cache" in result.text
    assert "# * grpc.enabled: there is no gRPC server\n" in result.text


def test_go_feature_flag(folder: Path) -> None:
    """Notifiers become webhooks, the exporter keeps its format, and the keys protect API and OFREP."""
    _, settings = imported("goff-proxy.yaml", folder)
    assert ("127.0.0.1", 1031, 1032) == (settings.http.bind, settings.http.port, settings.diag.port)
    assert ["slack", "discord", "teams", "notifier"] == [endpoint.format for endpoint in settings.webhooks]
    audit = settings.webhooks[3]
    assert ("audit-secret", {"environment": "production"}) == (audit.secret, audit.meta)
    assert {"Authorization": ["Bearer audit-token"]} == audit.headers
    exporter = settings.exporter
    assert ("https://collector.example.com/events", 20000, 5000) == (
        exporter.endpoint_url,
        exporter.flush_interval,
        exporter.max_event_in_memory,
    )
    assert {"Authorization": "Bearer first-key"} == settings.http.ofrep.auth_headers == settings.http.api.auth_headers
    assert {"environment": "production", "replicas": 3, "canary": "false"} == settings.default_user_attributes
    assert 45 == settings.sdks["flags"].poll_interval


def test_flag_sets(folder: Path) -> None:
    """Each becomes an SDK, and its notifiers are called for its changes only."""
    _, settings = imported("flagsets.yaml", folder)
    assert {"team-a": 10, "team-b": 60} == {name: sdk.poll_interval for name, sdk in settings.sdks.items()}
    assert [["team-a"]] == [endpoint.sdks for endpoint in settings.webhooks]
    assert ("file", f"{folder}/evaluations.jsonl") == (settings.exporter.kind, settings.exporter.path)


def test_unleash_edge(folder: Path) -> None:
    """The environments of the tokens become SDKs; origins, TLS, Redis and proxies keep their meaning."""
    _, settings = imported("unleash-edge.env", folder)
    assert {"development": 15, "production": 15} == {name: sdk.poll_interval for name, sdk in settings.sdks.items()}
    assert (3043, True, 2, "json") == (
        settings.http.port,
        settings.tls.enabled,
        settings.workers,
        settings.log.format,
    )
    redis = settings.cache.redis
    assert (["redis.example.com:6380"], 3, "edge", "redis-password", True) == (
        redis.addresses,
        redis.db,
        redis.user,
        redis.password,
        redis.tls.enabled,
    )
    assert ["https://shop.example.com", "https://www.example.com"] == settings.http.sse.cors.allowed_origins
    assert ["10.0.0.0/8", "192.168.0.1"] == settings.http.trusted_proxies


def test_the_relay_proxy_of_launchdarkly(folder: Path) -> None:
    """Environments become SDKs, durations seconds, and the origins of all environments those of the routes."""
    _, settings = imported("ld-relay.conf", folder)
    assert ["shop-production", "shop-test"] == list(settings.sdks)
    assert "warn" == settings.sdks["shop-production"].log.level
    assert (8030, 8031) == (settings.http.port, settings.diag.port)
    assert (90, 45) == (settings.http.sse.heart_beat_interval, settings.http.sse.drain_window)
    origins = ["https://shop.example.com", "https://www.example.com", "https://test.example.com"]
    assert [origins] * 2 == [settings.http.sse.cors.allowed_origins, settings.http.ofrep.cors.allowed_origins]
    assert "http://relay:proxy%20pass@proxy.example.com:3128" == settings.http_proxy.url
    assert ("relay", "redis-password") == (settings.cache.redis.user, settings.cache.redis.password)


def test_variables_of_the_relay_proxy_of_launchdarkly() -> None:
    """A file without sections consists of its variables; those of an environment end with its name."""
    text = """
    PORT=8031
    LD_ENV_Shop_Production=sdk-1
    LD_ALLOWED_ORIGIN_Shop_Production=https://a.example.com,https://b.example.com
    HEARTBEAT_INTERVAL=1m
    USE_REDIS=1
    CACHE_TTL=30s
    USE_EVENTS=1
    EVENTS_CAPACITY=5
    HTTP_IDLE_CONN_TIMEOUT=30s
    """
    imported_text = convert(NEIGHBOURS["ld-relay"], text).text
    settings = load(imported_text, {}).settings
    assert settings is not None
    assert (8031, ["shop_production"], 60) == (
        settings.http.port,
        list(settings.sdks),
        settings.http.sse.heart_beat_interval,
    )
    assert ["https://a.example.com", "https://b.example.com"] == settings.http.api.cors.allowed_origins
    assert ["localhost:6379"] == settings.cache.redis.addresses
    assert ("does not document" in imported_text, "sdk-1" in imported_text) == (False, False)


def test_settings_of_version_5_of_the_relay_proxy_of_launchdarkly() -> None:
    """Names that later versions do not have: without them its environments would be lost."""
    text = """
        [main]
        exitOnError = false
        heartbeatIntervalSecs = 15

        [environment "Shop Production"]
        apiKey = "sdk-1"

        [environment "shop_sit-4"]
        apiKey = "sdk-2"
    """
    imported_text = convert(NEIGHBOURS["ld-relay"], text).text
    settings = load(imported_text, {}).settings
    assert settings is not None
    assert ["shop-production", "shop_sit-4"] == list(settings.sdks)
    assert 15 == settings.http.sse.heart_beat_interval
    assert ("does not document" in imported_text, "sdk-1" in imported_text) == (False, False)
    variables = "LD_ENV_Shop=sdk-1\nUSE_REDIS=1\nREDIS_TTL=30000\nUSE_DATADOG=1\nDATADOG_PREFIX=a\nSTACKDRIVER_PREFIX=b"
    assert "does not document" not in convert(NEIGHBOURS["ld-relay"], variables).text


def test_the_variables_of_the_process_are_read(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Unleash Edge without a file: its variables, and no others."""
    monkeypatch.setenv("FEATURES_REFRESH_INTERVAL_SECONDS", "7")
    monkeypatch.setenv("REDIS_HOST", "redis")
    monkeypatch.setenv("REDIS_SCHEME", "tls")
    result = runner.invoke(main, ["import", "--from", "unleash-edge"])
    assert 0 == result.exit_code
    settings = load(result.stdout, {}).settings
    assert settings is not None
    assert 7 == settings.sdks["default"].poll_interval
    assert (["redis:6379"], True) == (settings.cache.redis.addresses, settings.cache.redis.tls.enabled)
    assert "HOME" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "content", "words"),
    [
        (["configcat-proxy"], None, "name the file, usually options.yml"),
        (["configcat-proxy", "FILE"], "a: [", "not valid YAML at line 1"),
        (["goff", "FILE"], "- a", "not a mapping of options"),
        (["ld-relay", "FILE"], "[Main]\nport = 1\n???", "line 3 is neither [Section] nor variable = value"),
        (["unleash-edge", "FILE"], "PORT=1\nsecret text", "line 2 is not of the form NAME=value"),
        (["goff", "FILE"], b"\xff", "not UTF-8"),
        (["goff", "missing.yml"], None, "No such file"),
    ],
)
def test_what_cannot_be_read(
    runner: CliRunner, tmp_path: Path, arguments: list[str], content: str | bytes | None, words: str
) -> None:
    """Exit status 1 and the place, without the content of the line."""
    file = tmp_path / "their.yml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = runner.invoke(main, ["import", "--from", *(str(file) if each == "FILE" else each for each in arguments)])
    assert (1, True) == (result.exit_code, words in result.stderr), result.stderr
    assert "secret" not in result.stderr


def test_an_existing_file_is_replaced_only_on_request(runner: CliRunner, tmp_path: Path) -> None:
    """With ``--force``; standard input is read for ``-``."""
    target = tmp_path / "flaggateway.yml"
    target.write_text("mine")
    command = ["import", "--from", "goff", "-", "-o", str(target)]
    refused = runner.invoke(main, command, input="listen: 2000")
    assert (1, "mine") == (refused.exit_code, target.read_text())
    assert 0 == runner.invoke(main, [*command, "--force"], input="listen: 2000").exit_code
    assert "port: 2000  # listen" in target.read_text()


def test_a_result_that_check_would_refuse_has_status_2(runner: CliRunner) -> None:
    """The file is written all the same, and standard error has the reasons."""
    result = runner.invoke(main, ["import", "--from", "goff", "-"], input="listen: 70000")
    assert (2, True) == (result.exit_code, "http: invalid port 70000" in result.stderr)
    assert "port: 70000" in result.stdout


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_each_rule_names_an_option_that_exists(name: str) -> None:
    """And a reason is a phrase that continues the name of the setting."""
    options = {".".join("*" if part == "<id>" else str(part) for part in option.path) for option in option_table()}
    for setting, rule in NEIGHBOURS[name].rules.items():
        if isinstance(rule, To):
            assert rule.path in options, setting
        elif isinstance(rule, NoEqual | Always):
            assert rule.reason, setting
            assert not rule.reason.endswith("."), setting


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(["configcat-proxy", "goff"]), data=st.data())
def test_any_values_give_a_file_that_can_be_read(name: str, data: st.DataObject) -> None:
    """Whatever the values are, the result is YAML in which no option is unknown."""
    neighbour = NEIGHBOURS[name]
    tree: dict[str, Any] = {}
    for setting in data.draw(st.lists(st.sampled_from(sorted(neighbour.rules)), max_size=8)):
        below = tree
        parts = setting.replace("*", "0" if "flagsets" in setting else "an-sdk").split(".")
        for part in parts[:-1]:
            found = below.setdefault(part, {})
            below = found if isinstance(found, dict) else {}
        below[parts[-1]] = data.draw(JSON)
    text = convert(neighbour, json.dumps(tree)).text
    yaml.safe_load(text)
    assert [] == [each for each in load(text, {}).warnings if "unknown" in each.text]


@given(name=st.sampled_from(["unleash-edge", "ld-relay"]), data=st.data())
def test_any_texts_give_a_file_that_can_be_read(name: str, data: st.DataObject) -> None:
    """The same for neighbours whose values are texts."""
    neighbour = NEIGHBOURS[name]
    values = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12) | st.sampled_from(
        ["true", "1", "redis://h", "1m30s", "a,b", "*:dev.x", '"q"']
    )
    lines = []
    for setting in data.draw(st.lists(st.sampled_from(sorted(neighbour.rules)), max_size=8)):
        section, _, variable = setting.replace(".*.", ' "An Env".').rpartition(".")
        lines += [f"[{section}]"] * bool(section) + [f"{variable}={data.draw(values)}"]
    try:
        text = convert(neighbour, "\n".join(lines)).text
    except Unreadable:
        return
    yaml.safe_load(text)
    assert [] == [each for each in load(text, {}).warnings if "unknown" in each.text]
