"""Random edits, subscriptions, disconnections and pauses: every stream ends where the official SDK says it should."""

from __future__ import annotations

import copy
import json
import logging
import random
from typing import Any

from configcatclient.config import fixup_config_salt_and_segments
from configcatclient.rolloutevaluator import RolloutEvaluator
from configcatclient.user import User as OfficialUser
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.flags import User, load
from gateway.streams import Hub, Subscriber, Wheel

KEYS = ("alpha", "beta", "gamma", "delta")
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
        "role": {"u": {"a": "Roles", "c": 34, "l": ["Admin"]}},
        "age": {"u": {"a": "Age", "c": 15, "d": 40}},
        "segment": {"s": {"s": 0, "c": 0}},
        "prerequisite": {"p": {"f": "alpha", "c": 0, "v": {"b": True}}},
    }[kind]


flag_definitions = st.one_of(
    st.builds(lambda on: {"t": 0, **served(on)}, st.booleans()),
    st.builds(
        lambda kind, on: {"t": 0, **served(on), "r": [{"c": [condition(kind)], "s": served(not on)}]},
        st.sampled_from(["country", "role", "age", "segment", "prerequisite"]),
        st.booleans(),
    ),
    st.builds(
        lambda share: {
            "t": 0,
            **served(False),
            "p": [{"p": share, **served(True)}, {"p": 100 - share, **served(False)}],
        },
        st.integers(0, 100),
    ),
)


class Reader:
    """An outlet that keeps the decoded payloads."""

    def __init__(self, key: str | None, attributes: dict[str, Any] | None) -> None:
        self.key = key
        self.attributes = attributes
        self.payloads: list[Any] = []

    def write(self, data: bytes) -> None:
        """Decode what is written; a heartbeat or a comment has no data."""
        lines = data.decode().split("\n")
        self.payloads.extend(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Silent:
    """A meter that does not count."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Ignore."""

    stream_closed = stream_opened

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Ignore."""


class Oracle:
    """The official SDK's evaluator over the config of the moment."""

    def __init__(self) -> None:
        logger = logging.getLogger("oracle")
        logger.setLevel(logging.CRITICAL + 1)
        self._evaluator = RolloutEvaluator(Adapter())

    def look(self, config: dict[str, Any], key: str, attributes: dict[str, Any] | None) -> dict[str, Any]:
        """Return what a stream of ``key`` should show."""
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
    """A logger that says nothing."""

    def error(self, *args: Any, **more: Any) -> None:
        """Ignore."""

    warning = info = debug = error


class Streams(RuleBasedStateMachine):
    """A hub under random use."""

    open_streams = Bundle("open_streams")

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "p": {"s": "salt"},
            "s": [{"n": "germans", "r": [{"a": "Country", "c": 0, "l": ["DE"]}]}],
            "f": {"alpha": {"t": 0, **served(True)}},
        }
        self.version = 0
        self.oracle = Oracle()
        self.readers: dict[Subscriber, Reader] = {}
        self.hub = Hub(
            "sdk",
            self.compile(),
            wheel=Wheel(20, 60, lambda _: None),
            now=lambda: 0.0,
            rng=random.Random(1),
            meter=Silent(),
        )

    def compile(self) -> Any:
        """Return the Snapshot of the config as it stands."""
        self.version += 1
        previous = self.hub.snapshot if hasattr(self, "hub") else None
        return load(json.dumps(self.config).encode(), str(self.version), previous)

    @rule(key=st.sampled_from(KEYS), definition=flag_definitions)
    def edit(self, key: str, definition: dict[str, Any]) -> None:
        """Add or change a flag and publish."""
        self.config["f"][key] = definition
        self.hub.publish(self.compile())

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        """Remove a flag, if it is there, and publish."""
        if self.config["f"].pop(key, None) is not None:
            self.hub.publish(self.compile())

    @rule(countries=st.lists(st.sampled_from(["DE", "FR"]), min_size=1, max_size=2, unique=True))
    def edit_segment(self, countries: list[str]) -> None:
        """Change the segment that flags share and publish."""
        self.config["s"][0]["r"][0]["l"] = countries
        self.hub.publish(self.compile())

    @rule(target=open_streams, key=st.sampled_from([None, *KEYS]), attributes=st.sampled_from(USERS))
    def subscribe(self, key: str | None, attributes: dict[str, Any] | None) -> Subscriber:
        """Open a stream."""
        reader = Reader(key, attributes)
        user = None if attributes is None else User(attributes)
        subscriber = self.hub.subscribe(key, user, reader)
        self.readers[subscriber] = reader
        return subscriber

    @rule(subscriber=consumes(open_streams))
    def disconnect(self, subscriber: Subscriber) -> None:
        """Close a stream."""
        subscriber.close()
        del self.readers[subscriber]

    @rule(subscriber=open_streams)
    def pause(self, subscriber: Subscriber) -> None:
        """Stall a reader."""
        subscriber.pause()

    @rule(subscriber=open_streams)
    def resume(self, subscriber: Subscriber) -> None:
        """Let a reader go on."""
        subscriber.resume()

    @rule()
    def slice(self) -> None:
        """Push to one cohort only."""
        self.hub.work(lambda: True)

    @rule()
    def quiet_point(self) -> None:
        """Push to the end, resume everybody, and compare every stream with a fresh evaluation."""
        while not self.hub.work(lambda: False):
            pass
        for subscriber, reader in self.readers.items():
            subscriber.resume()
            if reader.key is None:
                keys = self.config["f"]
                expected: Any = {key: self.oracle.look(self.config, key, reader.attributes) for key in keys}
            else:
                expected = self.oracle.look(self.config, reader.key, reader.attributes)
            assert expected == reader.payloads[-1]

    @invariant()
    def no_event_without_a_change(self) -> None:
        """Two events in a row at one reader are never equal."""
        for reader in self.readers.values():
            assert all(one != two for one, two in zip(reader.payloads, reader.payloads[1:], strict=False))


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
