"""A worker's picture of the SDKs: what the web room finds in it while the leader changes it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gateway.upstream import Refreshed
from gateway.workers.protocol import Began, Config
from gateway.workers.replica import Mirror

BODY = b'{"p":{"s":"x"},"f":{"number":{"t":2,"v":{"i":%d},"i":"v"}}}'


def mirror(*asked: list[tuple[str, bool, bytes]]) -> Mirror:
    """Return an empty mirror; what is asked of the leader goes to the list."""

    def ask(sdk_id: str, limited: bool, credit: bytes) -> Deferred[Refreshed]:
        asked[0].append((sdk_id, limited, credit))
        return Deferred()

    return Mirror(ask)


def test_a_key_finds_the_first_sdk_of_the_settings_that_has_it() -> None:
    """Whatever the order in which they were told; the empty key finds nobody."""
    sdks = mirror()
    sdks.arrange(["a", "b", "c"])
    for sdk_id, key in (("b", "same"), ("a", "same"), ("c", "")):
        sdks.began(Began(sdk_id, key, {}))
    assert "a" == sdks.by_key("same").id
    assert None is sdks.by_key("")
    sdks.arrange(["b", "a", "c"])
    assert "b" == sdks.by_key("same").id
    sdks.ended("b")
    assert "a" == sdks.by_key("same").id


def test_an_sdk_keeps_its_identity_while_its_key_stays() -> None:
    """Other defaults change it; another key makes another one, without the old one's config."""
    sdks = mirror()
    first = sdks.began(Began("a", "k", {"x": "1"}))
    sdks.config(Config("a", '"1"', BODY % 1))
    assert first is sdks.began(Began("a", "k", {"x": "2"}))
    assert ({"x": "2"}, '"1"') == (first.defaults, first.snapshot.etag)
    second = sdks.began(Began("a", "other", {}))
    assert (None, True) == (second.snapshot, second.loading)
    assert (None, second) == (sdks.by_key("k"), sdks.by_key("other"))


def test_a_config_is_compiled_from_the_bytes_and_what_did_not_change_is_carried_over() -> None:
    """The web room sees it at once, with the upstream's ETag and the tag of the bytes."""
    sdks = mirror()
    sdk = sdks.began(Began("a", "k", {}))
    one = sdks.config(Config("a", '"1"', BODY % 1))
    two = sdks.config(Config("a", '"2"', BODY % 1))
    assert two is sdk.snapshot
    assert ('"2"', one.tag, BODY % 1) == (two.etag, two.tag, two.body)
    assert one.flags["number"] is two.flags["number"]
    assert None is sdks.config(Config("gone", '"1"', BODY % 1))


def test_those_who_wait_for_the_first_fetch_are_told_once() -> None:
    """Also when the SDK goes; a caller who gave up disturbs nobody."""
    sdks = mirror()
    sdk = sdks.began(Began("a", "k", {}))
    waiting = [sdk.when_loaded() for _ in range(3)]
    waiting[1].addErrback(lambda _: None)
    waiting[1].cancel()
    sdks.ended("a")
    assert [True, True, True] == [each.called for each in waiting]
    assert sdk.when_loaded().called


def test_a_refresh_is_the_leaders() -> None:
    """With its limit, and with what it says of who changed the config."""
    asked: list[tuple[str, bool, bytes]] = []
    sdk = mirror(asked).began(Began("a", "k", {}))
    sdk.refresh(limited=True)
    sdk.refresh(credit=b"{}")
    assert [("a", True, b""), ("a", False, b"{}")] == asked
