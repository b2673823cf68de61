"""Many streams on one machine: python -m bench.scale [--streams 100000]

One gateway with as many workers as the limit of open files needs, and as many load processes (``bench.crowd``). The
streams grow in steps; each step measures memory, idle processor time and changes of several sizes. With all streams
open, the gateway is killed, reloaded, and its workers are killed one after the other.
"""

# ruff: noqa: TID251  (mathematical signs are part of the printed table; this process has no reactor)

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from bench import configs, machine, scale_report
from bench.crowd import HUNDREDTH, RARE, RARE_COUNTRY, TENTH, rare_people
from bench.crowds import TIMEOUT, Crowds, Fleet, processes_for, scaled
from bench.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STEPS = (1_000, 3_000, 10_000, 30_000)
FLAGS = 100
ROUNDS = 3  # of each kind of change
KERNEL_FROM = 10_000  # streams; with fewer, the memory of other programs varies more than theirs
IDLE_SECONDS = 20.0  # one heartbeat of each stream; half of them while the streams grow
HERD = 2_000  # streams that a load process opens at one time after a kill
SIZES: dict[str, Callable[[int], int]] = {  # streams that each kind of change concerns
    f"{RARE} users of a country": lambda _: RARE,
    f"{RARE} identifiers": lambda _: RARE,
    f"{RARE} hashed identifiers": lambda _: RARE,
    "1 % of the users": lambda streams: streams // 100,
    "10 % of the users": lambda streams: streams // 10,
    "all users": lambda streams: streams,
}


def config(versions: dict[str, int]) -> bytes:
    """Return the config: a flag for each kind of change, with the text of its version for the users concerned."""
    people = rare_people()
    key = f"change{list(SIZES).index(f'{RARE} hashed identifiers')}"
    conditions: list[dict[str, Any] | None] = [
        {"a": "Country", "c": 0, "l": [RARE_COUNTRY]},
        {"a": "Identifier", "c": 0, "l": people},
        {"a": "Identifier", "c": 16, "l": [configs.hashed(person, key) for person in people]},
        {"a": "Country", "c": 0, "l": [HUNDREDTH]},
        {"a": "Country", "c": 0, "l": [TENTH]},
        None,
    ]
    flags = {}
    for place, (name, condition) in enumerate(zip(SIZES, conditions, strict=True)):
        text = f"v{versions[name]}"
        flag = configs.text_flag(text)
        if condition is not None:
            flag = configs.text_flag("same") | {"r": [{"c": [{"u": condition}], "s": {"v": {"s": text}, "i": text}}]}
        flags[f"change{place}"] = flag
    return configs.config(FLAGS, **flags)


