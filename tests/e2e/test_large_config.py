"""A change of very many flags, with real processes: how long it holds the event loops of leader and workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # not ``alone``: those run in ``make test`` too

SHARE = 100  # of the processor time of all steps; on an idle machine the longest turn has about a 300th


@pytest.mark.parametrize(("flags", "workers"), [(20_000, 1), (20_000, 2), (100_000, 2)])
def test_no_turn_of_an_event_loop_takes_a_large_part_of_the_work(flags: int, workers: int) -> None:
    """Measured as processor time, in proportion to that of the whole change, so that any machine can tell.

    Compiled in one piece, one turn has all of it; the goals, 50 ms for 20,000 flags and 250 ms for 100,000 on an idle
    machine, are checked by eye in the table of ``python -m bench.large``.
    """
    options = ["--flags", str(flags), "--workers", str(workers), "--json"]
    ran = subprocess.run([sys.executable, "-m", "bench.large", *options], cwd=ROOT, capture_output=True, check=False)
    assert 0 == ran.returncode, ran.stderr.decode()[-3000:]
    print(ran.stderr.decode())
    steps = json.loads(ran.stdout)
    changes = [step for step in steps if step["name"] in {f"30 to {flags} flags", "all values"}]
    assert 2 == len(changes)
    for step in changes:
        turns = step["turns"]
        assert workers + (workers > 1) == len(turns)
        assert max(turns) < step["processor"] * 1000 / SHARE / len(turns)
