"""The place that an SDK's config JSON comes from, as ``Sdk`` uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen
from twisted.internet.defer import Deferred

from gateway.upstream.outcome import Outcome

if TYPE_CHECKING:
    from random import Random

    from gateway.http_client import Reactor
    from gateway.upstream.config_cache import Entry

Wake = Callable[[], None]
Confirm = Callable[[], None]
Requested = Callable[[str, int | None, float], None]
InThread = Callable[[Callable[[], Outcome]], Deferred[Outcome]]


@frozen
class SourceContext:
    """What every source gets.

    ``in_thread`` runs a blocking read and returns its result in the reactor thread.
    ``requested`` is called with an SDK id, the status of an answer or None, and the seconds until it came.
    """

    reactor: Reactor
    rng: Random
    in_thread: InThread
    requested: Requested


class Source(Protocol):
    """One place, in the reactor thread.  Its SDK calls ``start`` first and once, and runs one fetch at a time."""

    remote: bool  # an upstream that sends bodies, rather than a file
    place: str  # for logs and the status page: host and port of the latest request, or a file name; never a URL
    fetched: str  # status records of the four ways a fetch can end
    not_modified: str
    unreadable: str
    unparsable: str

    def start(self, wake: Wake, confirm: Confirm) -> None:
        """Call ``wake`` from now on whenever a fetch is due; the SDK makes the first fetch without it.

        Call ``confirm`` whenever the config of the last fetch is known to be current without another fetch.
        """

    def stop(self) -> Deferred[None]:
        """Never call ``wake`` or ``confirm`` again; fires when descriptors and connections are closed."""

    async def fetch(self) -> Outcome:
        """Fetch once, within a bounded time; raises only when cancelled."""

    def settled(self, outcome: Outcome) -> None:
        """Plan the next fetch; called after each fetch, with ``Failed`` for a body that is no config."""


@runtime_checkable
class ConditionalSource(Source, Protocol):
    """A source whose fetches say which config is there already."""

    def adopt(self, etag: str) -> None:
        """Make the next fetch conditional on the config of this ETag, which the SDK has from elsewhere."""


@runtime_checkable
class SharingSource(Source, Protocol):
    """A source that several gateways have in common: what one of them stores, the others deliver."""

    def cached(self) -> Deferred[Entry | None]:
        """Return the config to serve before the first fetch; the Deferred never fails."""

    def demand(self, *, credited: bool) -> None:
        """Have the next fetch return what the upstream has now; ``credited`` if its caller may name an author."""

    def cut_off(self) -> bool:
        """Return whether changes that other nodes have stored cannot reach this one."""

    async def share(self, body: bytes, etag: str, tag: str, began: float) -> bool:
        """Store a config that is about to be published, or that a fetch has confirmed, for the others.

        Return false if another node has stored a config meanwhile: the caller fetches again and publishes the result.
        Takes two seconds at most, since a cache that fails must not hold the config up.  ``began`` is when the fetch
        began, in Unix seconds.
        """
