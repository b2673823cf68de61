"""Random edits, subscriptions, disconnections and pauses: all streams end with the official SDK's values."""

from __future__ import annotations

import copy
import json
import logging
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from configcatclient.config import fixup_config_salt_and_segments
from configcatclient.rolloutevaluator import RolloutEvaluator
from configcatclient.user import User as OfficialUser
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from evaluate_each import evaluate_each
from gateway.flags import User, load
from gateway.streams import HeartbeatWheel, Hub, Mode, StreamOptions, Subscriber, attribute_index, parse_event_id

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 2_000 if NIGHTLY else 200
KEYS = ("alpha", "beta", "gamma", "delta")
MODES: tuple[Mode, ...] = ("plain", "delta", "ofrep")
USERS: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"Identifier": "1", "Country": "DE"},
    {"Identifier": "1", "Country": "FR"},
    {"Identifier": "7"},
    {"Identifier": 7.0},
    {"Identifier": "2", "Roles": ("Admin",)},
    {"Identifier": "2", "Roles": ("Guest",)},
    {"Identifier": "2", "Roles": ("Admin", "Guest")},
    {"Identifier": "3", "Country": "DE", "Age": 41.5},
)


def served(value: bool) -> dict[str, Any]:
    """Return a boolean served value with a variation id of its own."""
    return {"v": {"b": value}, "i": "on" if value else "off"}


def condition(kind: str) -> dict[str, Any]:
    """Return one targeting condition of a kind."""
    return {
        "country": {"u": {"a": "Country", "c": 0, "l": ["DE"]}},
        "not-country": {"u": {"a": "Country", "c": 1, "l": ["DE"]}},
        "identifier": {"u": {"a": "Identifier", "c": 0, "l": ["1", "7"]}},
        "role": {"u": {"a": "Roles", "c": 34, "l": ["Admin"]}},
        "age": {"u": {"a": "Age", "c": 15, "d": 40}},
        "segment": {"s": {"s": 0, "c": 0}},
        "prerequisite": {"p": {"f": "alpha", "c": 0, "v": {"b": True}}},
    }[kind]


targeted = st.builds(
    lambda kind, on: {"t": 0, **served(on), "r": [{"c": [condition(kind)], "s": served(not on)}]},
    st.sampled_from(["country", "not-country", "identifier", "role", "age", "segment", "prerequisite"]),
    st.booleans(),
)
flag_definitions = st.one_of(
    targeted,
    st.builds(lambda on: {"t": 0, **served(on)}, st.booleans()),
    st.builds(
        lambda share: {
            "t": 0,
            **served(False),
            "p": [{"p": share, **served(True)}, {"p": 100 - share, **served(False)}],
        },
        st.integers(0, 100),
    ),
)
subscriptions = st.tuples(st.sampled_from([None, *KEYS]), st.sampled_from(USERS), st.sampled_from(MODES))


class Client:
    """An outlet that keeps the decoded payloads and the resulting values."""

    def __init__(
        self, key: str | None, attributes: dict[str, Any] | None, mode: Mode, evaluate: Callable[[], Any]
    ) -> None:
        self.key = key
        self.attributes = attributes
        self.mode = mode
        self.evaluate = evaluate  # returns the OFREP results of the moment; used at the first id and at each event
        self.answer: Any = None
        self.payloads: list[Any] = []
        self.state: Any = None
        self.id = ""
        self.subscriber: Subscriber | None = None
        self.narrow = False  # whether each write fills the transport
        self.full = False

    def write(self, data: bytes) -> None:
        """Decode the events, each of which has data; heartbeats and comments stand in none."""
        assert not self.full
        for block in data.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
            self.id = fields["id"]
            if self.mode == "ofrep" and (fields.get("event") != "recovered" or self.answer is None):
                self.answer = self.evaluate()
            self.take(fields.get("event"), json.loads(fields["data"]))
        if self.narrow:
            self.fill()

    def fill(self) -> None:
        """Pause until ``empty``."""
        assert self.subscriber is not None
        self.full = True
        self.subscriber.pause()

    def empty(self) -> None:
        """Resume."""
        assert self.subscriber is not None
        if self.full:
            self.full = False
            self.subscriber.resume()

    def take(self, name: str | None, payload: Any) -> None:
        """Keep and apply one event; ``recovered`` has no values."""
        if name == "recovered":
            return
        self.payloads.append(payload)
        if name == "patch":
            assert payload["changed"].keys().isdisjoint(payload["removed"])
            kept = {key: value for key, value in self.state.items() if key not in payload["removed"]}
            state = kept | payload["changed"]
            assert len(kept) + len(payload["removed"]) == len(self.state)
            assert state != self.state
            self.state = state
        else:
            self.state = payload

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


