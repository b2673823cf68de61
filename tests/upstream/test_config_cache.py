"""The official entry format of a config cache, each way an entry can be damaged, and when entries are written."""

from __future__ import annotations

from contextlib import suppress

import pytest
from configcatclient.configentry import ConfigEntry
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.upstream.config_cache import (
    HEADER_LIMIT,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STOP_SECONDS,
    DamagedEntry,
    Entry,
    KeptConfig,
    cache_key,
    pack,
    unpack,
)

TIMES = st.integers(0, 253_402_300_799_999)
ETAGS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), min_size=1)


@given(TIMES, ETAGS, st.binary(min_size=1))
def test_every_entry_survives_the_round_trip(at, etag, body):
    """Line feeds in the JSON included: only the first two separate."""
    entry = Entry(at, etag, body)
    assert entry == unpack(pack(entry))


@given(st.binary())
def test_any_bytes_are_an_entry_or_have_a_reason(data):
    """No other error is raised, and an entry is packed to an entry that is equal to it."""
    with suppress(DamagedEntry):
        entry = unpack(data)
        assert entry == unpack(pack(entry))


def test_the_key_is_the_official_one():
    """The vector was read from ConfigCat Proxy's Redis."""
    key = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
    assert "127138bb128840ac4d9830ffd78015b88ef6e5e5" == cache_key(key)


def test_the_bytes_are_the_official_ones():
    """ConfigCat's Python SDK reads them; it has no line feed at the end either."""
    data = pack(Entry(1795382244179, 'W/"a6a777c2"', b'{"p":{},"f":{}}'))
    assert b'1795382244179\nW/"a6a777c2"\n{"p":{},"f":{}}' == data
    official = ConfigEntry.create_from_string(data.decode())
    assert (1795382244.179, 'W/"a6a777c2"') == (official.fetch_time, official.etag)
    assert data.decode() == official.serialize()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "number of values is fewer than expected"),
        (b'1795382244179\nW/"a"', "number of values is fewer than expected"),
        (b'{"f":{}}', "number of values is fewer than expected"),
        (b"\na\n{}", "invalid fetch time"),
        (b"now\na\n{}", "invalid fetch time"),
        (b"1_000\na\n{}", "invalid fetch time"),
        (b" 1\na\n{}", "invalid fetch time"),
        (b"1.5\na\n{}", "invalid fetch time"),
        (b"9" * 30 + b"\na\n{}", "invalid fetch time"),
        (b"-62135596800000\na\n{}", "the fetch time is not between the years 1970 and 9999"),
        (b"253402300800000\na\n{}", "the fetch time is not between the years 1970 and 9999"),
        (b"1\n\n{}", "empty eTag value"),
        (b"1\na\r\n{}", "the eTag value contains control characters"),
        (b"1\na\x00b\n{}", "the eTag value contains control characters"),
        (b"1\n" + b"a" * HEADER_LIMIT + b"\n{}", "fetch time and eTag are longer than 16384 bytes"),
        (b"1\na\n", "empty config JSON"),
        (bytes(100) + b"\n\n", "invalid fetch time"),
    ],
)
def test_each_damage_has_its_reason(data, reason):
    """An entry of which only a part was written, of another program, or that would split a response head."""
    with pytest.raises(DamagedEntry, match=f"^{reason}$"):
        unpack(data)


class Memory:
    """A cache in memory that collects what it is given; ``hold`` leaves writes pending."""

    def __init__(self):
        self.entry = None
        self.writes = []
        self.ok = True
        self.hold = False
        self.pending = []

    def read(self, key, max_bytes):
        return succeed(self.entry)

    def write(self, key, entry):
        self.writes.append(entry)
        if self.hold:
            self.pending.append(Deferred())
            return self.pending[-1]
        return succeed(self.ok)

    def problems(self):
        return []


def kept():
    memory, clock = Memory(), Clock()
    return memory, clock, KeptConfig(memory, clock, "key")


def test_a_new_config_is_written_at_once_and_the_same_one_every_five_minutes():
    """Each poll confirms it, but a poll may be due every second, and a write is the whole entry and an fsync."""
    memory, _, config = kept()
    for second in range(int(REFRESH_SECONDS) + 1):
        config.confirm(b"red", "1", 1000.0 + second)
    assert [Entry(1_000_000, "1", b"red"), Entry(1_300_000, "1", b"red")] == memory.writes
    config.confirm(b"blue", "2", 1301.0)
    config.confirm(b"blue", "3", 1302.0)
    assert [b"blue", b"blue"] == [entry.body for entry in memory.writes[2:]]


def test_what_was_read_at_the_start_counts_as_written():
    """A restart whose fetch confirms the entry writes it only if its time is five minutes old."""
    memory, _, config = kept()
    memory.entry = Entry(1_000_000, "1", b"red")
    config.read(1000)
    config.confirm(b"red", "1", 1000.0 + REFRESH_SECONDS - 1)
    assert [] == memory.writes
    config.confirm(b"red", "1", 1000.0 + REFRESH_SECONDS)
    assert [1300_000] == [entry.fetched_at for entry in memory.writes]


def test_a_failed_write_is_tried_again_after_a_minute():
    """Not at each poll: a full disk would be tried every second."""
    memory, _, config = kept()
    memory.ok = False
    for second in range(int(RETRY_SECONDS) + 1):
        config.confirm(b"red", "1", 1000.0 + second)
    assert 2 == len(memory.writes)


def test_a_clock_that_was_set_back_does_not_stop_the_writes():
    """The next confirmation writes, whatever the time is now."""
    memory, _, config = kept()
    config.confirm(b"red", "1", 5000.0)
    config.confirm(b"red", "1", 1000.0)
    assert [5_000_000, 1_000_000] == [entry.fetched_at for entry in memory.writes]


def test_one_write_runs_and_the_newest_config_waits():
    """A disk slower than the changes writes the last one, and skips those between."""
    memory, _, config = kept()
    memory.hold = True
    for number in range(5):
        config.confirm(b"%d" % number, "e", 1000.0 + number)
    assert [b"0"] == [entry.body for entry in memory.writes]
    memory.pending[0].callback(True)
    assert [b"0", b"4"] == [entry.body for entry in memory.writes]


def test_a_stop_waits_for_the_write_but_not_for_ever():
    """A disk that hangs delays the end of the process by two seconds."""
    memory, clock, config = kept()
    assert config.stop().called
    memory.hold = True
    config.confirm(b"red", "1", 1000.0)
    stopped = config.stop()
    assert not stopped.called
    memory.pending[0].callback(True)
    assert stopped.called
    config.confirm(b"blue", "1", 1000.0)
    stopped = config.stop()
    clock.advance(STOP_SECONDS)
    assert stopped.called
