"""The documents that the schema writes, and the schema's own rules."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway.settings import Settings, documents, json_schema, load, sample
from gateway.settings.fields import fields, options
from gateway.settings.reference import REGENERATE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(documents()))
def test_no_document_is_stale(name):
    """The committed files are what the schema writes now."""
    written = (ROOT / name).read_text(encoding="utf-8")
    assert documents()[name] == written, f"stale: run `{REGENERATE}`"


def test_every_field_says_what_it_is():
    """Each option and each section has a description of at least one sentence."""
    waiting, seen = [Settings], set()
    while waiting:
        section = waiting.pop()
        for found in fields(section):
            assert found.description.endswith("."), f"{section.__name__}.{found.name}"
            below = found.section or found.entries
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)  # type: ignore[arg-type]


def test_no_two_options_share_a_variable():
    """Every environment name belongs to one option."""
    names = [name for option in options() for name in option.names]
    assert len(set(names)) == len(names)


KNOWN = """
LOG_LEVEL DEFAULT_USER_ATTRIBUTES HTTP_PROXY_URL OFFLINE_ENABLED OFFLINE_CACHE_POLL_INTERVAL
OFFLINE_LOG_LEVEL SDKS <ID>_BASE_URL <ID>_POLL_INTERVAL <ID>_DATA_GOVERNANCE
<ID>_WEBHOOK_SIGNING_KEY <ID>_WEBHOOK_SIGNATURE_VALID_FOR <ID>_DEFAULT_USER_ATTRIBUTES
<ID>_LOG_LEVEL <ID>_OFFLINE_ENABLED <ID>_OFFLINE_USE_CACHE <ID>_OFFLINE_CACHE_POLL_INTERVAL
<ID>_OFFLINE_LOCAL_FILE_PATH <ID>_OFFLINE_LOCAL_POLLING <ID>_OFFLINE_LOCAL_POLL_INTERVAL
<ID>_OFFLINE_LOG_LEVEL PROFILE_KEY PROFILE_SECRET PROFILE_BASE_URL PROFILE_POLL_INTERVAL
PROFILE_WEBHOOK_SIGNING_KEY PROFILE_WEBHOOK_SIGNATURE_VALID_FOR PROFILE_LOG_LEVEL
PROFILE_SDKS_BASE_URL PROFILE_SDKS_LOG_LEVEL HTTP_ENABLED HTTP_PORT HTTP_LOG_LEVEL
HTTP_STATUS_ENABLED HTTP_WEBHOOK_ENABLED HTTP_WEBHOOK_AUTH_USER HTTP_WEBHOOK_AUTH_PASSWORD
HTTP_WEBHOOK_AUTH_HEADERS HTTP_CDN_PROXY_ENABLED HTTP_CDN_PROXY_HEADERS HTTP_API_AUTH_HEADERS
HTTP_OFREP_AUTH_HEADERS HTTP_SSE_CORS_ENABLED HTTP_OFREP_CORS_ALLOWED_ORIGINS
HTTP_API_CORS_ALLOWED_ORIGINS_REGEX_PATTERNS HTTP_API_CORS_ALLOWED_ORIGINS_REGEX_IF_NO_MATCH
HTTP_SSE_LOG_LEVEL HTTP_SSE_HEARTBEAT_INTERVAL GRPC_ENABLED GRPC_PORT GRPC_HEALTH_CHECK_ENABLED
GRPC_SERVER_REFLECTION_ENABLED GRPC_KEEP_ALIVE_MAX_CONNECTION_IDLE
GRPC_KEEP_ALIVE_MAX_CONNECTION_AGE GRPC_KEEP_ALIVE_MAX_CONNECTION_AGE_GRACE GRPC_KEEP_ALIVE_TIME
GRPC_KEEP_ALIVE_TIMEOUT GRPC_LOG_LEVEL DIAG_ENABLED DIAG_PORT DIAG_STATUS_ENABLED
DIAG_METRICS_ENABLED DIAG_METRICS_PROMETHEUS_ENABLED DIAG_METRICS_OTLP_ENABLED
DIAG_METRICS_OTLP_PROTOCOL DIAG_METRICS_OTLP_ENDPOINT DIAG_TRACES_ENABLED DIAG_TRACES_OTLP_ENABLED
DIAG_SERVICE_NAME TLS_ENABLED TLS_MIN_VERSION TLS_SERVER_NAME TLS_CERTIFICATES CACHE_REDIS_ENABLED
CACHE_REDIS_ADDRESSES CACHE_REDIS_DB CACHE_REDIS_USER CACHE_REDIS_PASSWORD CACHE_REDIS_TLS_ENABLED
CACHE_MONGODB_URL CACHE_MONGODB_DATABASE CACHE_MONGODB_COLLECTION CACHE_MONGODB_TLS_CERTIFICATES
CACHE_DYNAMODB_ENABLED CACHE_DYNAMODB_URL CACHE_DYNAMODB_TABLE
"""


def test_the_variables_of_the_replaced_system_are_known():
    """A sample of names, written down by hand, that regular naming must produce."""
    known = {name for option in options() for name in option.names}
    assert [] == [name for name in KNOWN.split() if f"CONFIGCAT_{name}" not in known]


def uncommented() -> str:
    lines = sample().splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith(("##", "# ")))


def test_the_sample_changes_nothing_as_it_is():
    """All of the sample is commented out."""
    assert (
        load(None, {"CONFIGCAT_SDKS": '{"a":"k"}'}).settings == load(sample(), {"CONFIGCAT_SDKS": '{"a":"k"}'}).settings
    )


def test_the_sample_without_its_marks_is_the_defaults():
    """Uncommented, the sample names every option with its default."""
    environ = {"CONFIGCAT_SDKS": '{"my-sdk":"k"}'}
    loaded = load(uncommented(), environ)
    assert () == loaded.problems
    assert load(None, environ).settings == loaded.settings
    assert not any("unknown" in warning.text for warning in loaded.warnings)


def test_the_samples_examples_are_usable():
    """Every example is a value that its option takes."""
    for option in options():
        example = option.field.marks.example
        if not example:
            continue
        *sections, name = [str(part).replace("<id>", "my-sdk") for part in option.path]
        text = f"{name}: {example}"
        for section in reversed(sections):
            text = f"{section}: {{{text}}}"
        paths = {problem.path for problem in load(text, {}).problems}
        assert not any(path.startswith(".".join([*sections, name])) for path in paths), text


def test_editors_accept_what_the_gateway_accepts():
    """The JSON Schema passes the uncommented sample and typical settings."""
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    good = """
        sdks: {a: {key: k, default_user_attributes: {n: 1, f: 1.5, s: x, l: [a]}, offline: {enabled: true}}}
        tls: {min_version: 1.3, certificates: [{cert: c, key: k}]}
        workers: auto
        webhooks: [{name: x, url: "http://x", headers: {A: [b], C: d}, users: [{Identifier: "1"}]}]
        exporter: {endpointUrl: x}
    """
    assert [] == list(validator.iter_errors(yaml.safe_load(good)))


@pytest.mark.parametrize(
    "text",
    [
        "http: {prt: 1}",
        "http: {port: 0}",
        "log: {level: x}",
        "sdks: {a: {data_governance: us}}",
        "http: [a]",
        "tls: {min_version: 1.4}",
    ],
)
def test_editors_point_out_what_the_gateway_does_not_accept(text):
    """The JSON Schema fails slips of typing, range and value."""
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid(yaml.safe_load(text))
