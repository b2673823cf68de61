"""A worker's copy of the SDKs: what the web room finds in it while the leader changes it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gateway.flags import load
from gateway.upstream import Refreshed
from gateway.workers.protocol import AddSdk
from gateway.workers.replica import RegistryReplica

BODY = b'{"p":{"s":"x"},"f":{"number":{"t":2,"v":{"i":%d},"i":"v"}}}'


def replica(*requests: list[tuple[str, bool, bytes]]) -> RegistryReplica:
    """Return an empty replica; refresh requests to the leader are appended to the list."""

    def request(sdk_id: str, limited: bool, credit: bytes) -> Deferred[Refreshed]:
        requests[0].append((sdk_id, limited, credit))
        return Deferred()

    return RegistryReplica(request)


def test_a_key_finds_the_first_sdk_of_the_settings_that_has_it() -> None:
    """Whatever the order in which they were added; the empty key finds no SDK."""
    sdks = replica()
    sdks.set_order(["a", "b", "c"])
    for sdk_id, key in (("b", "same"), ("a", "same"), ("c", "")):
        sdks.add(AddSdk(sdk_id, key, {}))
    assert "a" == sdks.by_key("same").id
    assert None is sdks.by_key("")
    sdks.set_order(["b", "a", "c"])
    assert "b" == sdks.by_key("same").id
    sdks.remove("b")
    assert "a" == sdks.by_key("same").id


def test_an_sdk_keeps_its_identity_while_its_key_stays() -> None:
    """New defaults change it; a new key makes a new SDK, without the old one's config."""
    sdks = replica()
    first = sdks.add(AddSdk("a", "k", {"x": "1"}))
    first.snapshot = load(BODY % 1, '"1"')
    assert first is sdks.add(AddSdk("a", "k", {"x": "2"}))
    assert ({"x": "2"}, '"1"') == (first.defaults, first.snapshot.etag)
    second = sdks.add(AddSdk("a", "other", {}))
    assert (None, True) == (second.snapshot, second.loading)
    assert (None, second) == (sdks.by_key("k"), sdks.by_key("other"))


def test_callers_that_wait_for_the_first_fetch_are_called_once() -> None:
    """Also when the SDK is removed; a cancelled wait does not affect the others."""
    sdks = replica()
    sdk = sdks.add(AddSdk("a", "k", {}))
    waiting = [sdk.when_loaded() for _ in range(3)]
    waiting[1].addErrback(lambda _: None)
    waiting[1].cancel()
    sdks.remove("a")
    assert [True, True, True] == [each.called for each in waiting]
    assert sdk.when_loaded().called


def test_a_refresh_is_requested_from_the_leader() -> None:
    """With its limit and its credit."""
    requests: list[tuple[str, bool, bytes]] = []
    sdk = replica(requests).add(AddSdk("a", "k", {}))
    sdk.refresh(limited=True)
    sdk.refresh(credit=b"{}")
    assert [("a", True, b""), ("a", False, b"{}")] == requests
