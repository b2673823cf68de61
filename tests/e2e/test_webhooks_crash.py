"""``kill -9`` at any moment loses nothing that was recorded, repeats at most what was in flight, changes no message."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from crash_record import (
    Answer,
    Kill,
    Recorded,
    Seen,
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
from receiver import Call

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KILLS = {1: 200, 2: 60} if NIGHTLY else {1: 15}  # by the number of worker processes; the leader is killed
DELIVERY = "x-flaggateway-delivery"
ID = {DELIVERY: "a"}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180 + max(KILLS.values()) * 10)
@pytest.mark.parametrize(("workers", "kills"), KILLS.items())
def test_kill_9_at_any_moment_loses_nothing_recorded(tmp_path: Path, workers: int, kills: int) -> None:
    """Half of the kills are random, the others inside a transaction or between its commit and its acknowledgement."""
    with CrashScene(tmp_path, seed=11, workers=workers) as scene:
        for _ in range(kills):
            scene.kill()
        recorded = scene.finish()
    seen = scene.seen
    again, unexplained = repeated(seen, recorded, CONCURRENCY)
    changes = {sdk: len(each) for sdk, each in recorded.changes.items()}
    print(f"\nkills: {dict(Counter(kill.how for kill in seen.kills))}")
    print(f"changes recorded: {changes}; messages: {len(recorded.messages)}, taken again after a kill: {again}")
    print(f"evaluations answered: {len(seen.answers)}, exported: {len(seen.exported)}")
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


def test_every_rule_can_be_broken() -> None:
    """A faulty history violates each rule; a correct one violates none."""
    good, cut, strange = Call("/", ID, b"1", 1.0), Call("/", ID, b"2", 5.0), Call("/", {DELIVERY: "b"}, b"1", 1.0)
    recorded = Recorded([("well", "a", b"1")], set(), {"numbers": [(0, 1), (1, 2)]}, {"numbers": 2})
    kill = Kill("at random", 3.0, 3.1)
    right = Seen([Answer("numbers", "anna", 1, 1.0, 0)], [kill], {"well": [good]}, {"well": [good]})
    right.exported = [("anna", "batch")]
    assert [] == [
        *lost(right, recorded), *unrecorded(right, recorded), *altered(right), *repeated(right, recorded, 1)[1],
        *broken_chains(recorded), *published_only(right, recorded, one_process=True), *unexported(right),
        *exported_twice(right),
    ]  # fmt: skip
    wrong = Seen([Answer("numbers", "anna", value, 1.0, 0) for value in (7, 1, 0, 1)], [kill])
    wrong.calls = wrong.taken = {"well": [good, good, cut, strange]}
    wrong.exported = [("zoe", "one"), ("zoe", "other")]
    gaps = Recorded([("odd", "c", b"1")], set(), {"numbers": [(0, 1), (2, 3)]}, {"numbers": 4})
    assert ["odd never took c"] == lost(wrong, gaps)
    assert {"well got a, which is recorded with another body", "well got b, which is recorded nowhere"} == set(
        unrecorded(wrong, recorded)
    )
    assert ["well got a with 2 bodies"] == altered(wrong)
    assert (1, ["well took a twice, and no kill was between"]) == repeated(wrong, recorded, 1)
    assert (1, ["well took a twice, and no kill was between", "well: 1 in flight at kill 0"]) == repeated(
        wrong, recorded, 0
    )
    assert 2 == len(broken_chains(gaps))
    assert ["numbers: 7 was served and is not recorded", "numbers: 3 changes were seen, 2 are recorded"] == (
        published_only(wrong, recorded, one_process=True)
    )
    assert ["anna was answered 2.00 s before a kill at random"] * 4 == unexported(wrong)
    assert ["zoe is in 2 batches"] == exported_twice(wrong)
