"""Where events wait until a receiver has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred


class Spool(Protocol):
    """Durable and bounded; every Deferred errs when nothing was written."""

    def keep(self, events: Sequence[bytes]) -> Deferred[int]:
        """Write encoded events to disk; fires with how many older ones had to go for them."""
