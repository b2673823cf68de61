"""Records the pauses of the reactor of every process that has this folder in PYTHONPATH: see ``bench.large``.

Each process appends lines to a file of its own in the folder ``BENCH_PAUSES``: the processor time in milliseconds that
its main thread used in one turn of the reactor.  Processor time does not contain the waiting for clients, nor what
other programs on the machine take.
"""

import contextlib
import os
import time
from pathlib import Path

SHOWN = 0.005  # seconds; shorter turns are not recorded


def record(folder: Path) -> None:
    """Measure each turn of the reactors of this process."""
    from twisted.internet.base import ReactorBase

    lines = None
    run, last = ReactorBase.runUntilCurrent, time.thread_time()

    def measured(reactor: ReactorBase) -> None:
        nonlocal last, lines
        now = time.thread_time()
        if now - last >= SHOWN:
            lines = lines or (folder / str(os.getpid())).open("a", buffering=1)
            lines.write(f"{(now - last) * 1e3:.1f}\n")
        last = now
        run(reactor)

    ReactorBase.runUntilCurrent = measured  # type: ignore[method-assign] # measured is its only caller


if os.environ.get("BENCH_PAUSES"):
    with contextlib.suppress(ImportError):  # a Python without Twisted, such as that of pip
        record(Path(os.environ["BENCH_PAUSES"]))
