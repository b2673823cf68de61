"""The size of the next batch, learned from refusals: few requests, and every event that can arrive does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.export.batch_limit import BatchLimit


def deliver(limit: BatchLimit, events: list[int], refuses, status: int) -> tuple[list[int], list[int], int]:
    """Send events, of as many bytes as their number; return those accepted, those set aside, and the requests."""
    left, accepted, aside, requests = list(events), [], [], 0
    while left:
        count, size = 1, left[0]
        while count < min(len(left), limit.events) and size + left[count] <= limit.size:
            size += left[count]
            count += 1
        batch, requests = left[:count], requests + 1
        if not refuses(batch):
            limit.accepted(count, size)
            accepted += batch
            del left[:count]
            continue
        limit.refused(status, count, size)
        if count == 1:
            aside += batch
            del left[0]
    return accepted, aside, requests


@given(st.lists(st.integers(0, 300), max_size=5), st.sampled_from([400, 422]))
def test_events_with_bad_content_are_found_by_halving(bad: list[int], status: int) -> None:
    """Some twenty requests for each of them; all others arrive in order."""
    events = list(range(1, 300))
    accepted, aside, requests = deliver(
        BatchLimit(1000, 10**9), events, lambda batch: not set(bad).isdisjoint(batch), status
    )
    wrong = set(bad) & set(events)
    assert sorted(wrong) == aside
    assert [event for event in events if event not in wrong] == accepted
    assert requests <= 1 + 20 * len(wrong)


@given(st.integers(50, 5000))
def test_a_receiver_with_a_smaller_limit_refuses_few_batches(largest: int) -> None:
    """The size comes close to what it accepts; an event that is larger is set aside."""
    events = [40, largest + 1, *[40] * 2000]
    limit = BatchLimit(10**9, 8000)
    accepted, aside, requests = deliver(limit, events, lambda batch: sum(batch) > largest, 413)
    assert ([largest + 1], 2001) == (aside, len(accepted))
    needed = 2000 / (min(largest, 8000) // 40)
    assert requests <= 20 + 2.5 * needed


def test_a_small_batch_does_not_raise_the_limit() -> None:
    """It does not show that the receiver accepts a larger one."""
    limit = BatchLimit(10, 1000)
    limit.refused(413, 5, 800)
    limit.accepted(1, 100)
    assert 400 == limit.size
    limit.accepted(4, 390)
    assert 426 == limit.size
