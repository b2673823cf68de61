"""Files of events: whole lines, rotation, full disks, and lines that a crash cut short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted

from gateway.export import Parcel, file_sink
from gateway.export.file_sink import FileSink, append, check_file
from gateway.settings import Exporter
from gateway.storage import LockTaken
from outbox_memory import ExportCounts

BIG = 10**6


def lines(path: Path) -> list[str]:
    """The lines of a file, without their ends."""
    return path.read_text().splitlines()


def test_lines_are_appended_and_only_owner_and_group_have_access(tmp_path: Path) -> None:
    """Events contain users."""
    path = tmp_path / "events.jsonl"
    before = os.umask(0o022)
    try:
        append(path, b"1\n2\n", BIG, 5)
        append(path, b"3\n", BIG, 5)
    finally:
        os.umask(before)
    assert ["1", "2", "3"] == lines(path)
    assert 0o640 == path.stat().st_mode & 0o777


def test_a_file_that_would_grow_too_large_is_rotated(tmp_path: Path) -> None:
    """``keep`` rotated files remain, the newest with the smallest number."""
    path = tmp_path / "events.jsonl"
    for number in range(6):
        append(path, b"%d\n" % number * 4, 10, 2)
    assert [["5"] * 4, ["4"] * 4, ["3"] * 4] == [
        lines(path), lines(tmp_path / "events.jsonl.1"), lines(tmp_path / "events.jsonl.2"),
    ]  # fmt: skip
    assert 3 == len(list(tmp_path.iterdir()))


def test_with_none_to_keep_the_file_is_replaced(tmp_path: Path) -> None:
    """There is never a second file."""
    path = tmp_path / "events.jsonl"
    for number in range(3):
        append(path, b"%d\n" % number * 4, 10, 0)
    assert [path] == list(tmp_path.iterdir())
    assert ["2"] * 4 == lines(path)


def test_a_write_larger_than_the_limit_is_one_file(tmp_path: Path) -> None:
    """One write is never split."""
    path = tmp_path / "events.jsonl"
    append(path, b"a\n" * 20, 10, 1)
    append(path, b"b\n" * 20, 10, 1)
    assert (["b"] * 20, ["a"] * 20) == (lines(path), lines(tmp_path / "events.jsonl.1"))


@pytest.mark.parametrize("torn", [b'{"kind":', b"x" * 200_000, b""])
def test_half_a_line_that_a_crash_left_is_removed(tmp_path: Path, torn: bytes) -> None:
    """No line ever contains two events."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n" + torn)
    append(path, b"2\n", BIG, 5)
    assert ["1", "2"] == lines(path)


def test_a_file_of_half_a_line_is_emptied_first(tmp_path: Path) -> None:
    """The first write ever was cut short."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{")
    append(path, b"2\n", BIG, 5)
    assert ["2"] == lines(path)


def test_what_a_full_disk_cut_short_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lines can then be written again, once."""
    path = tmp_path / "events.jsonl"
    append(path, b"1\n", BIG, 5)
    real = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 3:
            return real(file, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file_sink.os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            append(path, b"22\n33\n", BIG, 5)
    assert ["1"] == lines(path)
    append(path, b"22\n33\n", BIG, 5)
    assert ["1", "22", "33"] == lines(path)


LIMITED = """
import resource, sys
from pathlib import Path
from gateway.export.file_sink import append
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    append(Path(sys.argv[1]), b"22222222\\n33333333\\n", 10**6, 5)
except OSError as error:
    print(error.strerror)
"""


def test_what_the_system_cut_short_is_removed(tmp_path: Path) -> None:
    """The same with a real partial write."""
    path = tmp_path / "events.jsonl"
    append(path, b"1\n", BIG, 5)
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ("File too large", "") == (ended.stdout.strip(), ended.stderr)
    assert ["1"] == lines(path)


def test_a_file_that_was_moved_away_is_created_again(tmp_path: Path) -> None:
    """As logrotate does, without a signal."""
    path = tmp_path / "events.jsonl"
    append(path, b"1\n", BIG, 5)
    path.rename(tmp_path / "moved")
    append(path, b"2\n", BIG, 5)
    assert (["1"], ["2"]) == (lines(tmp_path / "moved"), lines(path))


@pytest_twisted.ensureDeferred
async def test_events_are_on_disk_when_write_fires_and_counts_once_their_minute_is_over(tmp_path: Path) -> None:
    """Each count is one line; stopping writes the current minute."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    path, now = tmp_path / "events.jsonl", [125.0]
    metrics = ExportCounts()
    file = FileSink(reactor, lambda: now[0], Exporter(kind="file", path=str(path)), metrics)
    file.start()
    counts = [(120, b'"key":"on"}', 2)]
    assert 0 == await file.write([Parcel(b'{"n":1}\n{"n":2}', 2, counts), Parcel(b'{"n":3}', 1, counts)])
    assert [1, 2, 3] == [json.loads(line)["n"] for line in lines(path)]
    now[0] = 180.0
    await file.write([Parcel(counts=[(180, b'"key":"on"}', 1)])])
    assert (120, 4) == tuple(json.loads(lines(path)[3])[name] for name in ("creationDate", "count"))
    await file.stop(last=True)
    assert (180, 1) == tuple(json.loads(lines(path)[4])[name] for name in ("creationDate", "count"))
    assert 5 == metrics.sum("exported")


@pytest_twisted.ensureDeferred
async def test_counts_of_a_write_that_failed_are_not_counted_twice(tmp_path: Path) -> None:
    """The pipeline writes the same parcels again."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    path = tmp_path / "folder" / "events.jsonl"
    file = FileSink(reactor, lambda: 200.0, Exporter(kind="file", path=str(path)), ExportCounts())
    file.start()
    parcels = [Parcel(b"{}", 1, [(120, b'"key":"on"}', 2)])]
    with pytest.raises(FileNotFoundError):
        await file.write(parcels)
    path.parent.mkdir()
    await file.write(parcels)
    await file.stop(last=True)
    assert [1, 2] == [json.loads(line).get("count", 1) for line in lines(path)]


@pytest_twisted.ensureDeferred
async def test_another_gateway_cannot_write_to_the_file_until_the_first_stops(tmp_path: Path) -> None:
    """The later one writes nothing, reports the reason, and continues when the first has ended."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    settings = Exporter(kind="file", path=str(tmp_path / "events.jsonl"))
    first, second = (FileSink(reactor, lambda: 200.0, settings, ExportCounts()) for _ in range(2))
    first.start()
    second.start()
    await first.write([Parcel(b'"first"', 1)])
    with pytest.raises(OSError, match="in use by another gateway"):
        await second.write([Parcel(b'"second"', 1)])
    check_file(settings.path, ours=True)
    with pytest.raises(LockTaken):
        check_file(settings.path, ours=False)
    await first.stop(last=True)
    await second.write([Parcel(b'"second"', 1)])
    await second.stop(last=True)
    assert ['"first"', '"second"'] == lines(tmp_path / "events.jsonl")
    check_file(settings.path, ours=False)
