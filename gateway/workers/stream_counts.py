"""Counting the streams of a whole service for its caps, in each worker and in the leader.

A worker refuses by the sum of its own streams, exact, and those of the others as last told.
What the others have opened within ``REPORT_SECONDS`` and the way over two socket pairs is not in it: so caps may be
exceeded by the streams that open in that time on the other workers, and by none once arrivals pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.web.context import OpenStreams
from gateway.workers.protocol import Open, Others

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT_SECONDS = 0.05  # between a stream that opens or closes and the report of it; a burst is one report


class SharedStreams(OpenStreams):
    """A worker's ``OpenStreams``: ``total`` and ``by_address`` are those of the whole service, as far as known.

    ``changed`` is called at the first change after a report.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self._others = 0
        self._elsewhere: dict[str, int] = {}
        self._unreported: set[str] = set()
        self._reported = True

    @property
    def own(self) -> int:
        """How many streams this process has."""
        return self.total - self._others

    def opened(self, address: str) -> None:
        """Count a stream of ours."""
        super().opened(address)
        self._touch(address)

    def closed(self, address: str) -> None:
        """Stop counting a stream of ours."""
        super().closed(address)
        self._touch(address)

    def report(self) -> Open:
        """Return what changed since the last report."""
        addresses = {
            address: self.by_address.get(address, 0) - self._elsewhere.get(address, 0) for address in self._unreported
        }
        self._unreported.clear()
        self._reported = True
        return Open(self.own, addresses)

    def told(self, others: Others) -> None:
        """Take over what the other workers have: of the callers that are named, or, where it is ``fresh``, of all."""
        if others.fresh:
            others = replace(others, addresses=dict.fromkeys(self._elsewhere, 0) | others.addresses)
        self.total += others.total - self._others
        self._others = others.total
        for address, count in others.addresses.items():
            self._set(
                self.by_address, address, self.by_address.get(address, 0) - self._elsewhere.get(address, 0) + count
            )
            self._set(self._elsewhere, address, count)

    def _touch(self, address: str) -> None:
        self._unreported.add(address)
        if self._reported:
            self._reported = False
            self._changed()

    @staticmethod
    def _set(counts: dict[str, int], address: str, count: int) -> None:
        if count:
            counts[address] = count
        else:
            counts.pop(address, None)


class Census:
    """What the leader knows of every worker's streams, by worker: its reports, which come in order, and their sums."""

    def __init__(self) -> None:
        self._totals: dict[object, int] = {}
        self._addresses: dict[object, dict[str, int]] = {}
        self._sums: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many streams the service has."""
        return sum(self._totals.values())

    def take(self, worker: object, report: Open) -> None:
        """Take over a worker's report."""
        self._totals[worker] = report.total
        known = self._addresses.setdefault(worker, {})
        for address, count in report.addresses.items():
            self._move(address, count - known.pop(address, 0))
            if count:
                known[address] = count

    def forget(self, worker: object) -> list[str]:
        """A worker is gone; return the addresses whose count that changes."""
        self._totals.pop(worker, None)
        gone = self._addresses.pop(worker, {})
        for address, count in gone.items():
            self._move(address, -count)
        return list(gone)

    def others(self, worker: object, addresses: list[str] | None = None) -> Others:
        """Return what all but ``worker`` have; of those addresses, or, as a fresh start, of every one."""
        own = self._addresses.get(worker, {})
        asked = list(self._sums) if addresses is None else addresses
        counts = {address: self._sums.get(address, 0) - own.get(address, 0) for address in asked}
        return Others(self.total - self._totals.get(worker, 0), counts, addresses is None)

    def _move(self, address: str, by: int) -> None:
        count = self._sums.get(address, 0) + by
        if count:
            self._sums[address] = count
        else:
            self._sums.pop(address, None)
