"""OFREP, beyond what the recorded answers cover."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gateway.flags import User, load
from gateway.web.answers.ofrep import bulk_etag
from web_memory import SDK_KEY, MemorySite

BULK = "/ofrep/v1/evaluate/flags"
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
CONFIG = {
    "f": {
        "a/b": {"t": 0, "v": {"b": True}, "i": "v1"},
        "roles": {
            "t": 1,
            "v": {"s": "none"},
            "r": [{"c": [{"u": {"a": "Roles", "c": 34, "l": ["Admin"]}}], "s": {"v": {"s": "admin"}}}],
        },
        "me": {
            "t": 1,
            "v": {"s": "other"},
            "r": [{"c": [{"u": {"a": "Identifier", "c": 28, "s": "42"}}], "s": {"v": {"s": "me"}, "i": "m"}}],
        },
        "broken": {
            "t": 0,
            "v": {"b": False},
            "r": [{"c": [{"p": {"f": "nope", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}],
        },
    }
}


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(CONFIG)


def test_unknown_sdk_is_404(site: MemorySite) -> None:
    """An SDK that is not configured is 404; the error names the key of a single flag."""
    details = "could not identify a configured SDK"
    one = site.request("POST", BULK + "/me", {"X-ConfigCat-SdkKey": "nope"}, "{}")
    assert (404, {"key": "me", "errorCode": "GENERAL", "errorDetails": details}) == (one.status, one.json)
    both = site.request("POST", BULK, {"X-ConfigCat-SdkId": "nope", "X-ConfigCat-SdkKey": SDK_KEY}, "{}")
    assert (404, {"errorCode": "GENERAL", "errorDetails": details}) == (both.status, both.json)


def test_no_sdk_header_is_400_in_json(site: MemorySite) -> None:
    """A bulk request without either header gets an error that names them and has no key."""
    answer = site.request("POST", BULK, {}, "{}")
    expected = b'{"errorCode":"GENERAL","errorDetails":"either the \'X-ConfigCat-SdkId\' or \'X-ConfigCat-SdkKey\' '
    assert (400, expected + b'header must be set"}') == (answer.status, answer.body)


def test_failing_flag_is_500_alone_and_inline_in_bulk(site: MemorySite) -> None:
    """A flag that cannot be evaluated is 500 alone and an item with its error in the bulk reply."""
    alone = site.request("POST", BULK + "/broken", BY_ID, "{}")
    text = "the request failed; please check the server logs for more details"
    assert (500, {"errorDetails": text}) == (alone.status, alone.json)
    item = next(item for item in site.request("POST", BULK, BY_ID, "").json["flags"] if item["key"] == "broken")
    assert (["key", "errorCode", "errorDetails"], "GENERAL") == (list(item), item["errorCode"])


def test_escaped_slash_is_part_of_the_key(site: MemorySite) -> None:
    """A slash in a key is sent as %2F."""
    assert "a/b" == site.request("POST", BULK + "/a%2Fb", BY_ID, "{}").json["key"]
    assert 404 == site.request("POST", BULK + "/a/b", BY_ID, "{}").status


def test_targeting_key_overwrites_the_identifier_and_stays(site: MemorySite) -> None:
    """``targetingKey`` becomes Identifier and replaces an explicit one."""
    body = json.dumps({"context": {"Identifier": "7", "targetingKey": "42"}})
    answer = site.request("POST", BULK + "/me", BY_ID, body)
    assert b'{"key":"me","reason":"TARGETING_MATCH","variant":"m","value":"me"}' == answer.body


def bulk(site: MemorySite, context: object, **headers: str) -> str:
    answer = site.request("POST", BULK, {**BY_ID, **headers}, json.dumps({"context": context}))
    assert 200 == answer.status
    return str(answer["etag"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Roles": ["Admin"]}, {"Roles": ["Guest"]}),
        ({"a": ["x", "y"]}, {"a": ["x,y"]}),
        ({"a": "7"}, {"a": 7}),
        ({"a": ["7"]}, {"a": "7"}),
        ({"a": "b", "c": ""}, {"a": "b"}),
        ({"ab": "c"}, {"a": "bc"}),
        ({"targetingKey": "1"}, {"targetingKey": "2"}),
        ({"targetingKey": "1", "Identifier": "1"}, {"Identifier": "1"}),
    ],
)
def test_contexts_that_differ_have_validators_that_differ(site: MemorySite, one: object, other: object) -> None:
    """The bulk validator covers every attribute, its type and each list item."""
    assert bulk(site, one) != bulk(site, other)


def test_validator_ignores_order_and_covers_defaults_and_config(site: MemorySite) -> None:
    """The validator depends on the effective context and the config, not on the order of attributes."""
    plain = bulk(site, {"a": 1, "b": "2"})
    assert plain == bulk(site, {"b": "2", "a": 1.0})
    site.sdk.defaults = {"c": "3"}
    assert plain != bulk(site, {"a": 1, "b": "2"})
    assert bulk(site, {"a": 1}) == bulk(site, {"a": 1, "c": "3"})
    site.sdk.snapshot = load(b'{"f":{"new":{"t":0,"v":{"b":true}}}}', "x")
    assert plain != bulk(site, {"a": 1, "b": "2"})


def test_matching_validator_is_304_without_a_body(site: MemorySite) -> None:
    """``If-None-Match`` with the validator of the same context is 304; with another context it is 200."""
    etag = bulk(site, {"Roles": ["Admin"]})
    body = json.dumps({"context": {"Roles": ["Admin"]}})
    same = site.request("POST", BULK, {**BY_ID, "If-None-Match": etag, "Accept-Encoding": "gzip"}, body)
    assert (304, b"", etag, None, "gzip") == (
        same.status,
        same.body,
        same["etag"],
        same["content-type"],
        same["content-encoding"],
    )
    bulk(site, {"Roles": ["Guest"]}, **{"If-None-Match": etag})
    for known in (etag.removeprefix("W/"), f'"x", {etag}', "*"):
        assert 304 == site.request("POST", BULK, {**BY_ID, "If-None-Match": known}, body).status


def test_validator_is_equal_in_every_process() -> None:
    """A process with another hash seed computes the same validator for the same config and user."""
    config = json.dumps(CONFIG)
    user = {"Identifier": "42", "Roles": ("a", "b"), "n": 1.5}
    script = (
        "import sys\nfrom gateway.flags import User, load\nfrom gateway.web.answers.ofrep import bulk_etag\n"
        f"sys.stdout.write(bulk_etag(load({config.encode()!r}, 'x'), User({user!r})).decode())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert found.stdout == bulk_etag(load(config.encode(), "x"), User(user))
    assert 20 == len(found.stdout)


def test_missing_user_is_not_an_empty_one() -> None:
    """No context and an empty context evaluate differently, so their validators differ."""
    snapshot = load(json.dumps(CONFIG).encode(), "x")
    assert bulk_etag(snapshot, None) != bulk_etag(snapshot, User({}))


ADDRESS = {"city": "Oslo", "tags": ["a", {"b": None}]}
OTHER = {"targetingKey": "42", "premium": True, "trial": False, "team": None, "address": ADDRESS, "none": {}}
LISTS = {
    "mixed": ["a", True, 7, 1.5, None, {"b": "c"}, ["d"]],
    "numbers": [1, 2, 10**400],
    "empty": [],
    "nulls": [None],
}
TEXTS_ONLY = {"mixed": ["a"], "numbers": [], "empty": [], "nulls": []}
KEPT = {
    "convert": {
        "targetingKey": "42", "premium": "true", "trial": "false",
        "mixed": ["a", "true", "7", "1.5"], "numbers": ["1", "2"], "empty": [], "nulls": [],
    },
    "ignore": {"targetingKey": "42", **TEXTS_ONLY},
}  # fmt: skip


@pytest.mark.parametrize("padding", [0, 20_000], ids=["small", "large"])
@pytest.mark.parametrize("choice", KEPT)
def test_booleans_nulls_and_objects_do_not_fail_a_context(choice: str, padding: int) -> None:
    """Such a context has the same results, validator and stream as one with the attributes that are kept.

    A large body, which is read another way, agrees.
    """
    site = MemorySite(CONFIG, {"http": {"max_stream_url": 65_536, "ofrep": {"other_attributes": choice}}})
    more = {"padding": "x" * padding}
    context, kept = {**OTHER, **LISTS, **more}, {**KEPT[choice], **more}
    assert "me" == site.request("POST", BULK + "/me", BY_ID, json.dumps({"context": context})).json["value"]
    given, same = (site.request("POST", BULK, BY_ID, json.dumps({"context": found})) for found in (context, kept))
    assert (200, same["etag"], same.json) == (given.status, given["etag"], given.json)
    assert "me" in [item.get("value") for item in given.json["flags"]]
    stream = site.request("HEAD", given.json["eventStreams"][0]["endpoint"]["requestUri"])
    assert (200, "text/event-stream") == (stream.status, stream["content-type"])


@pytest.mark.parametrize("value", [True, False, None, {}, ADDRESS])
def test_a_refused_context_names_the_attribute(value: object) -> None:
    """``reject`` answers 400 for one flag and for all; of lists it keeps the texts, as ConfigCat Proxy does."""
    site = MemorySite(CONFIG, {"http": {"ofrep": {"other_attributes": "reject"}}})
    for path, key in ((BULK, None), (BULK + "/me", "me")):
        answer = site.request("POST", path, BY_ID, json.dumps({"context": {"targetingKey": "42", "odd": value}}))
        assert (400, "INVALID_CONTEXT", key) == (answer.status, answer.json["errorCode"], answer.json.get("key"))
        assert "'odd' has an invalid type" in answer.json["errorDetails"]
    assert bulk(site, {"targetingKey": "42", **LISTS}) == bulk(site, {"targetingKey": "42", **TEXTS_ONLY})


@pytest.mark.parametrize("key", [None, {}, []])
def test_a_targeting_key_that_is_left_out_leaves_no_identifier(key: object) -> None:
    """Null and objects are left out, as in other attributes; the rest still counts."""
    site = MemorySite(CONFIG)
    expected = {} if key != [] else {"targetingKey": []}
    assert bulk(site, {"targetingKey": key, "a": "b"}) == bulk(site, {**expected, "a": "b"})


def test_items_of_lists_become_texts_that_rules_read() -> None:
    """A list of numbers, such as ids of groups, is compared by text; by default only."""
    rule = {"c": [{"u": {"a": "groups", "c": 34, "l": ["7"]}}], "s": {"v": {"s": "yes"}}}
    config = {"f": {"p": {"t": 1, "v": {"s": "no"}, "r": [rule]}}}
    body = json.dumps({"context": {"groups": [3, 7]}})
    for choice, value in (("convert", "yes"), ("ignore", "no"), ("reject", "no")):
        site = MemorySite(config, {"http": {"ofrep": {"other_attributes": choice}}})
        assert value == site.request("POST", BULK + "/p", BY_ID, body).json["value"]


def test_booleans_become_texts_that_rules_read() -> None:
    """By default ``true`` is the text ``true``; a large body, which is read another way, agrees."""
    rule = {"c": [{"u": {"a": "premium", "c": 28, "s": "true"}}], "s": {"v": {"s": "yes"}}}
    site = MemorySite({"f": {"p": {"t": 1, "v": {"s": "no"}, "r": [rule]}}})
    for padding in ("", "x" * 20_000):
        body = json.dumps({"context": {"premium": True, "padding": padding}})
        assert "yes" == site.request("POST", BULK + "/p", BY_ID, body).json["value"]


def test_other_attributes_can_be_refused_and_the_api_refuses_them() -> None:
    """``reject`` answers 400 as ConfigCat Proxy does; the API answers 400 whatever the option is."""
    site = MemorySite(CONFIG, {"http": {"ofrep": {"other_attributes": "reject"}}})
    answer = site.request("POST", BULK, BY_ID, json.dumps({"context": {"premium": True}}))
    assert (400, "INVALID_CONTEXT") == (answer.status, answer.json["errorCode"])
    api = MemorySite(CONFIG).request("POST", "/api/sdk1/eval-all", {}, json.dumps({"user": {"premium": True}}))
    assert 400 == api.status
