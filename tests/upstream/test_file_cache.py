"""The cache in a directory: atomic files of mode 0600, and every way in which a file or the directory can be wrong."""

from __future__ import annotations

import os
import stat

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.logger import LogLevel, globalLogPublisher

from gateway.upstream import file_cache
from gateway.upstream.config_cache import Entry, cache_key, pack
from gateway.upstream.file_cache import LEFT_BEHIND_SECONDS, FileCache

KEY = cache_key("sdk")
NOW = 2_000_000_000.0
ENTRY = Entry(1_000, 'W/"1"', b'{"f":{}}')
NEWER = Entry(2_000, 'W/"2"', b'{"f":{"a":1}}')


@pytest.fixture
def warned():
    """The texts of warnings."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [event["reason"] for event in events if event["log_level"] == LogLevel.warn]
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "configs"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def open_cache(folder):
    return FileCache(folder, maybeDeferred, lambda: NOW)


def result(deferred):
    results = []
    deferred.addCallback(results.append)
    return results[0]


def read(cache, limit=1_000):
    return result(cache.read(KEY, limit))


def write(cache, entry):
    return result(cache.write(KEY, entry))


def test_an_entry_that_was_written_is_read_by_the_next_process(folder):
    """Under the official key, in the official format, private, and without anything beside it."""
    cache = open_cache(folder)
    assert read(cache) is None
    assert write(cache, ENTRY)
    assert ENTRY == read(open_cache(folder))
    assert [KEY] == names(folder)
    assert pack(ENTRY) == (folder / KEY).read_bytes()
    assert 0o600 == stat.S_IMODE((folder / KEY).stat().st_mode)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert [] == cache.problems()


def test_an_older_fetch_does_not_replace_a_newer_entry(folder):
    """Two gateways with one directory, during a deployment: the config of the later fetch stays."""
    cache = open_cache(folder)
    write(cache, NEWER)
    assert write(cache, ENTRY)
    assert NEWER == read(cache)
    same_time = Entry(NEWER.fetched_at, "3", b'{"f":{"b":1}}')
    write(cache, same_time)
    assert same_time == read(cache)


def test_an_entry_of_the_future_is_replaced(folder):
    """It was written under a wrong clock, and would otherwise stay until that time."""
    cache = open_cache(folder)
    write(cache, Entry(int(NOW * 1000) + 1, "future", b"{}"))
    write(cache, ENTRY)
    assert ENTRY == read(cache)


def test_a_large_entry_is_compared_by_its_beginning(folder):
    """The body does not have to be read for that."""
    cache = open_cache(folder)
    write(cache, Entry(2_000, "2", b"x" * 100_000))
    write(cache, Entry(1_000, "1", b"y"))
    assert b"x" * 100_000 == read(cache, 100_000).body


@pytest.mark.parametrize("limit", [1_000, 1_000_000])
def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(folder, warned, limit):
    """The limit is that of an upstream's config JSON."""
    cache = open_cache(folder)
    write(cache, Entry(1, "e", b"x" * limit))
    assert limit == len(read(cache, limit).body)
    write(cache, Entry(2, "e", b"x" * (limit + 1)))
    assert read(cache, limit) is None
    assert ["the config JSON is larger than upstream.max_bytes"] == warned()


def test_a_huge_file_is_not_read_whole(folder, warned):
    """A sparse file of a terabyte is refused after the limit."""
    folder.mkdir(parents=True)
    with (folder / KEY).open("wb") as file:
        file.write(b"1\ne\n{")
        file.truncate(1 << 40)
    assert read(open_cache(folder)) is None
    assert ["the config JSON is larger than upstream.max_bytes"] == warned()


@pytest.mark.parametrize("length", range(len(pack(ENTRY)) - len(ENTRY.body) + 1))
def test_a_truncated_header_is_ignored_with_a_reason(folder, warned, length):
    """Whatever part of it is left; a truncated JSON is refused by the compiler."""
    folder.mkdir(parents=True)
    (folder / KEY).write_bytes(pack(ENTRY)[:length])
    assert read(open_cache(folder)) is None
    assert 1 == len(warned())


