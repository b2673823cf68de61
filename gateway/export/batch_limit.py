"""How large the next batch may be, learned from what the receiver refuses for good; pure."""

from __future__ import annotations

from typing import Final

from attrs import define, field

TOO_LARGE: Final = 413
REFUSALS: Final = frozenset({400, TOO_LARGE, 422})
"""Statuses by which a receiver refuses the content of a batch, so that the same bytes would be refused again.

Other 4xx statuses are about how the receiver is called (address, credentials), which an operator must change.
"""
GROWTH: Final = 16  # an accepted batch raises the limit by this part of it, so one batch in twelve is refused at most


@define
class BatchLimit:
    """The largest batch, in events and in bytes of its body, of a receiver that is given smaller ones if it refuses.

    413 is about the size: the limit is halved, and grows again slowly.  Any other refusal is about the content of some
    event: the refused batch is halved until that event is alone.
    """

    max_events: int
    max_bytes: int
    size: int = field(init=False)  # bytes
    _suspects: int = field(default=0, init=False)  # so many of the oldest events contain one that is refused

    @size.default
    def _default(self) -> int:
        return self.max_bytes

    @property
    def events(self) -> int:
        """The largest number of events."""
        return min(self.max_events, max(self._suspects // 2, 1)) if self._suspects else self.max_events

    def accepted(self, events: int, size: int) -> None:
        """Note that the receiver accepted a batch."""
        self._suspects = max(self._suspects - events, 0)
        if size > self.size // 2:  # a smaller one shows nothing
            self.size = min(self.size + self.size // GROWTH + 1, self.max_bytes)

    def refused(self, status: int, events: int, size: int) -> None:
        """Note that the receiver refused a batch with one of ``REFUSALS``; a single event is not sent again."""
        if events == 1:
            self._suspects = 0
        elif status == TOO_LARGE:
            self.size = max(min(self.size, size) // 2, 1)
        else:
            self._suspects = events