def fail(_: Subscriber, error: Exception) -> None:
    """Raise what a client found wrong."""
    raise error


class NoMetrics:
    """Metrics that count nothing."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Ignore."""

    stream_closed = stream_opened

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Ignore."""


class Oracle:
    """The official SDK's evaluator."""

    def __init__(self) -> None:
        logger = logging.getLogger("oracle")
        logger.setLevel(logging.CRITICAL + 1)
        self._evaluator = RolloutEvaluator(Adapter())

    def evaluate(self, config: dict[str, Any], key: str, attributes: dict[str, Any] | None) -> dict[str, Any]:
        """Return the value that a stream of ``key`` should have."""
        if key not in config["f"]:
            return {"value": None, "variationId": ""}
        prepared = copy.deepcopy(config)
        fixup_config_salt_and_segments(prepared)
        user = None
        if attributes is not None:
            custom = {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}
            identifier, country = custom.pop("Identifier", None), custom.pop("Country", None)
            user = OfficialUser(identifier, country=country, custom=custom)
        value, variation, _, _, error = self._evaluator.evaluate(key, user, None, "", prepared, None)
        return {"value": None, "variationId": ""} if error else {"value": value, "variationId": variation or ""}


class Adapter:
    """A logger that logs nothing."""

    def error(self, *args: Any, **more: Any) -> None:
        """Ignore."""

    warning = info = debug = error


