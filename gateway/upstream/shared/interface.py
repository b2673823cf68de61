"""What a cache that several gateways share does: entries in one order, a lease for polling, a call for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from gateway.upstream.config_cache import Entry


@frozen
class Place:
    """Where a config stands in the order of the cache: of two, the one with the higher version is the later one.

    ``fetched_at`` is in milliseconds since 1970 and is never later than the cache's own clock.
    """

    version: int
    etag: str
    fetched_at: int


@frozen
class Found:
    """A config of the cache.

    ``accepted`` is true if a gateway has stored it, whose guard has checked it, and false if another program has.
    ``lag`` is the time since then in seconds, by the cache's own clock.
    """

    place: Place
    entry: Entry
    accepted: bool
    lag: float


@frozen
class Reading:
    """What the cache holds for one SDK.

    ``place`` is None without an entry that can be used, for which ``damage`` may be the reason.
    ``found`` is None if the caller has this config, or a later one.
    ``poller`` is the node that polls, empty if none does; ``mine`` is true if that is this one.
    ``stale`` is true if another program has overwritten the config with one that was fetched earlier.
    ``ahead`` is by how many seconds the entry is dated in the future, 0 usually.
    ``tags`` are those of the latest configs, oldest first, if they were asked for.
    """

    place: Place | None
    found: Found | None = None
    damage: str = ""
    poller: str = ""
    mine: bool = False
    stale: bool = False
    ahead: float = 0.0
    tags: Sequence[str] = ()


@frozen
class Unavailable:
    """The cache did not do it; ``reason`` is a few words without a secret.

    ``refused`` is true if it has answered, so that other commands may succeed.
    """

    reason: str
    refused: bool = False


@frozen
class Stored:
    """The config is stored at ``place``."""

    place: Place


@frozen
class Refused:
    """The config was not stored: another node has stored one since the caller read the cache."""


class SharedCache(Protocol):
    """Configs by the official key.  Called in the reactor thread, which no method blocks; the Deferreds never fail."""

    node: str  # the name of this node

    def look(
        self, key: str, have: Place | None, *, lease: bool, max_bytes: int, tags: bool = False
    ) -> Deferred[Reading | Unavailable]:
        """Read an entry; with ``lease`` also take or renew the lease for polling, unless another node has it."""

    def put(
        self, key: str, base: Place | None, own: int, entry: Entry, tag: str
    ) -> Deferred[Stored | Refused | Unavailable]:
        """Store an entry if the cache is empty or still at ``base``; the version becomes higher than ``own``."""

    def touch(self, key: str, etag: str) -> Deferred[Place | None]:
        """Date the entry now, if it still has this ETag, since a fetch has confirmed it."""

    def give_up_lease(self, key: str) -> Deferred[None]:
        """Let another node poll, if this one has the lease."""

    def watch(self, key: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` in the reactor thread when the entry may be another one; return what ends that.

        It is also called after the connection was lost and is back.
        """

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""
