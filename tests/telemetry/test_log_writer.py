"""The log writer: callers never wait, nothing is lost below the bound, and what is lost is counted in its place."""

import contextlib
import errno
import fcntl
import gc
import os
import select
import threading

import pytest

from eventually import eventually
from gateway.telemetry import LogWriter
from gateway.telemetry.log_writer import CHUNK_BYTES, QUEUE_BYTES


@pytest.fixture
def pipe():
    """A pipe of one page, as (reading end, writing end)."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
    yield ends
    for end in ends:
        os.close(end)


def notice(count):
    return f"{count} dropped"


def started(descriptor, limit=QUEUE_BYTES):
    writer = LogWriter(notice, descriptor, limit)
    writer.start()
    return writer


def read_lines(descriptor, last):
    """Read until the line ``last``."""
    data = b""
    while not data.endswith(last + b"\n"):
        assert select.select([descriptor], [], [], 30)[0], data
        data += os.read(descriptor, 1 << 20)
    return data.splitlines()


def test_lines_arrive_whole_and_in_order(pipe):
    """Long lines, and characters without UTF-8, included."""
    writer = started(pipe[1])
    texts = [f"{number} {'x' * (number * 37 % 9000)}" for number in range(40)] + ["\ud800"]
    for text in texts:
        writer.put(text)
    assert [*(text.encode() for text in texts[:-1]), b"\\ud800"] == read_lines(pipe[0], b"\\ud800")
    assert writer.flush()
    assert 0 == writer.take_dropped()


def test_a_pipe_that_is_not_read_blocks_no_caller_and_the_gap_is_counted(pipe):
    """The oldest lines are kept, the number of the lost ones stands where they were."""
    os.set_blocking(pipe[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"full\n" * 1000)
    os.set_blocking(pipe[1], True)
    writer, writing, line = LogWriter(notice, pipe[1], limit=20_000), threading.Event(), "x" * 99
    writer.put("first")
    writer.call(writing.set)
    writer.start()
    assert writing.wait(30)  # the thread has taken the first line, and blocks
    for _ in range(1000):
        writer.put(line)
    assert (800, 0) == (writer.take_dropped(), writer.take_dropped())
    assert [line.encode()] * 200 + [b"800 dropped"] == read_lines(pipe[0], b"800 dropped")[-201:]
    writer.put("after")
    assert [b"after"] == read_lines(pipe[0], b"after")


def test_a_line_is_accepted_whatever_its_size_when_none_waits(pipe):
    """Otherwise it would be dropped although the log is read."""
    writer = LogWriter(notice, pipe[1], limit=10)
    writer.put("longer than ten")
    writer.put("second")
    writer.start()
    assert [b"longer than ten", b"1 dropped"] == read_lines(pipe[0], b"1 dropped")


def test_the_queue_is_bounded_before_the_start_too(pipe):
    """Nothing is written before the start, because the process may fork."""
    writer = LogWriter(notice, pipe[1])
    for _ in range(QUEUE_BYTES // 50):
        writer.put("x" * 99)
    assert not writer.flush()
    assert QUEUE_BYTES // 100 == pytest.approx(writer.take_dropped(), abs=2)


def test_a_full_disk_is_tried_again(monkeypatch, pipe):
    """Lines that fit the queue arrive once there is room, the rest of a half-written one included."""
    monkeypatch.setattr("gateway.telemetry.log_writer.RETRY_SECONDS", 0.01)
    outcomes = [OSError(errno.ENOSPC, "full")] * 5 + [3, OSError(errno.EIO, "broken"), BlockingIOError()]
    real = os.write

    def write(descriptor, data):
        outcome = outcomes.pop(0) if outcomes else len(data)
        if isinstance(outcome, OSError):
            raise outcome
        return real(descriptor, data[:outcome])

    monkeypatch.setattr("gateway.telemetry.log_writer.os.write", write)
    writer = started(pipe[1])
    writer.put("the line")
    assert [b"the line"] == read_lines(pipe[0], b"the line")
    assert [] == outcomes
    eventually(writer.flush)


def test_a_flush_gives_up_once(pipe):
    """So that the end of a process waits for an unread pipe a single time."""
    writer = started(pipe[1])
    for _ in range(200):
        writer.put("x" * 99)
    assert not writer.flush(0.01)
    assert not writer.flush(1e6)  # returns at once
    left = 200 * 100
    while left:  # so that its thread does not write to the pipe of a later test
        left -= len(os.read(pipe[0], 1 << 20))


def test_a_flush_does_not_wait_for_a_closed_pipe():
    """Nothing will ever read it."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = started(writing)
    writer.put("lost")
    assert not writer.flush(1e6)


def test_a_call_runs_while_writes_fail(tmp_path):
    """By which an operator gets from a full disk to a new file."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = started(descriptor)
    writer.put("kept")
    assert not writer.flush(1e6)
    new = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer.call(lambda: os.dup2(new, descriptor))
    eventually(lambda: (tmp_path / "log").read_text() == "kept\n")


def test_a_destructor_may_log_while_a_line_is_queued(monkeypatch, pipe):
    """The garbage collector runs it in the middle of whatever the thread does."""
    writer = LogWriter(notice, pipe[1])

    class Logging:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            writer.put("from the destructor")

    Logging()
    real = threading.Condition.notify_all

    def notify_all(condition):
        gc.collect()
        real(condition)

    monkeypatch.setattr(threading.Condition, "notify_all", notify_all)
    writer.put("outer")
    writer.start()
    assert [b"outer", b"from the destructor"] == read_lines(pipe[0], b"from the destructor")
