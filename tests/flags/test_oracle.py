"""The differential test: our evaluator against the official Python SDK, on configs and users made by Hypothesis.

Where the two differ on purpose, because the Go SDK that the gateway stands in for does, a named exclusion says so.
It is asked only when a pair does differ, and all of them together may explain 2 % of the pairs at most.
"""

import copy
import json
import os
from collections import Counter

import attrs
import pytest
from configcatclient.config import fixup_config_salt_and_segments
from configcatclient.rolloutevaluator import RolloutEvaluator
from configcatclient.user import User as OracleUser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import Result, User, explain, find_failing_flags, load
from gateway.testing import strategies

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 1_700 if NIGHTLY else 160
ENOUGH_PAIRS = 20_000 if NIGHTLY else 1_500
ENOUGH_VERDICTS = 20  # of each comparator, true and false, in the nightly profile
EXCLUDED_SHARE = 0.02


class Silence:
    """A logger for the oracle."""

    def warning(self, *args, **kwargs):
        pass

    error = info = warning


def oracle_user(user):
    if user is None:
        return None
    own = {name: list(value) if isinstance(value, tuple) else value for name, value in user.attributes.items()}
    named = [own.pop(name, None) for name in ("Identifier", "Email", "Country")]
    return OracleUser(named[0], email=named[1], country=named[2], custom=own)


@attrs.frozen
class Pair:
    """One flag and one user: what we say and what the oracle says."""

    config: dict
    key: str
    user: User | None
    ours: Result
    value: object
    variation: str
    matched: bool
    error: str | None

    @property
    def agrees(self) -> bool:
        if self.ours.error is not None or self.error is not None:
            return (self.ours.error is None) == (self.error is None)
        same_kind = isinstance(self.ours.value, bool) == isinstance(self.value, bool)
        return (
            same_kind
            and self.ours.value == self.value
            and self.ours.variation_id == self.variation
            and self.ours.matched == self.matched
        )

    @property
    def conditions(self) -> list[dict]:
        """Every user condition that can take part, those of segments and prerequisites included."""
        found, seen, waiting = [], set(), [self.key]
        for segment in self.config["s"]:
            found += segment["r"]
        while waiting:
            key = waiting.pop()
            if key in seen or key not in self.config["f"]:
                continue
            seen.add(key)
            for rule in self.config["f"][key].get("r", []):
                found += [condition["u"] for condition in rule["c"] if "u" in condition]
                waiting += [condition["p"]["f"] for condition in rule["c"] if "p" in condition]
        return found

    def read(self) -> list[tuple[int, object]]:
        """Comparator and attribute value of every condition whose attribute the user has."""
        mine = self.user.attributes if self.user else {}
        return [(c["c"], mine[c["a"]]) for c in self.conditions if c["a"] in mine]


NUMERIC = {*range(10, 16), 18, 19}
TEXTUAL = {0, 1, 2, 3, 16, 17, *range(20, 26), *range(28, 34)}
LISTS = {26, 27, 34, 35}


def python_number_text(number):
    text = str(number)
    return str(int(number)) if "e" not in text and number.is_integer() else text


def hashed_by_options(pair):
    """The values that percentage options of any flag hash."""
    names = {flag.get("a", "Identifier") for flag in pair.config["f"].values()}
    return [value for name, value in (pair.user.attributes if pair.user else {}).items() if name in names]


def number_text(pair):
    """Numbers as text: the Go SDK keeps 16 significant digits, the Python SDK up to 17."""
    values = [value for comparator, value in pair.read() if comparator in TEXTUAL] + hashed_by_options(pair)
    return any(isinstance(v, float) and f"{v:.16g}" != python_number_text(v) for v in values)


def empty_text(pair):
    """An empty attribute is missing for the Python SDK and a value like any other for the Go SDK."""
    return any(value == "" for _, value in pair.read())


def list_for_number(pair):
    """A list where a number is needed: the Python SDK fails, the Go SDK skips the rule."""
    return any(comparator in NUMERIC and isinstance(value, tuple) for comparator, value in pair.read())


