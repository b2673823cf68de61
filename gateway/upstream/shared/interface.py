"""What a cache that several gateways share does: entries in one order, a lease for polling, a call for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from gateway.upstream.config_cache import Entry

LEASE_SECONDS: Final = 10.0  # after which another node polls in place of one that ended or lost the cache
PAUSE_SECONDS: Final = 1.0  # between two commands that try whether the cache answers again
CUT_SECONDS: Final = 2.0  # without the connection that reports changes, after which this node counts as cut off


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
    ``lag`` is the time since then in seconds, by the cache's own clock.  ``credit`` names who changed it, as the body
    of a hook call does; empty if that is unknown.
    """

    place: Place
    entry: Entry
    accepted: bool
    lag: float
    credit: str = ""


@frozen
class Reading:
    """What the cache holds for one SDK.

    ``place`` is None without an entry that can be used, for which ``damage`` may be the reason.
    ``found`` is None if the caller has this config, or a later one.
    ``poller`` is the node that polls, empty if none does; ``mine`` is true if that is this one.
    ``stale`` is true if another program has overwritten the config with one that was fetched earlier.
    ``ahead`` is by how many seconds the entry is dated in the future, 0 usually.
    ``doubt`` is true if another program has stored another config, so that the upstream decides which one is later.
    ``tags`` are those of the latest configs, oldest first, with ``found`` and if they were asked for.
    """

    place: Place | None
    found: Found | None = None
    damage: str = ""
    poller: str = ""
    mine: bool = False
    stale: bool = False
    ahead: float = 0.0
    doubt: bool = False
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


@frozen
class Meeting:
    """The reports of the nodes, by node, and the one that this node's name had before."""

    reports: Mapping[str, str]
    before: str


class Operations(Protocol):
    """Counts what was done; called in the reactor thread."""

    def __call__(self, operation: str, outcome: str) -> None:
        """Count one ``look``, ``put``, ``touch``, ``lease``, ``meet``, ``announce`` or ``mirror``.

        ``outcome`` is ``ok``, ``refused`` or ``failed``.
        """


class Meets(Protocol):
    """Nodes that report themselves to each other."""

    node: str  # the name of this node

    def meet(self, report: str, valid: float) -> Deferred[Meeting | Unavailable]:
        """Store the report of this node, and return those of all nodes; the Deferred never fails.

        An empty report takes this node out.  One that is older than ``valid`` seconds is dropped.
        """


class SharedCache(Protocol):
    """Configs by the official key.  Called in the reactor thread, which no method blocks; the Deferreds never fail."""

    node: str  # the name of this node

    def look(
        self, key: str, have: Place | None, *, lease: bool, max_bytes: int, tags: bool = False
    ) -> Deferred[Reading | Unavailable]:
        """Read an entry; with ``lease`` also take or renew the lease for polling, unless another node has it."""

    def put(
        self, key: str, base: Place | None, own: int, entry: Entry, tag: str, credit: str = ""
    ) -> Deferred[Stored | Refused | Unavailable]:
        """Store an entry if the cache is empty or still at ``base``; the version becomes higher than ``own``.

        ``credit`` is that of ``Found``.
        """

    def touch(self, key: str, etag: str) -> Deferred[Place | None]:
        """Date the entry now, if it still has this ETag, since a fetch has confirmed it."""

    def give_up_lease(self, key: str) -> Deferred[None]:
        """Let another node poll, if this one has the lease."""

    def announce(self, key: str) -> None:
        """Have the other nodes wait with a poll that is due: this one fetches for a caller, who may name an author."""

    def watch(
        self, key: str, changed: Callable[[], None], announced: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """Call ``changed`` in the reactor thread when the entry may be another one; return what ends that.

        It is also called after the connection was lost and is back.  ``announced`` is called for each ``announce``.
        """

    def cut_off(self) -> bool:
        """Return whether changes of other nodes have not been able to reach this one for some seconds."""

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""
