"""Amount of measurement: the whole table, or the main rows within a minute."""

from __future__ import annotations

import sys
import time

import attrs


@attrs.frozen
class Plan:
    """Sizes and repetitions of a run."""

    quick: bool
    rounds: int
    seconds: int  # duration of one run of wrk
    streams: int
    passes: int  # of the stream rows over all servers
    pushes: int  # of each kind of change in each pass
    turns: int  # of the exporter rows, each one run without and one with the exporter
    delta_streams: int = 8_000
    began: float = attrs.field(factory=time.monotonic)

    def log(self, text: str) -> None:
        """Print progress to stderr with the seconds since the start."""
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", file=sys.stderr, flush=True)


WHOLE = Plan(quick=False, rounds=3, seconds=2, streams=8_000, passes=1, pushes=5, turns=5)
QUICK = Plan(quick=True, rounds=1, seconds=1, streams=2_000, passes=1, pushes=1, turns=3)
