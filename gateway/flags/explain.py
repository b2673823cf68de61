"""Explain a result: evaluate the definition of a flag step by step, slowly, and record every step.

The verdicts of conditions come from the Match functions of evaluation; only the order of the steps is implemented
twice, and tests compare the results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway.flags.compile import CompileContext, condition_match
from gateway.flags.conditions.comparators import comparator_of, read_operand
from gateway.flags.conditions.match import EvaluationFailure
from gateway.flags.config_json import decode_piece
from gateway.flags.definition import (
    Condition,
    Fault,
    FlagDefinition,
    PercentageOption,
    PrerequisiteCondition,
    SegmentCondition,
    ServedValue,
    TargetingRule,
    UserCondition,
    parse_flag,
)
from gateway.flags.encoding import encode_number
from gateway.flags.explanation import (
    ConditionNote,
    Explanation,
    OptionNote,
    PercentageNote,
    RuleNote,
    Verdict,
    shown,
)
from gateway.flags.percentage import bucket, options_by_bucket
from gateway.flags.user import MISSING_USER, User
from gateway.text import amount

if TYPE_CHECKING:
    from gateway.flags.snapshot import Snapshot

VALUES_SHOWN = 10  # comparison values shown of a condition; the rest is counted
NO_USER = "there is no user"
EARLIER_CONDITION = "an earlier condition decides"
EARLIER_RULE = "an earlier rule decides"
_READ_AS = {"v": "a semantic version", "n": "a number", "l": "a list of texts"}


def explain(snapshot: Snapshot, key: str, user: User | None) -> Explanation:
    """Return the result of a flag for a user and how it is reached.

    Parses the definition and explains prerequisites each time: for people, not for requests.

    :raises KeyError: if the flag does not exist
    """
    return _explain(snapshot, key, MISSING_USER if user is None else user, {})


def _explain(snapshot: Snapshot, key: str, user: User, explained: dict[str, Explanation]) -> Explanation:
    known = explained.get(key)
    if known is not None:
        return attrs.evolve(known, rules=(), percentage=None, repeated=True)
    flag = snapshot.flags[key]
    definition = parse_flag(decode_piece(flag.source))
    if flag.fault is not None or isinstance(definition, Fault):
        made = _failed(key, flag.fault or "", "never served")
    else:
        made = _Walk(snapshot, key, definition, user, explained).explanation()
    explained[key] = made
    return made


def _failed(key: str, error: str, default: str) -> Explanation:
    return Explanation(key, None, "", matched=False, error=error, decided_by="error", default=default)


@attrs.define
class _Walk:
    """The steps of one flag; after the first that serves or fails the others are recorded as not reached."""

    snapshot: Snapshot
    key: str
    definition: FlagDefinition
    user: User
    explained: dict[str, Explanation]  # by key: shared prerequisites are explained once
    decided_by: str | None = None
    served: ServedValue | None = None
    error: str | None = None

    def explanation(self) -> Explanation:
        rules = tuple(self._rule(number, rule) for number, rule in enumerate(self.definition.rules, 1))
        percentage = self._percentage(self.definition.options, "") if not self._over else None
        default = _serves(self.definition.served)
        matched = self.served is not None
        served = self.served or self.definition.served
        error = self.error or (served.value.reason if isinstance(served.value, Fault) else None)
        if error is not None or isinstance(served.value, Fault):
            failed = _failed(self.key, error or "", default)
            return attrs.evolve(failed, rules=rules, percentage=percentage)
        return Explanation(
            key=self.key,
            value=served.value,
            variation_id=served.variation_id,
            matched=matched,
            error=None,
            decided_by=self.decided_by or "default value",
            default=default,
            rules=rules,
            percentage=percentage,
        )

    @property
    def _over(self) -> bool:
        return self.served is not None or self.error is not None

    def _serve(self, served: ServedValue, decided_by: str) -> None:
        self.served = served
        self.decided_by = decided_by

    def _rule(self, number: int, rule: TargetingRule) -> RuleNote:
        serves = None if rule.served is None else _serves(rule.served)
        if self._over:
            return RuleNote(number, "not reached", decided=False, serves=serves, reason=EARLIER_RULE)
        conditions = self._conditions(rule.conditions)
        verdict: Verdict = next((note.verdict for note in conditions if note.verdict != "true"), "true")
        if verdict == "failed":
            self.error = next(note.reason for note in conditions if note.verdict == "failed")
        percentage, reason = None, None
        if verdict == "true":
            if rule.served is not None:
                self._serve(rule.served, f"rule {number}")
            elif rule.options:
                percentage = self._percentage(rule.options, f"rule {number}, ")
            else:
                reason = "it has nothing to serve"
        decided = self.served is not None
        return RuleNote(number, verdict, decided, serves, conditions, percentage, reason)

    def _conditions(self, conditions: tuple[Condition, ...]) -> tuple[ConditionNote, ...]:
        notes: list[ConditionNote] = []
        for condition in conditions:
            note = self._condition(condition, reached=all(earlier.verdict == "true" for earlier in notes))
            notes.append(note)
        return tuple(notes)

    def _condition(self, condition: Condition, *, reached: bool) -> ConditionNote:
        match condition:
            case UserCondition():
                note = _user_note(condition, self.user)
            case SegmentCondition():
                note = self._segment_note(condition, reached=reached)
            case PrerequisiteCondition():
                note = self._prerequisite_note(condition, reached=reached)
            case _:
                note = ConditionNote("malformed condition", "failed")
        if not reached:
            return attrs.evolve(note, verdict="not reached", reason=EARLIER_CONDITION)
        return _judged(note, condition, self.key, self._around, self.user)

    @property
    def _around(self) -> CompileContext:
        return CompileContext(self.snapshot.salt, self.snapshot.segments, self.snapshot.flags)

    def _segment_note(self, condition: SegmentCondition, *, reached: bool) -> ConditionNote:
        words = "IS NOT IN SEGMENT" if condition.negated else "IS IN SEGMENT"
        segments = self.snapshot.segments
        segment = segments[condition.index].definition if 0 <= condition.index < len(segments) else None
        if segment is None or isinstance(segment, Fault):
            return ConditionNote(f"User {words} number {condition.index}", "failed", comparator=words)
        inside: list[ConditionNote] = []
        for inner in segment.conditions if reached and self.user.present else ():
            # Evaluation stops here as well, so later steps may be broken.
            if any(note.verdict != "true" for note in inside):
                break
            note = (
                ConditionNote("malformed condition", "failed")
                if isinstance(inner, Fault)
                else _user_note(inner, self.user)
            )
            inside.append(_judged(note, inner, segment.name, self._around, self.user))
        return ConditionNote(
            f"User {words} {segment.name!r}", "skipped", _why_skipped(inside), comparator=words, inside=tuple(inside)
        )

    def _prerequisite_note(self, condition: PrerequisiteCondition, *, reached: bool) -> ConditionNote:
        words = "DOES NOT EQUAL" if condition.negated else "EQUALS"
        raw = condition.raw.get("v")
        values = [value for value in raw.values() if value is not None] if isinstance(raw, dict) else []
        says = f"Flag {condition.key!r} {words} {values[0]!r}" if values else f"Flag {condition.key!r} {words} nothing"
        asked = condition.key in self.snapshot.flags and reached
        inner = _explain(self.snapshot, condition.key, self.user, self.explained) if asked else None
        return ConditionNote(says, "skipped", comparator=words, prerequisite=inner)

    def _percentage(self, options: tuple[PercentageOption, ...] | Fault, where: str) -> PercentageNote | None:
        attribute = self.definition.attribute
        if isinstance(options, Fault):
            self.error = options.reason
            return PercentageNote(attribute, None, options.reason)
        if not options:
            return None
        # The same rule as ``percentage.default_text``.
        text = self.user.text.get(attribute, "" if attribute == "Identifier" else None)
        if not self.user.present or text is None:
            reason = "the attribute is missing" if self.user.present else NO_USER
            return PercentageNote(attribute, None, reason, _option_notes(options, None))
        place = bucket(self.key.encode(), text)
        chosen = options_by_bucket(options)[place]
        if chosen is None:
            return PercentageNote(attribute, place, "no option covers it", _option_notes(options, None))
        number = next(n for n, option in enumerate(options, 1) if option is chosen)
        self._serve(chosen.served, f"{where}option {number}")
        return PercentageNote(attribute, place, None, _option_notes(options, chosen))


def _option_notes(options: tuple[PercentageOption, ...], chosen: PercentageOption | None) -> tuple[OptionNote, ...]:
    notes, end = [], 0
    for option in options:
        start, end = end, end + option.percentage
        notes.append(OptionNote(option.percentage, start, end, _serves(option.served), option is chosen))
    return tuple(notes)


def _serves(served: ServedValue) -> str:
    value = served.value
    return f"nothing: {value.reason}" if isinstance(value, Fault) else shown(value, served.variation_id)


def _judged(note: ConditionNote, condition: Condition, key: str, context: CompileContext, user: User) -> ConditionNote:
    """Return the note with the verdict of the function that evaluation uses."""
    try:
        holds = condition_match(condition, key, context)(user)
    except EvaluationFailure as failure:
        return attrs.evolve(note, verdict="failed", reason=failure.message)
    if holds is None:
        return attrs.evolve(note, verdict="skipped", reason=note.reason if user.present else NO_USER)
    verdict: Verdict = "true" if holds else "false"
    return attrs.evolve(note, verdict=verdict, reason=None)


def _why_skipped(inside: list[ConditionNote]) -> str | None:
    return next((note.reason for note in inside if note.verdict == "skipped"), None)


def _user_note(condition: UserCondition, user: User) -> ConditionNote:
    comparator = comparator_of(condition)
    name = condition.attribute
    actual = user.text.get(name)
    if comparator is None:
        words = f"comparator {condition.comparator}"
        return ConditionNote(f"User.{name} {words}", "failed", attribute=name, comparator=words, actual=actual)
    operand = read_operand(condition, comparator)
    return ConditionNote(
        says=f"User.{name} {comparator.words} {_operand_text(operand, hashed=comparator.hashed)}",
        verdict="skipped",
        reason=_unreadable(condition.comparator, name, user),
        attribute=name,
        comparator=comparator.words,
        operator=condition.comparator,
        actual=actual,
    )


def _unreadable(number: int, name: str, user: User) -> str:
    """Return why a condition is skipped."""
    if name not in user.text:
        return "the attribute is missing"
    # Positions in ``comparators.COMPARATORS``: versions, then numbers and times; else only lists are unreadable.
    if 4 <= number <= 9:
        wanted, readable = "v", user.version(name) is not None
    elif 10 <= number <= 15 or number in {18, 19}:
        wanted, readable = "n", user.number(name) is not None
    else:
        wanted, readable = "l", user.items(name) is not None
    return f"the comparison value is not {_READ_AS[wanted]}" if readable else f"the attribute is not {_READ_AS[wanted]}"


def _operand_text(operand: object, *, hashed: bool) -> str:
    if isinstance(operand, tuple):
        if hashed:
            return f"[{amount(len(operand), 'hashed value')}]"
        more = len(operand) - VALUES_SHOWN
        listed = [repr(value) for value in operand[:VALUES_SHOWN]] + ([f"… {more} more"] if more > 0 else [])
        return f"[{', '.join(listed)}]"
    if isinstance(operand, str):
        return "<hashed value>" if hashed else repr(operand)
    return "<missing>" if operand is None else encode_number(float(str(operand))).decode()
