"""A config of very many flags: evaluating all of them in steps has the results of evaluating each flag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.flags import Snapshot, User, finish, load
from gateway.flags.snapshot import EVALUATIONS_KEPT, LARGE_FLAGS

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