class Streams(RuleBasedStateMachine):
    """A hub under random use."""

    open_streams = Bundle("open_streams")
    distinguishing = 0  # quiet points, over all examples, at which users had different values

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "p": {"s": "salt"},
            "s": [{"n": "germans", "r": [{"a": "Country", "c": 0, "l": ["DE"]}]}],
            "f": {"alpha": {"t": 0, **served(True)}},
        }
        self.version = 0
        self.now = 0.0
        self.oracle = Oracle()
        self.clients: dict[Subscriber, Client] = {}
        self.unquiet = False  # whether anything happened since the last quiet point
        self.hub = Hub(
            "sdk",
            self.compile(),
            wheel=HeartbeatWheel(20, 60, lambda _: None),
            now=lambda: self.now,
            rng=random.Random(1),
            metrics=NoMetrics(),
            on_write_error=fail,
        )

    def compile(self) -> Any:
        """Return the Snapshot of the config as it stands."""
        self.version += 1
        previous = self.hub.snapshot if hasattr(self, "hub") else None
        return load(json.dumps(self.config).encode(), str(self.version), previous)

    def publish(self) -> None:
        """Publish the config as it stands."""
        self.unquiet = True
        self.hub.publish(self.compile())

    @initialize(definitions=st.fixed_dictionaries(dict.fromkeys(KEYS, targeted)))
    def begin(self, definitions: dict[str, Any]) -> None:
        """Begin with targeting rules: without them Hypothesis hardly ever finds users with different values."""
        self.config["f"] = definitions
        self.publish()

    @initialize(target=open_streams, key=st.sampled_from([None, *KEYS]), mode=st.sampled_from(MODES))
    def arrive(self, key: str | None, mode: Mode) -> MultipleResults[Subscriber]:
        """Begin with a stream of each user."""
        return multiple(*[self.subscribed(key, attributes, mode) for attributes in USERS])

    @rule(key=st.sampled_from(KEYS), definition=flag_definitions)
    def edit(self, key: str, definition: dict[str, Any]) -> None:
        """Add or change a flag and publish."""
        self.config["f"][key] = definition
        self.publish()

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        """Remove a flag, if it is there, and publish."""
        if self.config["f"].pop(key, None) is not None:
            self.publish()

    @rule(key=st.sampled_from(KEYS), people=st.lists(st.sampled_from(["1", "2", "3", "7"]), max_size=2, unique=True))
    def name_people(self, key: str, people: list[str]) -> None:
        """Add a rule for some identifiers to a flag, or edit it, and publish.

        It is the last rule: the official SDK notices a circle of prerequisites only where an evaluation reaches it.
        """
        flag = self.config["f"].get(key)
        if flag is None:
            return
        rules = [one for one in flag.get("r", ()) if "named" not in one]
        condition = {"u": {"a": "Identifier", "c": 0, "l": people}}
        named = {"c": [condition], "s": served(not flag["v"]["b"]), "named": True}
        self.config["f"][key] = {**flag, "r": [*rules, named]}
        self.publish()

    @rule(countries=st.lists(st.sampled_from(["DE", "FR"]), min_size=1, max_size=2, unique=True))
    def edit_segment(self, countries: list[str]) -> None:
        """Change the segment that flags share and publish."""
        self.config["s"][0]["r"][0]["l"] = countries
        self.publish()

    @rule(target=open_streams, wanted=subscriptions)
    def subscribe(self, wanted: tuple[str | None, dict[str, Any] | None, Mode]) -> Subscriber:
        """Open a stream."""
        return self.subscribed(*wanted)

    def subscribed(self, key: str | None, attributes: dict[str, Any] | None, mode: Mode) -> Subscriber:
        """Open a stream and keep its client."""
        self.unquiet = True
        user = None if attributes is None else User(attributes)
        key = None if mode == "ofrep" else key

        def evaluate() -> Any:
            assert self.hub.snapshot is not None
            return [result.ofrep for result in evaluate_each(self.hub.snapshot, user)]

        client = Client(key, attributes, mode, evaluate)
        subscriber = client.subscriber = self.hub.subscribe(key, user, client, StreamOptions(mode))
        self.clients[subscriber] = client
        return subscriber

    @rule(target=open_streams, subscriber=consumes(open_streams))
    def come_back(self, subscriber: Subscriber) -> Subscriber:
        """Close a stream and open it again with its last id."""
        self.unquiet = True
        client = self.clients.pop(subscriber)
        subscriber.close()
        client.full = client.narrow = False
        options = StreamOptions(subscriber.cohort.mode, parse_event_id(client.id)[1], quiet=True)
        again = client.subscriber = self.hub.subscribe(client.key, subscriber.cohort.user, client, options)
        self.clients[again] = client
        return again

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule(subscriber=consumes(open_streams))
    def disconnect(self, subscriber: Subscriber) -> None:
        """Close a stream."""
        subscriber.close()
        del self.clients[subscriber]

    @rule(subscriber=open_streams)
    def pause(self, subscriber: Subscriber) -> None:
        """Let a client stall."""
        self.clients[subscriber].fill()

    @rule(subscriber=open_streams)
    def narrow(self, subscriber: Subscriber) -> None:
        """Have each frame fill a client's transport from now on."""
        self.unquiet = True
        self.clients[subscriber].narrow = True

    @rule(subscriber=open_streams)
    def resume(self, subscriber: Subscriber) -> None:
        """Let a client continue."""
        self.clients[subscriber].empty()

    @rule()
    def slice(self) -> None:
        """Push to one cohort only."""
        self.hub.work(lambda: True)

    def teardown(self) -> None:
        """End with a comparison."""
        self.quiet_point()

    @precondition(lambda self: self.unquiet)
    @rule()
    def quiet_point(self) -> None:
        """Complete the push, resume all clients, and compare all streams with a fresh evaluation."""
        self.unquiet = False
        assert self.hub.work(lambda: False)
        self.now += 10
        assert self.hub.work(lambda: False)
        assert self.hub.next_due() is None
        for subscriber, client in self.clients.items():
            client.narrow = False
            client.empty()
            assert parse_event_id(client.id)[1] == subscriber.sent_digest == subscriber.cohort.digest
            if client.mode == "ofrep":
                assert client.evaluate() == client.answer
            else:
                assert self.expected(client) == client.state
        states: dict[str, set[str]] = {}
        for client in self.clients.values():
            if client.mode != "ofrep":
                states.setdefault(f"{client.key} {client.mode}", set()).add(json.dumps(client.state, sort_keys=True))
        Streams.distinguishing += any(len(distinct) > 1 for distinct in states.values())

    def expected(self, client: Client) -> Any:
        """Return the values that a client should have by the official SDK."""
        keys = self.config["f"] if client.key is None else [client.key]
        values = {key: self.oracle.evaluate(self.config, key, client.attributes) for key in keys}
        if client.mode == "delta":
            return {key: value for key, value in values.items() if key in self.config["f"]}
        return values if client.key is None else values[client.key]

    @invariant()
    def no_event_without_a_change(self) -> None:
        """No client gets two equal events in a row."""
        for client in self.clients.values():
            if client.mode != "plain":
                continue
            assert all(one != two for one, two in zip(client.payloads, client.payloads[1:], strict=False))


@pytest.mark.timeout(900)  # a failure is made small first, which takes minutes
def test_every_stream_ends_with_the_values_of_the_official_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each quiet point all streams have the values of the official SDK, and had no event without a change.

    Cohorts are looked up by attribute wherever a change names the users that it concerns.
    """
    monkeypatch.setattr(attribute_index, "LEAST_COHORTS", 0)
    monkeypatch.setattr(attribute_index, "LEAST_RATIO", 0)
    Streams.distinguishing = 0
    run_state_machine_as_test(Streams, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None))
    print(f"{Streams.distinguishing} quiet points at which users had different values")
    assert Streams.distinguishing * 2 >= EXAMPLES