@attrs.define
class Scale:
    """One run and its figures."""

    server: Fleet
    crowds: Crowds
    steps: list[dict[str, Any]] = attrs.field(factory=list)  # the figures of each number of streams
    restarts: list[tuple[str, str]] = attrs.field(factory=list)  # what was measured, and its figure
    _versions: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(SIZES, 0))
    _began: float = attrs.field(factory=time.monotonic)

    def log(self, text: str) -> None:
        """Print progress with the seconds since the start."""
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def note(self, name: str, text: str) -> None:
        """Add a figure of the restarts."""
        self.restarts.append((name, text))
        self.log(f"{name}: {text}")

    def grow(self, sizes: list[int]) -> None:
        """Measure each number of streams."""
        own, kernel = self.server.proportional(), machine.kernel()
        for size in sizes:
            used, before = self.server.processor(), self.crowds.size
            seconds = self.crowds.grow(size)
            opening = (self.server.processor() - used) / (size - before)
            self.crowds.settle()
            step: dict[str, Any] = {
                "streams": size,
                "memory": (self.server.proportional() - own) / size / 1024,
                "kernel": None if size < KERNEL_FROM else (machine.kernel() - kernel) / size / 2 / 1024,
                "rate": (size - before) / seconds,
                "opening": opening * 1e6,
                "changes": {name: self._changes(name, size) for name in SIZES},
            }
            step["idle"] = self._idle(IDLE_SECONDS if size == sizes[-1] else IDLE_SECONDS / 2)
            self.steps.append(step)
            self.log(scale_report.line(step))

    def open(self, size: int) -> None:
        """Open so many streams without measuring changes."""
        seconds = self.crowds.grow(size)
        self.crowds.settle()
        self.log(f"{size:,} streams opened, {size / seconds:,.0f}/s")

    def change(self, name: str) -> Callable[[], None]:
        """Return a function that makes the next change of this kind."""
        self._versions[name] += 1
        data = config(self._versions)
        return lambda: self.server.put(data)

    def _changes(self, name: str, size: int) -> dict[str, float]:
        expected = SIZES[name](size)
        found: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            before = self.server.processor()
            push = self.crowds.push(self.change(name), expected)
            if push.unexpected:
                raise RuntimeError(f"{name}: {push.unexpected} events more than the expected {expected}")
            work = (self.server.processor() - before) * 1e3
            found.append({"p50": push.quantile(0.5), "p99": push.quantile(0.99), "last": push.last, "work": work})
        return {figure: median(one[figure] for one in found) for figure in found[0]}

    def _idle(self, seconds: float) -> float:
        """Return the processor time in percent of a core while only heartbeats are sent."""
        time.sleep(1.0)
        before, began = self.server.processor(), time.monotonic()
        time.sleep(seconds)
        return (self.server.processor() - before) / (time.monotonic() - began) * 100

    # Restarts

    def killed(self, *, patient: bool) -> None:
        """Kill the gateway, start it again, and wait until every client has its values."""
        size = self.crowds.size
        how = (
            "gateway killed, clients wait for their retry time" if patient else "gateway killed, clients return at once"
        )
        self.crowds.behave(patient=patient, window=HERD)
        self.crowds.reset()
        steady = self.server.resident()
        began = time.monotonic()
        self.server.stop()
        self.server.again()
        ready = time.monotonic()
        self._note_causes(f"{how}: attempts that ended before the gateway was ready", self.crowds.causes())
        self.crowds.reset()  # most of it was refused while no gateway ran
        self.crowds.wait(lambda status: status["open"] >= size)
        self.crowds.settle()
        status = self.crowds.status()
        arrivals = sorted(at - began for at in self.crowds.arrivals())
        self.note(f"{how}: gateway ready after", f"{ready - began:.1f} s")
        middle = arrivals[len(arrivals) // 2]
        self.note(
            f"{how}: half of the clients, all clients have their values after", f"{middle:.1f}, {arrivals[-1]:.1f} s"
        )
        self.note(
            f"{how}: streams refused or ended after the gateway was ready", f"{status['refused'] + status['ended']:,}"
        )
        self._note_causes(f"{how}: of these", self.crowds.causes())
        self.note(f"{how}: streams of each worker", ", ".join(f"{count:,}" for count in self.server.spread()))
        peak = self.server.peak() / 1e6
        self.note(f"{how}: peak of resident memory (before the kill)", f"{peak:,.0f} MB ({steady / 1e6:,.0f} MB)")
        self._prove()

    def _note_causes(self, what: str, causes: Mapping[str, int]) -> None:
        if causes:
            self.note(f"{what}, by cause", ", ".join(f"{name} {causes[name]:,}" for name in sorted(causes)))

    def rolled(self) -> None:
        """Reload, then kill one worker after the other, while flags are evaluated and changed."""
        self.crowds.behave(patient=True, window=HERD)
        with self._probe("reload, a change for 10 % of the users every second"):
            self.crowds.reset()
            file = self.server.home / "settings.yml"
            settings = yaml.safe_load(file.read_text("utf-8"))
            settings["http"]["sse"]["heart_beat_interval"] = 25
            file.write_text(yaml.safe_dump(settings), "utf-8")
            self.server.reload()
            self._changing(5.0, lambda _: False)
            ended = self.crowds.status()["ended"]
            self.note("reload: streams ended", f"{ended:,.0f}")
        name = "each worker killed in turn"
        times, lost, refused, causes = [], 0.0, 0.0, Counter[str]()
        with self._probe(name):
            for pid in self.server.workers():
                self.crowds.reset()
                began = time.monotonic()
                os.kill(pid, 9)
                self._changing(TIMEOUT, lambda status: status["ended"] > 0 and status["open"] >= self.crowds.size)
                times.append(time.monotonic() - began)
                status = self.crowds.status()
                lost, refused = lost + status["ended"], refused + status["refused"]
                causes.update(self.crowds.causes())
                time.sleep(2.0)
        self.note(
            f"{name}: all its clients are back after, median and longest", f"{median(times):.1f}, {max(times):.1f} s"
        )
        self.note(f"{name}: streams ended, refused", f"{lost:,.0f}, {refused:,.0f}")
        self._note_causes(f"{name}: of these", causes)
        self.note(f"{name}: streams of each worker", ", ".join(f"{count:,}" for count in self.server.spread()))
        self._prove()

    def _changing(self, seconds: float, done: Callable[[dict[str, float]], bool]) -> None:
        """Make a change each second until ``done``, for at most so many seconds."""
        began = due = time.monotonic()
        while time.monotonic() - began < seconds and not done(self.crowds.status()):
            if time.monotonic() >= due:
                due += 1.0
                self.change("10 % of the users")()
                self.crowds.refresh()
            time.sleep(0.1)

    def _prove(self) -> None:
        """Change a flag for all: proves that every client is connected and receives changes."""
        push = self.crowds.push(self.change("all users"), self.crowds.size)
        if push.unexpected:
            raise RuntimeError(f"{push.unexpected} events more than expected after a restart")

    @contextlib.contextmanager
    def _probe(self, name: str) -> Iterator[None]:
        """Evaluate a flag every 4 ms meanwhile, and note the delays."""
        command = [sys.executable, "-m", "bench.probe", str(self.server.port)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
            assert probe.stdout is not None
            assert probe.stdin is not None
            probe.stdout.readline()
            yield
            probe.stdin.close()
            found = json.loads(probe.stdout.read())
        delays = sorted(delay * 1e3 for _, delay, _ in found)
        lost = sum(count for *_, count in found)
        p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
        figures = f"{p50:.1f}, {p99:.1f}, {delays[-1]:.0f} ms; {lost} of {len(found):,}"
        self.note(f"{name}: evaluations, p50, p99 and longest; connections lost", figures)


def sizes(streams: int) -> list[int]:
    """Return the numbers of streams to measure; a tenth of the last one is among them, for the growth."""
    return sorted({step for step in (*STEPS, streams // 10) if STEPS[0] <= step < streams} | {streams})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--streams", type=int, default=100_000, help="number of streams at the end")
    parser.add_argument("--workers", type=int, help="number of workers; by default as many as the file limit needs")
    parser.add_argument("--load", type=int, help="number of load processes; by default the same")
    parser.add_argument("--only-growth", action="store_true", help="without restarts")
    parser.add_argument("--only-restarts", action="store_true", help="without memory, changes and growth")
    parser.add_argument("--log", action="store_true", help="print the log of the gateway at the end")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/scale.md, its plots and scale.json")
    parser.add_argument("--note", help="a sentence about the run for the page")
    options = parser.parse_args()
    limit = machine.raise_limit()
    needed = processes_for(options.streams, limit)
    workers, count = options.workers or needed, options.load or needed
    facts = {"date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"), **machine.describe()}
    if options.note:
        facts["note"] = options.note
    facts["processes"] = f"{workers} workers and {count} load processes, each with at most {limit:,} open files"
    with tempfile.TemporaryDirectory() as folder:
        server = scaled(Path(folder), config(dict.fromkeys(SIZES, 0)), workers)
        with server, Crowds(server.port, count) as crowds:
            scale = Scale(server, crowds)
            scale.open(options.streams) if options.only_restarts else scale.grow(sizes(options.streams))
            restarts = [partial(scale.killed, patient=True), scale.rolled, partial(scale.killed, patient=False)]
            try:
                for restart in [] if options.only_growth else restarts:
                    restart()
            except (RuntimeError, OSError, KeyboardInterrupt) as error:  # what was measured is reported
                facts["not all restarts were measured"] = str(error) or "interrupted"
            with contextlib.suppress(RuntimeError, OSError):  # an interrupt ends them, too
                facts["processor time of the load processes"] = f"{crowds.status()['processor']:.0f} s"
            if options.log:
                print((server.home / "log").read_text("utf-8", "replace"), file=sys.stderr)
    facts["load average at the end"] = " ".join(f"{load:.1f}" for load in os.getloadavg())
    if options.only_restarts:
        print(scale_report.restarts_only(facts, scale.restarts))
    else:
        print(scale_report.page(facts, scale.steps, scale.restarts))
    if options.write and options.only_restarts:
        scale_report.write_restarts(facts, scale.restarts)
    elif options.write:
        scale_report.write(facts, scale.steps, scale.restarts)


if __name__ == "__main__":
    main()
