"""Cohorts and their members: equal users who watch the same thing share one state and one encoded frame.

Rule 1: equality of users is on their full attributes (``gateway.flags.User``), never on a hash alone.
Rule 2: a member never holds a queue. A paused member holds the digest of what it was sent, nothing else;
when it resumes it gets one frame with what is current, if that differs (latest wins).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from gateway.flags import User
    from gateway.streams.hub import Hub
    from gateway.streams.modes import Mode

NEVER_SENT = ""


class Outlet(Protocol):
    """One connection, as the hub sees it.

    The implementation never blocks and never raises: a connection that is gone swallows what it is given until
    ``Subscriber.close`` is called.
    """

    def write(self, data: bytes) -> None:
        """Send ``data``; calls ``Subscriber.pause`` itself when the transport is full."""

    def finish(self) -> None:
        """End the response in an orderly way, so that the client comes back after its ``retry``."""

    def abort(self) -> None:
        """Drop the connection with whatever is still unsent."""


class Cohort:
    """The members that are shown the same in the same way: one flag (or all), one user, one mode."""

    __slots__ = ("key", "members", "seen", "user")
    mode: ClassVar[Mode] = "plain"  # a class per mode: thousands of cohorts need no slot for it

    def __init__(self, key: str | None, user: User | None) -> None:
        self.key = key
        self.user = user
        self.seen = NEVER_SENT
        self.members: list[Subscriber] = []

    def place(self) -> object:
        """Return what this cohort is found by, among those of its key."""
        return self.user if self.mode == "plain" else (self.mode, self.user)


class DeltaCohort(Cohort):
    """Members that are sent patches."""

    __slots__ = ()
    mode = "delta"


class OfrepCohort(Cohort):
    """Members that are told to ask again."""

    __slots__ = ()
    mode = "ofrep"


COHORTS: dict[Mode, type[Cohort]] = {kind.mode: kind for kind in (Cohort, DeltaCohort, OfrepCohort)}


class Subscriber:
    """One open stream. The skin tells it when the transport pauses, resumes and goes away."""

    __slots__ = ("_cohort", "_hub", "_open", "active", "outlet", "paused_since", "sent", "slot")

    def __init__(self, hub: Hub, cohort: Cohort, outlet: Outlet) -> None:
        self._hub = hub
        self._cohort = cohort
        self._open = True
        self.outlet = outlet
        self.sent = NEVER_SENT
        self.active = True
        self.paused_since: float | None = None
        self.slot = 0  # kept for the wheel

    @property
    def cohort(self) -> Cohort:
        """The cohort this stream belongs to, for as long as it is open."""
        return self._cohort

    @property
    def is_open(self) -> bool:
        """Whether ``close`` has not been called yet."""
        return self._open

    def write(self, data: bytes) -> None:
        """Send ``data`` now; the next heartbeat is skipped, because this shows that the stream is alive."""
        self.active = True
        self.outlet.write(data)

    def pause(self) -> None:
        """Stop writing: the transport is full."""
        if self.paused_since is None:
            self.paused_since = self._hub.now()
            if self._open and self._cohort.mode == "delta":
                self._hub.hold(self)

    def resume(self) -> None:
        """Write again; what changed meanwhile is sent as one frame, at once."""
        if self.paused_since is not None:
            if self._open:
                self._hub.catch_up(self)
            else:
                self.paused_since = None

    def close(self) -> None:
        """Forget this stream; safe to call twice."""
        if self._open:
            self._open = False
            self._hub.leave(self)
