"""``kill -9`` at any moment loses nothing that was recorded, repeats at most what was in flight, and alters nothing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from crash_record import (
    altered,
    broken_chains,
    exported_twice,
    lost,
    published_only,
    repeated,
    unexported,
    unrecorded,
)
from crash_scene import CONCURRENCY, TURNS, CrashScene

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KILLS = {1: 200, 2: 60} if NIGHTLY else {1: 15}  # by the number of worker processes; the leader is killed

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180 + max(KILLS.values()) * 10)]


@pytest.mark.parametrize(("workers", "kills"), KILLS.items())
def test_kill_9_at_any_moment_loses_nothing_recorded(tmp_path: Path, workers: int, kills: int) -> None:
    """Half of the kills are at random, the others inside a transaction or between its commit and its telling."""
    with CrashScene(tmp_path, seed=11, workers=workers) as scene:
        for _ in range(kills):
            scene.kill()
        recorded = scene.finish()
    seen = scene.seen
    again, unexplained = repeated(seen, recorded, CONCURRENCY)
    changes = {sdk: len(each) for sdk, each in recorded.changes.items()}
    print(f"\nkills: {dict(Counter(kill.how for kill in seen.kills))}")
    print(f"changes recorded: {changes}; messages: {len(recorded.messages)}, taken again after a kill: {again}")
    print(f"evaluations answered: {len(seen.answers)}, exported: {len(seen.exported)} in {len(seen.batches)} batches")
    assert set(TURNS) == {kill.how for kill in seen.kills}
    assert all(count >= kills for count in changes.values())
    assert seen.unsigned == []
    assert lost(seen, recorded) == []
    assert unrecorded(seen, recorded) == []
    assert altered(seen) == []
    assert unexplained == []
    assert broken_chains(recorded) == []
    assert published_only(seen, recorded, one_process=workers == 1) == []
    assert unexported(seen) == []
    assert exported_twice(seen) == []
