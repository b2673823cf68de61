"""What an SDK asks of the place its config JSON comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from gateway.upstream.outcome import Outcome

if TYPE_CHECKING:
    from random import Random

Wake = Callable[[], None]
InThread = Callable[[Callable[[], Outcome]], Deferred[Outcome]]


@frozen
class Tools:
    """What sources need from outside.

    ``clock`` provides IReactorTime (a source with sockets or inotify needs the whole reactor).
    ``in_thread`` runs a blocking read and gives its result in the reactor thread.
    """

    clock: Any
    rng: Random
    in_thread: InThread


class Source(Protocol):
    """One place, in the reactor thread.  Its SDK never has two fetches under way, and calls ``start`` once, first."""

    remote: bool  # an upstream that sends bodies, rather than a file that is looked at
    place: str  # for logs: a host or a file name, never a URL
    fetched: str  # status records of the four ways a fetch can end
    not_modified: str
    unreadable: str
    unparsable: str

    def start(self, wake: Wake) -> None:
        """Begin to call *wake* whenever a fetch is due; the first fetch is the caller's own affair."""

    def stop(self) -> Deferred[None]:
        """End everything: never calls wake again; fires when descriptors and connections are closed."""

    async def fetch(self) -> Outcome:
        """Ask once; ends within a bound, raises nothing but on cancellation."""

    def settled(self, outcome: Outcome) -> None:
        """Told after each fetch what became of it (a body that is no config counts as ``Failed``)."""
