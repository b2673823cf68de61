"""Stream counts for the caps: every worker has the sums over all workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.web import OpenStreams
from gateway.workers.stream_counts import ServiceStreams, WorkerStreams

ADDRESSES = ("a", "b")


class Service:
    """The counts of three workers and of the leader; ``settle`` delivers the reports."""

    def __init__(self) -> None:
        self.due: set[int] = set()
        self.workers = [WorkerStreams(lambda number=number: self.due.add(number)) for number in range(3)]
        self.leader = ServiceStreams()

    def settle(self) -> None:
        """Deliver every report that is due, and the leader's messages that follow from it."""
        while self.due:
            number = self.due.pop()
            report = self.workers[number].report()
            self.leader.update(number, report)
            for other, streams in enumerate(self.workers):
                if other != number:
                    streams.set_others(self.leader.others(other, list(report.addresses)))

    def replace(self, number: int) -> None:
        """End a worker and start its replacement."""
        self.due.discard(number)
        removed = self.leader.remove(number)
        self.workers[number] = WorkerStreams(lambda: self.due.add(number))
        for other, streams in enumerate(self.workers):
            streams.set_others(self.leader.others(other, None if other == number else removed))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 2), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("close"), st.integers(0, 2), st.sampled_from(ADDRESSES)),
        st.tuples(st.just("settle"), st.just(0), st.just("")),
        st.tuples(st.just("replace"), st.integers(0, 2), st.just("")),
        st.tuples(st.just("resend"), st.integers(0, 2), st.just("")),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_worker_has_the_counts_of_all_once_reports_have_arrived(steps: list[tuple[str, int, str]]) -> None:
    """Whatever was opened, closed or ended; the count of its own streams is always exact."""
    service = Service()
    own = [OpenStreams() for _ in range(3)]
    for what, number, address in steps:
        if what == "open":
            own[number].opened(address)
            service.workers[number].opened(address)
        elif what == "close" and own[number].by_address.get(address):
            own[number].closed(address)
            service.workers[number].closed(address)
        elif what == "settle":
            service.settle()
        elif what == "resend":
            service.settle()
            service.workers[number].set_others(service.leader.others(number))
        elif what == "replace":
            own[number] = OpenStreams()
            service.replace(number)
        assert [each.total for each in own] == [each.own for each in service.workers]
    service.settle()
    total = sum(each.total for each in own)
    sums = {address: sum(each.by_address.get(address, 0) for each in own) for address in ADDRESSES}
    expected = {address: count for address, count in sums.items() if count}
    assert total == service.leader.total
    assert [(total, expected)] * 3 == [(each.total, each.by_address) for each in service.workers]


def test_a_burst_of_streams_is_one_report() -> None:
    """Streams that open together are reported once; a change after the report is reported again."""
    due: list[None] = []
    streams = WorkerStreams(lambda: due.append(None))
    for _ in range(5):
        streams.opened("a")
    assert 1 == len(due)
    report = streams.report()
    assert (5, {"a": 5}) == (report.total, report.addresses)
    streams.closed("a")
    assert 2 == len(due)
    assert {"a": 4} == streams.report().addresses