def test_a_symbolic_link_is_neither_read_nor_written_through(folder, warned, tmp_path):
    """Its target may be any file that the gateway's user can read; a write replaces the link."""
    folder.mkdir(parents=True)
    target = tmp_path / "elsewhere"
    target.write_bytes(pack(ENTRY))
    (folder / KEY).symlink_to(target)
    cache = open_cache(folder)
    assert read(cache) is None
    assert ["it is a symbolic link"] == warned()
    assert write(cache, NEWER)
    assert pack(ENTRY) == target.read_bytes()
    assert not (folder / KEY).is_symlink()
    assert NEWER == read(cache)


def test_a_link_to_the_directory_is_followed(folder, tmp_path):
    """Under systemd /var/lib/flaggateway is one."""
    (tmp_path / "private").mkdir()
    folder.parent.symlink_to(tmp_path / "private")
    cache = open_cache(folder)
    write(cache, ENTRY)
    assert ENTRY == read(cache)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_ignored(folder, warned, make):
    """A named pipe does not hang the thread, and a directory is no crash."""
    folder.mkdir(parents=True)
    make(folder / KEY)
    cache = open_cache(folder)
    assert read(cache) is None
    assert ["it is not a regular file"] == warned()
    if make is os.mkdir:
        assert not write(cache, ENTRY)
        assert "Is a directory" in cache.problems()[0]


def test_an_unreadable_file_is_ignored(folder, warned, monkeypatch):
    """With the reason of the system."""
    cache = open_cache(folder)
    write(cache, ENTRY)
    opened = os.open

    def refused(path, *more, **folders):
        if path == KEY:
            raise PermissionError(13, "Permission denied")
        return opened(path, *more, **folders)

    monkeypatch.setattr(file_cache.os, "open", refused)
    assert read(cache) is None
    assert ["it cannot be read: Permission denied"] == warned()


def test_a_path_below_a_file_is_a_problem_from_the_first_read_on(tmp_path, warned):
    """Nothing raises; the problem ends with a write that succeeds."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "configs"
    cache = open_cache(folder)
    assert read(cache) is None
    risk = "a restart while the upstream is down would serve an old config or none"
    assert [f"the config cache {folder} cannot be written: Not a directory; {risk}"] == cache.problems()
    assert [] == warned()
    assert not write(cache, ENTRY)
    assert 1 == len(cache.problems())
    (tmp_path / "file").unlink()
    assert write(cache, ENTRY)
    assert [] == cache.problems()


def test_a_full_disk_leaves_the_old_entry_and_nothing_else(folder, monkeypatch):
    """The temporary file is removed."""
    cache = open_cache(folder)
    write(cache, ENTRY)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_cache.os, "fsync", full)
    assert not write(cache, NEWER)
    assert "No space left on device" in cache.problems()[0]
    assert ENTRY == read(cache)
    assert [KEY] == names(folder)


def test_the_file_is_on_disk_before_it_is_renamed_and_the_directory_after(folder, monkeypatch):
    """A crash of the host leaves the old entry or the new one."""
    steps = []
    cache = open_cache(folder)
    write(cache, ENTRY)
    fsync, rename = os.fsync, os.rename

    def synced(descriptor):
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(*names, **folders):
        steps.append("rename")
        rename(*names, **folders)

    monkeypatch.setattr(file_cache.os, "fsync", synced)
    monkeypatch.setattr(file_cache.os, "rename", renamed)
    write(cache, NEWER)
    assert ["file", "rename", "directory"] == steps


def test_what_a_killed_gateway_left_is_removed_and_other_files_are_not(folder):
    """Only names of this cache's temporary files, and only those that no gateway can still be writing."""
    folder.mkdir(parents=True)
    old, fresh, foreign = f"{KEY}.{'0' * 16}.tmp", f"{KEY}.{'1' * 16}.tmp", "report.tmp"
    for name in (old, fresh, foreign):
        (folder / name).write_text("")
        os.utime(folder / name, (NOW, NOW - (0 if name == fresh else LEFT_BEHIND_SECONDS + 1)))
    read(open_cache(folder))
    assert sorted([fresh, foreign]) == names(folder)


def test_an_error_in_the_code_is_logged_and_changes_nothing(folder, logged_errors):
    """The caller gets no entry, or that nothing was written."""

    def broken(work):
        return maybeDeferred(lambda: 1 / 0)

    cache = FileCache(folder, broken, lambda: NOW)
    assert read(cache) is None
    assert write(cache, ENTRY) is False
    assert 2 == len(logged_errors.flush(ZeroDivisionError))
