"""The differential test: our evaluator against the official SDKs, on configs and users made by Hypothesis.

Where an SDK differs on purpose, a named exclusion of ``tests/support/sdk_differences.py`` gives the reason. It is
applied only to results that do differ, and all of an SDK together may explain a small share of the results.
"""

import json
import os
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import explain, find_failing_flags, load
from gateway.testing import strategies
from official_sdks import available_sdks
from outside_tools import missing
from sdk_differences import EXCLUSIONS, Cell

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 2_800 if NIGHTLY else 160
ENOUGH_RESULTS = 30_000 if NIGHTLY else 1_500
ENOUGH_VERDICTS = 20  # of each comparator, true and false, in the nightly profile
PHASES = (Phase.generate, Phase.shrink)  # an explanation of the lines that a failure reaches takes minutes
EXCLUDED_SHARE = {"go": 0.02, "javascript": 0.05, "python": 0.05}


class Tally:
    """What a whole run has seen."""

    def __init__(self):
        self.results = self.matched = self.failed = 0
        self.excluded = {name: Counter() for name in EXCLUSIONS}
        self.verdicts = Counter()

    def add(self, snapshot, key, user, result):
        self.results += 1
        self.matched += result.matched
        self.failed += result.error is not None
        self._count(explain(snapshot, key, user))

    def compare(self, name, cell, snapshot):
        if not cell.agrees:
            reason = next((rule.__name__ for rule in EXCLUSIONS[name] if rule(cell)), None)
            assert reason is not None, difference(name, cell, snapshot)
            self.excluded[name][reason] += 1

    def _count(self, explanation):
        for rule in explanation.rules:
            for note in rule.conditions:
                for condition in (note, *note.inside):
                    if condition.operator is not None and condition.verdict in {"true", "false"}:
                        self.verdicts[condition.operator, condition.verdict] += 1
                if note.prerequisite is not None:
                    self._count(note.prerequisite)

    def report(self):
        rarest = min(((self.verdicts[n, v], n, v) for n in range(36) for v in ("true", "false")), default=None)
        excluded = {name: dict(reasons) for name, reasons in self.excluded.items()}
        return (
            f"{self.results} results, {self.matched} decided by a rule or a percentage, {self.failed} failing, "
            f"excluded {excluded}, rarest verdict {rarest}"
        )


def difference(name, cell, snapshot):
    flag = json.dumps(cell.config["f"][cell.key], ensure_ascii=False)
    return (
        f"ours {cell.ours}, of the {name} SDK {cell.theirs}\n{flag}\n"
        f"{dict(cell.user.attributes) if cell.user else None}\n{explain(snapshot, cell.key, cell.user).text()}"
    )


def compare(case, users, sdks, tally):
    snapshot = load(case.body, "")
    broken = find_failing_flags(snapshot, None, {})
    ours = [dict(zip(snapshot.keys, evaluate_each(snapshot, user), strict=True)) for user in users]
    for user, results in zip(users, ours, strict=True):
        for key, result in results.items():
            assert result.error is None or broken, f"{key} fails and is not among the failing flags: {result}"
            tally.add(snapshot, key, user, result)
    attributes = [None if user is None else dict(user.attributes) for user in users]
    for sdk in sdks:
        theirs = sdk.evaluate(case.config, attributes)
        for user, mine, answers in zip(users, ours, theirs, strict=True):
            for key, result in mine.items():
                tally.compare(sdk.name, Cell(case.config, key, user, result, answers[key]), snapshot)


@pytest.mark.timeout(3600)
def test_values_equal_the_official_sdks():
    """Value, variation ID, reason and failure are those of the official SDKs for every flag and user."""
    tally = Tally()
    found, lacking = available_sdks()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None, phases=PHASES)
    @given(strategies.cases(), st.integers(0, 3))
    def run(case, chance):
        compare(case, (*case.users, None) if chance == 2 else case.users, sdks, tally)

    with ExitStack() as stack:
        sdks = [stack.enter_context(sdk) for sdk in found]
        run()
    print(tally.report())
    assert tally.results >= ENOUGH_RESULTS
    assert tally.matched * 2 >= tally.results
    for name, reasons in tally.excluded.items():
        assert sum(reasons.values()) <= EXCLUDED_SHARE[name] * tally.results, (name, reasons)
    if NIGHTLY:
        print(sorted(tally.verdicts.items()))
        assert [] == [(n, v) for n in range(36) for v in ("true", "false") if tally.verdicts[n, v] < ENOUGH_VERDICTS]
    for error in lacking:  # the others have been compared
        missing(str(error), required=error.expected)
