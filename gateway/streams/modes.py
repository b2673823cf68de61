"""The ways a stream can show the same flags: whole each time, as patches, or as a mere call to ask again.

A view knows what a reader is sent first, and what the step from one config to the next is for it.
``seen`` is always the digest of what the reader then knows; SDK, route and mode are part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from gateway.flags import number_of, text_of
from gateway.streams.impact import REASON, SHOWN
from gateway.streams.sse import NULL_PAYLOAD, event, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.flags import Snapshot, User
    from gateway.streams.cohort import Cohort
    from gateway.streams.impact import Touch

Mode = Literal["plain", "delta", "ofrep"]
Shown = tuple[str, bytes]  # ``seen``, and the frame that brings a reader there


class StreamOptions(Struct, frozen=True):
    """How a client wants its stream.

    ``last_digest`` is the digest in the last event id it had, empty when it had none; ``quiet`` asks for no data again
    where that is still what it would see.
    """

    mode: Mode = "plain"
    last_digest: str = ""
    quiet: bool = False


DEFAULT_OPTIONS = StreamOptions()


class View(Protocol):
    """One way of showing; ``least`` is the least kind of change that matters to it, ``paced`` asks to be spread."""

    least: int
    paced: bool

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return what brings any reader up to ``snapshot``."""

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, options: StreamOptions, *, recent: bool
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
        self._all = number_of(scope(sdk_id, None, "plain"))

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the full payload."""
        if key is None:
            payload, number = snapshot.show_all(user)
            seen = text_of(self._all + number)
        else:
            payload = snapshot.evaluate(key, user).json if key in snapshot.flags else NULL_PAYLOAD
            # Of the payload alone: a flag that fails and one that is deleted look the same.
            seen = text_of(number_of(scope(self._sdk_id, key, "plain") + payload))
        return seen, event(snapshot.tag, seen, payload)

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, options: StreamOptions, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return the full payload; only the id to a reader that has it and asked for quiet."""
        del recent
        seen, frame = self.whole(snapshot, key, user)
        if options.quiet and options.last_digest == seen:
            return seen, mark(snapshot.tag, seen), False
        return seen, frame, True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return the full payload."""
        del touch, before
        return self.whole(snapshot, key, user)


class Delta:
    """The first event is the full map, every further one what changed in it."""

    least = SHOWN
    paced = False

    def __init__(self, sdk_id: str) -> None:
        self._sdk_id = sdk_id
        self._all = number_of(scope(sdk_id, None, "delta"))

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the full map as a ``put``."""
        seen, payload = self._outlook(snapshot, key, user)
        return seen, event(snapshot.tag, seen, payload, b"put")

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, options: StreamOptions, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return a ``put``, or ``recovered`` to a reader that has it."""
        del recent
        seen, payload = self._outlook(snapshot, key, user)
        if options.last_digest == seen:
            # Data, though there is none: without it an EventSource would not call the listener.
            return seen, event(snapshot.tag, seen, b"{}", b"recovered"), True
        return seen, event(snapshot.tag, seen, payload, b"put"), True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return a ``patch``."""
        number = int(before, 16)
        changed: list[bytes] = []
        removed: list[bytes] = []
        for kind, old, new in touch.steps(key, user):
            if kind < SHOWN:
                continue
            if old is not None:
                number -= old.number
                if new is None:
                    removed.append(old.entry[: -len(old.json) - 1])
            if new is not None:
                number += new.number
                changed.append(new.entry)
        if not changed and not removed:
            return before, b""
        seen = text_of(number)
        patch = b'{"changed":{%b},"removed":[%b]}' % (b",".join(changed), b",".join(removed))
        return seen, event(snapshot.tag, seen, patch, b"patch")

    def _outlook(self, snapshot: Snapshot, key: str | None, user: User | None) -> tuple[str, bytes]:
        """Return ``seen`` and the map."""
        if key is None:
            payload, number = snapshot.show_all(user)
            return text_of(self._all + number), payload
        start = number_of(scope(self._sdk_id, key, "delta"))
        if key not in snapshot.flags:
            return text_of(start), b"{}"
        result = snapshot.evaluate(key, user)
        return text_of(start + result.number), b"{%b}" % result.entry


class Refetch:
    """OFREP: no values, only the call to ask for them again; reasons count as well as values."""

    least = REASON
    paced = True

    def __init__(self, sdk_id: str, call: Callable[[], bytes]) -> None:
        self._sdk_id = sdk_id
        self._all = number_of(scope(sdk_id, None, "ofrep"))
        self._call = call

    def whole(self, snapshot: Snapshot, key: str | None, user: User | None) -> Shown:
        """Return the call."""
        seen = self._outlook(snapshot, key, user)
        return seen, event(snapshot.tag, seen, self._call())

    def opening(
        self, snapshot: Snapshot, key: str | None, user: User | None, options: StreamOptions, *, recent: bool
    ) -> tuple[str, bytes, bool]:
        """Return the id alone; the call to a reader that saw something else, or may have asked just before a change."""
        seen = self._outlook(snapshot, key, user)
        if options.last_digest == seen or (not options.last_digest and not recent):
            return seen, mark(snapshot.tag, seen), False
        return seen, event(snapshot.tag, seen, self._call()), True

    def step(self, touch: Touch, snapshot: Snapshot, key: str | None, user: User | None, before: str) -> Shown:
        """Return the call when a value or a reason differs."""
        number = int(before, 16)
        for kind, old, new in touch.steps(key, user):
            if kind >= REASON:
                number -= 0 if old is None else old.ofrep_number
                number += 0 if new is None else new.ofrep_number
        seen = text_of(number)
        return (before, b"") if seen == before else (seen, event(snapshot.tag, seen, self._call()))

    def _outlook(self, snapshot: Snapshot, key: str | None, user: User | None) -> str:
        if key is None:
            return text_of(self._all + snapshot.ofrep_number(user))
        start = number_of(scope(self._sdk_id, key, "ofrep"))
        return text_of(start + (snapshot.evaluate(key, user).ofrep_number if key in snapshot.flags else 0))


def onward(view: View, cohort: Cohort, target: Snapshot, touch: Touch | None, before: str) -> Shown:
    """Return what brings a cohort's readers to ``target``: over ``touch``, or from anywhere when it is None."""
    if touch is None:
        return view.whole(target, cohort.key, cohort.user)
    return view.step(touch, target, cohort.key, cohort.user, before)


def scope(sdk_id: str, key: str | None, mode: Mode) -> bytes:
    """Return what makes digests of one SDK, route and mode differ from all others."""
    route = "eval-all" if key is None else "eval/" + key
    return f"{sdk_id}\n{route}\n{mode}\n".encode()
