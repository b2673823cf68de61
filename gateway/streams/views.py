"""The ways a stream can show the same flags: whole each time, as patches, or as a mere call to ask again.

A view knows what a reader is sent first, and what the step from one config to the next is for it.
``seen`` is always the digest of what the reader then knows; SDK, route and mode are part of it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Literal, Protocol

from attrs import frozen

from gateway.streams.fingerprint import Fingerprints, number_of, text_of
from gateway.streams.frame import digest, event, mark, payload_for
from gateway.streams.touch import REASON, SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.flags import Result, Snapshot, User
    from gateway.streams.touch import Touch

Mode = Literal["plain", "delta", "ofrep"]
Shown = tuple[str, bytes]  # ``seen``, and the frame that brings a reader there


@frozen
class Terms:
    """How a client wants its stream.

    ``last_seen`` is the digest in the last event id it had, empty when it had none; ``quiet`` asks for no data again
    where that is still what it would see.
    """

    mode: Mode = "plain"
    last_seen: str = ""
    quiet: bool = False


AS_EVER = Terms()


class View(Protocol):
    """One way of showing; ``least`` is the least kind of change that matters to it, ``paced`` asks to be spread."""

    least: int
    paced: bool

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return what brings any reader up to ``snapshot``."""

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, terms: Terms, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return ``seen``, the first frame, and whether it is an event; ``recent``: the config has just changed."""

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return what brings a reader that sees ``before`` over ``touch`` to ``snapshot``; ``before`` if nothing."""


class Plain:
    """Every event is the full payload."""

    least = SHOWN
    paced = False

    def __init__(self, sdk_id: str) -> None:
        self._sdk_id = sdk_id

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the full payload."""
        payload = payload_for(snapshot, key, user)
        seen = digest(scope(self._sdk_id, key, "plain"), payload)
        return seen, event(snapshot.tag, seen, payload)

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, terms: Terms, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return the full payload; only the id to a reader that has it and asked for quiet."""
        del recent
        seen, frame = self.whole(snapshot, key, user)
        if terms.quiet and terms.last_seen == seen:
            return seen, mark(snapshot.tag, seen), False
        return seen, frame, True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return the full payload."""
        del touch, before
        return self.whole(snapshot, key, user)


class Summed:
    """What patches and calls share: a digest that follows the affected flags alone."""

    def __init__(self, sdk_id: str, mode: Mode, prints: Fingerprints, item: Callable[[Result], bytes]) -> None:
        self._sdk_id = sdk_id
        self._mode = mode
        self._prints = prints
        self._item = item
        self._all = number_of(scope(sdk_id, None, mode))

    def outlook(self, snapshot: Snapshot, key: str | None, user: User | None) -> tuple[str, list[bytes]]:
        """Return ``seen`` and the items of everything that ``user`` sees."""
        results: Sequence[Result]
        if key is None:
            start, results = self._all, snapshot.evaluate_all(user)
        else:
            start = number_of(scope(self._sdk_id, key, self._mode))
            results = [snapshot.evaluate(key, user)] if key in snapshot.flags else []
        items = [self._item(result) for result in results]
        return text_of(start + self._prints.total(items)), items


class Delta(Summed):
    """The first event is the full map, every further one what changed in it."""

    least = SHOWN
    paced = False

    def __init__(self, sdk_id: str, prints: Fingerprints) -> None:
        super().__init__(sdk_id, "delta", prints, attrgetter("entry"))

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the full map as a ``put``."""
        seen, items = self.outlook(snapshot, key, user)
        return seen, event(snapshot.tag, seen, b"{%b}" % b",".join(items), b"put")

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, terms: Terms, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return a ``put``, or ``recovered`` to a reader that has it."""
        del recent
        seen, items = self.outlook(snapshot, key, user)
        if terms.last_seen == seen:
            # Data, though there is none: without it an EventSource would not call the listener.
            return seen, event(snapshot.tag, seen, b"{}", b"recovered"), True
        return seen, event(snapshot.tag, seen, b"{%b}" % b",".join(items), b"put"), True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return a ``patch``."""
        number = int(before, 16)
        changed: list[bytes] = []
        removed: list[bytes] = []
        for kind, old, new in touch.steps(key, user):
            if kind < SHOWN:
                continue
            if old is not None:
                number -= self._prints[old.entry]
                if new is None:
                    removed.append(old.entry[: -len(old.json) - 1])
            if new is not None:
                number += self._prints[new.entry]
                changed.append(new.entry)
        if not changed and not removed:
            return before, b""
        seen = text_of(number)
        patch = b'{"changed":{%b},"removed":[%b]}' % (b",".join(changed), b",".join(removed))
        return seen, event(snapshot.tag, seen, patch, b"patch")


class Refetch(Summed):
    """OFREP: no values, only the call to ask for them again; reasons count as well as values."""

    least = REASON
    paced = True

    def __init__(self, sdk_id: str, prints: Fingerprints, call: Callable[[], bytes]) -> None:
        super().__init__(sdk_id, "ofrep", prints, attrgetter("ofrep"))
        self._call = call

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the call."""
        seen, _ = self.outlook(snapshot, key, user)
        return seen, event(snapshot.tag, seen, self._call())

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, terms: Terms, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return the id alone; the call to a reader that saw something else, or may have asked just before a change."""
        seen, _ = self.outlook(snapshot, key, user)
        if terms.last_seen == seen or (not terms.last_seen and not recent):
            return seen, mark(snapshot.tag, seen), False
        return seen, event(snapshot.tag, seen, self._call()), True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return the call when a value or a reason differs."""
        number = int(before, 16)
        for kind, old, new in touch.steps(key, user):
            if kind >= REASON:
                number -= 0 if old is None else self._prints[old.ofrep]
                number += 0 if new is None else self._prints[new.ofrep]
        seen = text_of(number)
        return (before, b"") if seen == before else (seen, event(snapshot.tag, seen, self._call()))


def scope(sdk_id: str, key: str | None, mode: Mode) -> bytes:
    """Return what makes digests of one SDK, route and mode differ from all others."""
    route = "eval-all" if key is None else "eval/" + key
    return f"{sdk_id}\n{route}\n{mode}\n".encode()