def number_form(pair):
    """Texts that only one of the two languages reads as a number."""
    return any(c in NUMERIC and v in {"1e400", "0x1p4", "\u2028"} for c, v in pair.read())


def list_form(pair):
    """JSON with null for a list or an item of it, and U+2028 in a list that is used as text."""
    odd = {"null", '["x",null]'}
    return any((c in LISTS and v in odd) or (isinstance(v, tuple) and "\u2028" in str(v)) for c, v in pair.read())


def unreached_circle(pair):
    """A circle of prerequisites fails the flag in the Go SDK, and in Python only when a rule gets there."""
    return (pair.ours.error or "").startswith("circular dependency") and pair.error is None


def unserved_value(pair):
    """The Python SDK checks the type of a value before it knows whether the rule serves it."""
    return "is not of the expected type" in (pair.error or "")


def missing_operand(pair):
    """Without a comparison value Python skips what Go fails (versions), and fails only for users with the attribute."""
    return any(not {"l", "s", "d"} & condition.keys() for condition in pair.conditions)


def empty_versions(pair):
    """A list of blank versions: Python does not look at the user's version then, Go does."""
    return any(c["c"] in {4, 5} and not any(v.strip() for v in c.get("l", ())) for c in pair.conditions)


EXCLUSIONS = (
    number_text,
    empty_text,
    list_for_number,
    number_form,
    list_form,
    unreached_circle,
    unserved_value,
    missing_operand,
    empty_versions,
)


class Tally:
    """What a whole run of the differential test has seen."""

    def __init__(self):
        self.pairs = self.matched = self.failed = 0
        self.excluded = Counter()
        self.verdicts = Counter()

    def add(self, pair, snapshot):
        self.pairs += 1
        self.matched += pair.ours.matched
        self.failed += pair.ours.error is not None
        if not pair.agrees:
            reason = next((rule.__name__ for rule in EXCLUSIONS if rule(pair)), None)
            assert reason is not None, mismatch(pair, snapshot)
            self.excluded[reason] += 1
        self._count(explain(snapshot, pair.key, pair.user))

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
        return (
            f"{self.pairs} pairs, {self.matched} decided by a rule or a percentage, {self.failed} failing, "
            f"excluded {sum(self.excluded.values())} {dict(self.excluded)}, rarest verdict {rarest}"
        )


def mismatch(pair, snapshot):
    flag = json.dumps(pair.config["f"][pair.key], ensure_ascii=False)
    return (
        f"ours {pair.ours}, oracle {pair.value!r} {pair.variation!r} {pair.error}\n{flag}\n"
        f"{dict(pair.user.attributes) if pair.user else None}\n{explain(snapshot, pair.key, pair.user).text()}"
    )


def compare(case, users, tally):
    snapshot = load(case.body, "")
    config = copy.deepcopy(case.config)
    fixup_config_salt_and_segments(config)
    evaluator = RolloutEvaluator(Silence())
    broken = find_failing_flags(snapshot, None, {})
    for user in users:
        theirs = oracle_user(user)
        for key, ours in zip(snapshot.keys, evaluate_each(snapshot, user), strict=True):
            assert ours.error is None or broken, f"{key} fails and was not said to: {ours}"
            value, variation, rule, option, error = evaluator.evaluate(key, theirs, None, "", config, None)
            matched = rule is not None or option is not None
            tally.add(Pair(case.config, key, user, ours, value, variation, matched, error), snapshot)


@pytest.mark.timeout(3600)
def test_values_equal_the_official_sdk_s():
    """Value, variation ID, reason and failure are the official SDK's for every flag and user."""
    tally = Tally()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(strategies.cases(), st.integers(0, 3))
    def run(case, chance):
        compare(case, (*case.users, None) if chance == 2 else case.users, tally)

    run()
    print(tally.report())
    assert tally.pairs >= ENOUGH_PAIRS
    assert tally.matched * 2 >= tally.pairs
    assert sum(tally.excluded.values()) <= EXCLUDED_SHARE * tally.pairs
    if NIGHTLY:
        print(sorted(tally.verdicts.items()))
        assert [] == [(n, v) for n in range(36) for v in ("true", "false") if tally.verdicts[n, v] < ENOUGH_VERDICTS]
