"""Where evaluation events go when they have reached the process that keeps them: a spool, or a file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from gateway.export import Parcel

DISK_FAULTS: Final = (sqlite3.Error, OSError)  # full, locked, read-only, gone: tried again until it works


@frozen
class Trouble:
    """What goes wrong at the moment, and since when (seconds since 1970)."""

    text: str
    since: float


class Sink(Protocol):
    """Durable and bounded; all methods belong to the reactor thread, ``start`` first and once."""

    def start(self) -> None:
        """Begin to work."""

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """Put events on disk; fires with how many older ones went for them.

        Errs with one of ``DISK_FAULTS`` when nothing was written, so that the same may be written again.
        """

    def stop(self, *, last: bool) -> Deferred[None]:
        """End, within a few seconds; ``last`` says that no successor takes over, so that what waits should go now."""

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing gets any further at the moment; None while it does."""
