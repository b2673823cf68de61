"""The number of streams of all workers together, for the caps: counted in each worker and in the leader.

    worker ── OwnStreams ──► ServiceStreams (leader) ── OtherStreams ──► the other workers

A worker refuses streams by the sum of its own, which is exact, and those of the others as last reported.
The caps can therefore be exceeded by the streams that other workers open within ``REPORT_SECONDS`` and the time of two
messages; once no streams are opened for that long, the counts are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.web import OpenStreams
from gateway.workers.protocol import OtherStreams, OwnStreams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPORT_SECONDS = 0.05  # from the first change to its report, so that a burst is one report


class WorkerStreams(OpenStreams):
    """The ``OpenStreams`` of a worker: ``total`` and ``by_address`` include the streams of the other workers.

    ``on_change`` is called at the first change after a report.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change
        self._others_total = 0
        self._others: dict[str, int] = {}  # by client address
        self._unreported: set[str] = set()
        self._reported = True

    @property
    def own(self) -> int:
        """The number of streams of this process."""
        return self.total - self._others_total

    def opened(self, address: str) -> None:
        """Count a stream of this process."""
        super().opened(address)
        self._changed(address)

    def closed(self, address: str) -> None:
        """Stop counting a stream of this process."""
        super().closed(address)
        self._changed(address)

    def report(self) -> OwnStreams:
        """Return what has changed since the last report."""
        addresses = {
            address: self.by_address.get(address, 0) - self._others.get(address, 0) for address in self._unreported
        }
        self._unreported.clear()
        self._reported = True
        return OwnStreams(self.own, addresses)

    def set_others(self, others: OtherStreams) -> None:
        """Take over the counts of the other workers."""
        if others.complete:
            others = replace(others, addresses=dict.fromkeys(self._others, 0) | others.addresses)
        self.total += others.total - self._others_total
        self._others_total = others.total
        for address, count in others.addresses.items():
            _add(self.by_address, address, count - self._others.get(address, 0))
            _add(self._others, address, count - self._others.get(address, 0))

    def _changed(self, address: str) -> None:
        self._unreported.add(address)
        if self._reported:
            self._reported = False
            self._on_change()


class ServiceStreams:
    """The leader's counts of every worker's streams, and their sums."""

    def __init__(self) -> None:
        self._totals: dict[object, int] = {}
        self._addresses: dict[object, dict[str, int]] = {}
        self._sums: dict[str, int] = {}

    @property
    def total(self) -> int:
        """The number of streams of all workers."""
        return sum(self._totals.values())

    def of(self, worker: object) -> int:
        """Return the number of a worker's streams."""
        return self._totals.get(worker, 0)

    def update(self, worker: object, report: OwnStreams) -> None:
        """Take over a worker's report."""
        self._totals[worker] = report.total
        known = self._addresses.setdefault(worker, {})
        for address, count in report.addresses.items():
            _add(self._sums, address, count - known.pop(address, 0))
            if count:
                known[address] = count

    def remove(self, worker: object) -> list[str]:
        """Forget a worker that has ended; return the addresses whose count changes."""
        self._totals.pop(worker, None)
        removed = self._addresses.pop(worker, {})
        for address, count in removed.items():
            _add(self._sums, address, -count)
        return list(removed)

    def others(self, worker: object, addresses: Iterable[str] | None = None) -> OtherStreams:
        """Return the counts of all workers but ``worker``: of ``addresses``, or of all addresses if it is None."""
        own = self._addresses.get(worker, {})
        wanted = list(self._sums) if addresses is None else addresses
        counts = {address: self._sums.get(address, 0) - own.get(address, 0) for address in wanted}
        return OtherStreams(self.total - self._totals.get(worker, 0), counts, complete=addresses is None)


def _add(counts: dict[str, int], address: str, change: int) -> None:
    count = counts.get(address, 0) + change
    if count:
        counts[address] = count
    else:
        counts.pop(address, None)
