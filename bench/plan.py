"""How much is measured: the whole table, or the main rows within a minute."""

from __future__ import annotations

import sys
import time

import attrs


@attrs.frozen
class Plan:
    """Sizes and repetitions; ``say`` tells on stderr how far it is."""

    quick: bool
    rounds: int
    seconds: int  # of one run of wrk
    streams: int
    passes: int  # over the servers, for streams
    pushes: int  # of each kind and pass
    turns: int  # without and with the exporter, one after the other
    delta_streams: int = 8_000  # of configs with up to 5,000 flags
    began: float = attrs.field(factory=time.monotonic)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", file=sys.stderr, flush=True)


WHOLE = Plan(quick=False, rounds=3, seconds=2, streams=8_000, passes=1, pushes=5, turns=5)
QUICK = Plan(quick=True, rounds=1, seconds=1, streams=2_000, passes=1, pushes=1, turns=3)
