"""A config of very many flags: evaluating all of them in steps has the results of evaluating each flag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.flags import Snapshot, User, difference_in_steps, finish, load, load_in_steps
from gateway.flags.snapshot import EVALUATIONS_KEPT, LARGE_FLAGS
from gateway.flags.steps import CHEAP

if TYPE_CHECKING:
    from collections.abc import Generator

FLAGS = LARGE_FLAGS + 600


def rule(attribute: str, *values: str) -> dict[str, Any]:
    """Return a rule on one attribute that serves ``rule``."""
    return {"c": [{"u": {"a": attribute, "c": 0, "l": values}}], "s": {"v": {"s": "rule"}, "i": "r"}}


@pytest.fixture
def snapshot() -> Snapshot:
    """A config with more flags of every kind than one step evaluates."""
    kinds = [{}, {"r": [rule("Country", "DE", "FR")]}, {"r": [rule("Email", "a@example.org")]}]
    flags = {
        f"flag{number:05}": {"t": 1, "v": {"s": str(number)}, "i": "v", **kinds[number % 3]} for number in range(FLAGS)
    }
    return load(json.dumps({"p": {"s": "salt"}, "f": flags}).encode(), "")


def user(number: int) -> User:
    """Return a user; all users differ, also in what they share."""
    return User(
        {
            "Country": ("DE", "US")[number % 2] if number < 2 else f"C{number}",
            "Email": f"{'abc'[number % 3]}@example.org",
        }
    )


def one_by_one(snapshot: Snapshot, somebody: User | None) -> bytes:
    """Return what ``Evaluation.json`` has to be, from the results of each flag."""
    return b"{%b}" % b",".join([snapshot.evaluate(key, somebody).entry for key in snapshot.keys])


@pytest.mark.parametrize("somebody", [None, user(0), user(1)], ids=["nobody", "first", "second"])
def test_evaluation_in_steps_has_the_results_of_each_flag(snapshot: Snapshot, somebody: User | None) -> None:
    """It takes several steps, and is kept."""
    assert snapshot.large
    steps = snapshot.evaluate_all_in_steps(somebody)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            evaluation = end.value
            break
        count += 1
    assert count >= 2
    assert one_by_one(snapshot, somebody) == evaluation.json()
    assert snapshot.is_evaluated(somebody)
    assert evaluation is snapshot.evaluate_all(somebody)


def test_evaluations_that_take_turns_do_not_mix(snapshot: Snapshot) -> None:
    """More users than shared results are cached, whose evaluations all progress by one step at a time."""
    users = [user(number) for number in range(24)]
    running: dict[int, Generator[None, None, Any]] = {n: snapshot.evaluate_all_in_steps(u) for n, u in enumerate(users)}
    texts: dict[int, bytes] = {}
    while running:
        for number, steps in list(running.items()):
            try:
                next(steps)
            except StopIteration as end:
                texts[number] = end.value.json()
                del running[number]
    assert texts == {number: one_by_one(snapshot, each) for number, each in enumerate(users)}


def test_only_the_latest_evaluations_are_kept(snapshot: Snapshot) -> None:
    """Each takes memory in proportion to the flags; a user whose evaluation was dropped is evaluated again."""
    users = [user(number) for number in range(100, 101 + EVALUATIONS_KEPT)]
    for each in users:
        finish(snapshot.evaluate_all_in_steps(each))
    assert [False] + [True] * EVALUATIONS_KEPT == [snapshot.is_evaluated(each) for each in users]
    assert one_by_one(snapshot, users[0]) == snapshot.evaluate_all(users[0]).json()


def very_large(count: int, text: str, first: int = 0) -> bytes:
    """Return a config of so many flags that half of their work takes several steps of any kind."""
    flags = {f"flag{number:06}": {"t": 1, "v": {"s": text}, "i": "v"} for number in range(first, first + count)}
    return json.dumps({"p": {"s": "salt"}, "f": flags}).encode()


def steps_of(steps: Generator[None, None, Any]) -> tuple[int, Any]:
    """Return the number of steps, and the result."""
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


def test_each_pass_over_the_flags_of_a_change_takes_steps() -> None:
    """One more pass that is done at once would hold the event loop by some 50 ms with 100,000 flags.

    The numbers are those of today: a pass that loses its pauses makes them smaller by ``passed``.
    """
    passed = 4
    count = passed * CHEAP
    old = load(very_large(count, "one"), "")
    steps, same = steps_of(load_in_steps(very_large(count, "one"), "", old))
    assert steps > 45 - passed  # found, looked up in the old config, compared, looked through, and in order
    assert all(same.flags[key] is flag for key, flag in old.flags.items())
    new = load(very_large(count, "two", CHEAP), "", old)
    steps, changes = steps_of(difference_in_steps(old, new))
    assert steps > 90 - passed  # two sets of keys, compared, reached twice, and four orders
    assert [CHEAP, CHEAP, 3 * CHEAP, 5 * CHEAP] == [
        len(keys) for keys in (changes.added, changes.removed, changes.updated, changes.affected)
    ]
    for keys in (changes.added, changes.removed, changes.updated, changes.affected):
        assert tuple(sorted(keys)) == keys
    steps, evaluation = steps_of(new.evaluate_all_in_steps(None))
    assert steps > 24 - passed
    assert one_by_one(new, None) == evaluation.json()
