"""SDKs of the file and of the environment."""

from __future__ import annotations

import json

import pytest

from gateway.settings import load

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"


def test_sdks_of_the_environment_have_options_of_their_own():
    """The map gives ids and keys, further variables the rest."""
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
    """An SDK that only the file names still listens to its variables."""
    environ = {"CONFIGCAT_A_DATA_GOVERNANCE": "eu", "CONFIGCAT_A_OFFLINE_LOG_LEVEL": "debug", "CONFIGCAT_A_KEY": "k"}
    loaded = load("sdks: {a: {poll_interval: 5}}", environ)
    assert loaded.settings is not None
    sdk = loaded.settings.sdks["a"]
    assert ("k", "eu", "debug", 5) == (sdk.key, sdk.data_governance, sdk.offline.log.level, sdk.poll_interval)


def test_an_sdk_of_both_is_merged():
    """The map replaces the key of a file's SDK and leaves its other options alone."""
    loaded = load("sdks: {a: {key: old, poll_interval: 5}}", {"CONFIGCAT_SDKS": '{"a":"new"}'})
    assert loaded.settings is not None
    assert ("new", 5) == (loaded.settings.sdks["a"].key, loaded.settings.sdks["a"].poll_interval)


def test_an_sdk_without_options_is_an_error():
    """A null entry is told as what it is."""
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
def test_ids_whose_variables_are_not_their_own_are_refused(ids, culprits):
    """Ids that would share a variable with another SDK or with the gateway are errors."""
    loaded = load("sdks:\n" + "".join(f"  {sdk_id}: {{key: k}}\n" for sdk_id in ids), {})
    expected = ids if culprits == "all" else culprits
    assert {f"sdks.{sdk_id}" for sdk_id in expected} == {problem.path for problem in loaded.problems}


def test_a_map_the_wrong_way_round_does_not_show_its_key():
    """An SDK key where the id belongs is an error that masks it."""
    loaded = load(None, {"CONFIGCAT_SDKS": f'{{"{KEY}":"a"}}'})
    assert any("this SDK id is an SDK key" in problem.text for problem in loaded.problems)
    assert KEY not in repr((loaded.problems, loaded.warnings))


@pytest.mark.parametrize("value", ["[]", '"k"', "{", '{"a":null}', '{"a":{}}', '{"a":1}', '{"a":"k","a":"l"}', "NaN"])
def test_a_map_of_another_shape_is_an_error(value):
    """Whatever the variable holds instead of ids and keys is told, never quoted."""
    loaded = load("sdks: {z: {key: k}}", {"CONFIGCAT_SDKS": value})
    assert ["CONFIGCAT_SDKS"] == [problem.variable for problem in loaded.problems]


def test_an_empty_id_is_an_error():
    """An SDK needs a name."""
    assert ["an SDK id must not be empty"] == [p.text for p in load("sdks: {a: {key: k}, '': {key: k}}", {}).problems]
