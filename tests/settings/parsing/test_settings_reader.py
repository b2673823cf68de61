"""SDKs of the file and of the environment, and JSON in variables."""

from __future__ import annotations

import json

import pytest

from gateway.settings import load

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"


def test_sdks_of_the_environment_have_options_of_their_own():
    """The variable with all SDKs has ids and keys, other variables have the options."""
    environ = {
        "CONFIGCAT_SDKS": json.dumps({"my-sdk": KEY, "other": f"{'x' * 22}/{'y' * 22}"}),
        "CONFIGCAT_MY_SDK_POLL_INTERVAL": "7",
        "CONFIGCAT_MY_SDK_DEFAULT_USER_ATTRIBUTES": '{"a":"b"}',
    }
    loaded = load(None, environ)
    assert loaded.settings is not None
    sdks = loaded.settings.sdks
    assert (["my-sdk", "other"], KEY, 7, {"a": "b"}) == (
        list(sdks),
        sdks["my-sdk"].key,
        sdks["my-sdk"].poll_interval,
        sdks["my-sdk"].default_user_attributes,
    )
    assert (60, ()) == (sdks["other"].poll_interval, loaded.warnings)


def test_variables_also_reach_sdks_of_the_file():
    """Variables also set options of an SDK that only the file declares."""
    environ = {"CONFIGCAT_A_DATA_GOVERNANCE": "eu", "CONFIGCAT_A_OFFLINE_LOG_LEVEL": "debug", "CONFIGCAT_A_KEY": "k"}
    loaded = load("sdks: {a: {poll_interval: 5}}", environ)
    assert loaded.settings is not None
    sdk = loaded.settings.sdks["a"]
    assert ("k", "eu", "debug", 5) == (sdk.key, sdk.data_governance, sdk.offline.log.level, sdk.poll_interval)


def test_an_sdk_of_both_is_merged():
    """The variable replaces the key and keeps the other options of the file."""
    loaded = load("sdks: {a: {key: old, poll_interval: 5}}", {"CONFIGCAT_SDKS": '{"a":"new"}'})
    assert loaded.settings is not None
    assert ("new", 5) == (loaded.settings.sdks["a"].key, loaded.settings.sdks["a"].poll_interval)


def test_an_sdk_without_options_is_an_error():
    """A null entry gives its own problem."""
    loaded = load("sdks:\n  a:\n  b: {key: k}\n", {})
    assert [("sdks.a", "sdk-a: the SDK has no options")] == [(p.path, p.text) for p in loaded.problems]


@pytest.mark.parametrize(
    ("ids", "culprits"),
    [
        (["my-sdk", "my_sdk"], ["my_sdk"]),
        (["a", "A"], ["A"]),
        (["http"], ["http"]),
        (["grpc", "diag", "log", "offline", "profile", "tls", "cache"], "all"),
        (["http-sse"], ["http-sse"]),
        (["http-proxy", "sdks"], "all"),
        (["a", "a-offline"], ["a-offline"]),
        (["project", "workers", "http-sse-log", "production", "test-1"], []),
    ],
)
def test_ids_with_ambiguous_variables_are_refused(ids, culprits):
    """An id that shares a variable with another SDK or with the gateway is an error."""
    loaded = load("sdks:\n" + "".join(f"  {sdk_id}: {{key: k}}\n" for sdk_id in ids), {})
    expected = ids if culprits == "all" else culprits
    assert {f"sdks.{sdk_id}" for sdk_id in expected} == {problem.path for problem in loaded.problems}


def test_a_key_in_place_of_an_id_is_masked():
    """Swapped ids and keys are an error that does not show the key."""
    loaded = load(None, {"CONFIGCAT_SDKS": f'{{"{KEY}":"a"}}'})
    assert any("this SDK id is an SDK key" in problem.text for problem in loaded.problems)
    assert KEY not in repr((loaded.problems, loaded.warnings))


@pytest.mark.parametrize("value", ["[]", '"k"', "{", '{"a":null}', '{"a":{}}', '{"a":1}', '{"a":"k","a":"l"}', "NaN"])
def test_invalid_values_of_the_sdks_variable_are_errors(value):
    """Any other value than ids and keys is reported without the value."""
    loaded = load("sdks: {z: {key: k}}", {"CONFIGCAT_SDKS": value})
    assert ["CONFIGCAT_SDKS"] == [problem.variable for problem in loaded.problems]


def test_an_empty_id_is_an_error():
    """An SDK needs an id."""
    assert ["an SDK id must not be empty"] == [p.text for p in load("sdks: {a: {key: k}, '': {key: k}}", {}).problems]


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "[1,", "\ud800", '{"a":NaN}', "[" * 40 + "]" * 40])
def test_invalid_json_of_a_variable_is_reported(value):
    """The problem has the name of the variable, not its value."""
    loaded = load("sdks: {a: {key: k}}", {"CONFIGCAT_HTTP_API_HEADERS": value})
    assert ["CONFIGCAT_HTTP_API_HEADERS"] == [problem.variable for problem in loaded.problems]
