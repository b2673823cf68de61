"""Configs in a worker: in use at once or after slices, in their order, and what waits for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.slices import LARGE_BYTES
from gateway.workers.config_intake import ConfigIntake
from gateway.workers.protocol import AddSdk, PublishConfig
from gateway.workers.replica import RegistryReplica, SdkReplica

BODY = b'{"p":{"s":"x"},"f":{"number":{"t":2,"v":{"i":%d},"i":"v"}}}'


def large(value: str) -> bytes:
    """Return a config of more than LARGE_BYTES."""
    flags = {f"flag{number:05}": {"t": 1, "v": {"s": value * 20}, "i": "v"} for number in range(1_000)}
    body = json.dumps({"p": {"s": "x"}, "f": flags}).encode()
    assert len(body) > LARGE_BYTES
    return body


class Scene:
    """An intake with the SDKs ``a`` and ``b``; ``used`` has the ETags in their order, ``prepared`` what came before."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = RegistryReplica(lambda *_: Deferred())
        self.used: list[tuple[str, str]] = []
        self.prepared: list[tuple[str, str]] = []
        self.intake = ConfigIntake(self.clock, self.registry, self._prepare, self._use)
        for sdk_id in ("a", "b"):
            self.add(sdk_id, "key of " + sdk_id)

    def add(self, sdk_id: str, key: str) -> SdkReplica:
        return self.registry.add(AddSdk(sdk_id, key, {}))

    def publish(self, sdk_id: str, name: str, body: bytes) -> None:
        self.intake.publish(PublishConfig(sdk_id, name, body))

    def finish(self) -> None:
        """Run the clock until no work is due."""
        for _ in range(10_000):
            if not any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                return
            self.clock.advance(0)
        raise AssertionError("the work does not end")

    def _prepare(self, sdk_id: str, snapshot: object) -> Deferred[None]:
        self.prepared.append((sdk_id, snapshot.etag))  # type: ignore[attr-defined] # a Snapshot
        return succeed(None)

    def _use(self, sdk_id: str, snapshot: object) -> None:
        sdk = self.registry.by_id(sdk_id)
        assert sdk is not None
        assert sdk.snapshot is snapshot
        self.used.append((sdk_id, snapshot.etag))  # type: ignore[attr-defined] # a Snapshot


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_small_config_is_in_use_at_once_and_reuses_unchanged_flags(scene: Scene) -> None:
    """It has the upstream's ETag and the tag of the bytes; one of an SDK that was removed is dropped."""
    scene.publish("a", "1", BODY % 1)
    sdk = scene.registry.by_id("a")
    assert sdk is not None
    one = sdk.snapshot
    scene.publish("a", "2", BODY % 1)
    two = sdk.snapshot
    scene.publish("gone", "1", BODY % 1)
    assert [("a", "1"), ("a", "2")] == scene.used
    assert one is not None
    assert two is not None
    assert ("2", one.tag, BODY % 1) == (two.etag, two.tag, two.body)
    assert one.flags["number"] is two.flags["number"]


def test_a_large_config_delays_no_other_sdk_and_only_its_own_followers(scene: Scene) -> None:
    """It is in use after many turns; ``settled`` of its SDK and of all waits for it, that of another SDK does not."""
    scene.publish("a", "large", large("one"))
    waits = {each: scene.intake.settled(each) for each in ("a", "b", None)}
    scene.publish("b", "small", BODY % 1)
    assert [("b", "small")] == scene.used
    assert {"a": False, "b": True, None: False} == {each: wait.called for each, wait in waits.items()}
    scene.finish()
    assert [("b", "small"), ("a", "large")] == scene.used
    assert [("a", "large")] == scene.prepared
    assert all(wait.called for wait in waits.values())


def test_configs_of_one_sdk_stay_in_order_and_the_newest_of_those_that_wait_is_used(scene: Scene) -> None:
    """A small one does not overtake a large one; one that is outdated before its turn is left out."""
    scene.publish("a", "large", large("one"))
    scene.publish("a", "outdated", large("two"))
    scene.publish("a", "small", BODY % 1)
    assert [] == scene.used
    scene.finish()
    assert [("a", "large"), ("a", "small")] == scene.used


def test_a_config_of_an_sdk_that_is_removed_meanwhile_is_dropped(scene: Scene) -> None:
    """Also if another SDK of the same id takes its place, which begins with its own config."""
    scene.publish("a", "old", large("old"))
    scene.registry.remove("a")
    scene.add("a", "another key")
    scene.publish("a", "new", large("new"))
    scene.finish()
    assert [("a", "new")] == scene.used
    assert scene.intake.settled().called


def test_an_invalid_large_config_leaves_the_previous_one_in_use(scene: Scene, logged_errors: Any) -> None:
    """A config that follows is used."""
    scene.publish("a", "good", BODY % 1)
    scene.publish("a", "bad", large("one")[:-1])
    scene.finish()
    assert [("a", "good")] == scene.used
    assert 1 == len(logged_errors.flush())
    scene.publish("a", "better", large("two"))
    scene.finish()
    assert [("a", "good"), ("a", "better")] == scene.used
