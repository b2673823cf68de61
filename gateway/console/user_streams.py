"""``POST /api/v1/streams/test``: what a user of the request gets, live, with the reason of each value.

config_applied ──► the newest config ──► difference, in slices ──► explained before and after ──► events of the stream

The streams are computed in this process from the config in use; they take no connection of the main port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from gateway import flags
from gateway.console.event_stream import EventStream, event_frame
from gateway.console.schema import SeenValue
from gateway.flags import difference_in_steps
from gateway.logger import component_logger
from gateway.slices import in_slices, in_turns
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot, User
    from gateway.telemetry import BoundedRequest

_log = component_logger("diag")

MOST: Final = 10  # streams at a time: each explains every change
FLAGS: Final = 200  # values that are sent at the start, and changes of one config; all are counted

Changed = tuple[str, "SeenValue | None", "SeenValue | None"]


class UserStreams:
    """The open streams; ``wall`` returns seconds since 1970. All methods belong to the reactor thread."""

    def __init__(self, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._open: set[UserStream] = set()

    def __len__(self) -> int:
        """The number of open streams."""
        return len(self._open)

    def open(self, request: BoundedRequest, sdk_id: str, key: str | None, user: User | None, now: Snapshot) -> None:
        """Send to ``request`` what a user gets of flag ``key``, or of all flags, from the config ``now`` on."""
        stream = UserStream(self._clock, self._wall, request, sdk_id, key, user, now)
        self._open.add(stream)
        request.notifyFinish().addBoth(lambda _: self._closed(stream))
        stream.start()

    def config_applied(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Send what a config changes to the streams of its SDK."""
        for stream in self._open:
            if stream.sdk_id == sdk_id:
                stream.apply(snapshot)

    def close(self) -> None:
        """End all streams."""
        for stream in list(self._open):
            stream.finish()

    def _closed(self, stream: UserStream) -> None:
        stream.stop()
        self._open.discard(stream)


class UserStream(EventStream):
    """One stream; a client that does not read gets the difference to the newest config when it reads again."""

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], float],
        request: BoundedRequest,
        sdk_id: str,
        key: str | None,
        user: User | None,
        now: Snapshot,
    ) -> None:
        super().__init__(clock, request)
        self.sdk_id = sdk_id
        self._clock = clock
        self._wall = wall
        self._key = key
        self._user = user
        self._shown: Snapshot | None = None  # the config that the client has
        self._newest = now
        self._work: Deferred[None] | None = None
        self._ended = False

    def start(self) -> None:
        """Send the head and the values of the config in use."""
        self.begin()
        self._go_on()

    def apply(self, snapshot: Snapshot) -> None:
        """Send what a config changes, as soon as earlier work is done."""
        self._newest = snapshot
        self._go_on()

    def stop(self) -> None:
        """Send nothing more: the connection is closed."""
        super().stop()
        self._ended = True
        if self._work is not None:
            self._work.cancel()

    def _go_on(self) -> None:
        if self.paused or self._ended or self._work is not None or self._shown is self._newest:
            return
        self._work = work = Deferred.fromCoroutine(self._send())
        work.addErrback(_failed).addBoth(self._done)

    def _done(self, _: object) -> None:
        self._work = None
        self._go_on()

    async def _send(self) -> None:
        before, after = self._shown, self._newest
        self._shown = after
        clock = self._clock
        if before is None:
            keys: Sequence[str] = after.keys if self._key is None else [self._key]
            values = await in_turns(clock, self._values(after, keys[:FLAGS]))
            self._send_event("opened", sdk=self.sdk_id, config=after.tag, flags=len(keys), values=values)
            return
        touched = (await in_slices(clock, difference_in_steps(before, after))).affected
        keys = [key for key in touched if self._key in {None, key}]
        changed = await in_turns(clock, self._changes(before, after, keys))
        for key, old, new in changed[:FLAGS]:
            self._send_event("changed", config=after.tag, key=key, before=old, after=new)
        self._send_event("config", config=after.tag, changed=len(changed))

    def _values(self, snapshot: Snapshot, keys: Sequence[str]) -> Generator[None, None, dict[str, SeenValue | None]]:
        found = {}
        for key in keys:
            found[key] = _seen(snapshot, key, self._user)
            yield
        return found

    def _changes(self, before: Snapshot, after: Snapshot, keys: Sequence[str]) -> Generator[None, None, list[Changed]]:
        found = []
        for key in keys:
            old, new = _seen(before, key, self._user), _seen(after, key, self._user)
            if _served(old) != _served(new):
                found.append((key, old, new))
            yield
        return found

    def _send_event(self, kind: str, **data: Any) -> None:
        if not self._ended:
            self.write(event_frame(kind, msgspec.json.encode({"at": iso(self._wall()), **data})))


def _seen(snapshot: Snapshot, key: str, user: User | None) -> SeenValue | None:
    """Return what a user gets; None for a flag that does not exist."""
    if key not in snapshot.flags:
        return None
    found = flags.explain(snapshot, key, user)
    return SeenValue(found.value, found.variation_id, found.decided_by, found.error)


def _served(seen: SeenValue | None) -> object:
    # The type, since true equals 1 in Python.
    return None if seen is None else (type(seen.value), seen.value, seen.variation_id, seen.error is None)


def _failed(failure: Any) -> None:
    if not failure.check(CancelledError):
        _log.failure("a test stream cannot be continued", failure=failure)
