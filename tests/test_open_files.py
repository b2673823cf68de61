"""Room for clients: counted exactly near the limit of open files, and rarely far from it."""

import os

import pytest

from gateway import open_files
from gateway.open_files import HANDOVER_RESERVE, STREAM_RESERVE, Room


@pytest.fixture
def files(monkeypatch):
    """A process whose open files the test counts; ``counts`` is how often the gateway did."""

    class Files:
        opened, limit, counts = 30, 256, 0

        def left(self, reserve=0):
            self.counts += 1
            return self.limit - reserve - self.opened

    found = Files()
    monkeypatch.setattr(open_files, "files_left", found.left)
    return found


def test_clients_are_accepted_up_to_the_reserve_exactly(files):
    """Each accepted client opens a file."""
    room = Room(STREAM_RESERVE)
    while room():
        files.opened += 1
    assert files.limit - STREAM_RESERVE == files.opened
    files.opened -= 1
    assert room()


def test_a_worker_hands_over_before_streams_are_refused(monkeypatch):
    """At any limit; and with twice as many files left it takes its connections back."""
    monkeypatch.setattr(open_files, "_open_files", lambda **_: 0)
    kept = {}
    for limit in (128, 1_024, 20_000, 1_048_576):
        monkeypatch.setattr(open_files.resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        kept[limit] = [limit - open_files.files_left(reserve) for reserve in (HANDOVER_RESERVE, STREAM_RESERVE)]
        kept[limit].append(limit - open_files.files_left(HANDOVER_RESERVE, 2))
    assert {
        128: [40, 32, 80],
        1_024: [128, 64, 256],
        20_000: [1_314, 64, 2_628],
        1_048_576: [16_448, 64, 32_896],
    } == kept


def test_a_file_that_was_closed_counts_as_one():
    """The system gives its number to the next file, which is not the number of open files."""
    before = open_files.files_left(exact=True)
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    os.close(opened[0])
    left = open_files.files_left(exact=True)
    for each in opened[1:]:
        os.close(each)
    assert (99, before) == (before - left, open_files.files_left(exact=True))


def test_files_are_rarely_counted_far_from_the_limit(files):
    """A count costs as much as a tenth of an opened stream."""
    files.limit = 100_000
    room = Room(STREAM_RESERVE)
    for _ in range(20_000):
        assert room()
        files.opened += 1
    assert 1 == files.counts


def test_other_files_are_noticed(files):
    """Those that the process opens for itself meanwhile count at the next count."""
    files.limit = 1_000
    room = Room(STREAM_RESERVE)
    assert room()
    files.opened = 990
    accepted = 0
    while room():
        accepted += 1
    assert accepted < 1_000 // 4
