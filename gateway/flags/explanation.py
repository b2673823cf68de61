"""The explanation of a result as values, with forms for people and for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attr
import attrs

from gateway.flags.encoding import Value, encode_value

if TYPE_CHECKING:
    from collections.abc import Iterator

Verdict = Literal["true", "false", "skipped", "failed", "not reached"]

_INDENT = "  "


@attrs.frozen
class ConditionNote:
    """A condition, whether it holds, and why it was skipped, failed or not reached."""

    says: str
    verdict: Verdict
    reason: str | None = None
    attribute: str | None = None
    comparator: str | None = None
    operator: int | None = None  # the comparator's number in the config JSON, for conditions on attributes
    actual: str | None = None  # the user's attribute as the rule parses it
    inside: tuple[ConditionNote, ...] = ()  # of a segment
    prerequisite: Explanation | None = None  # the explanation of the prerequisite

    def lines(self) -> Iterator[str]:
        """Yield the note as lines."""
        yield f"{self.says} → {self.verdict}{_because(self._remark())}"
        for note in self.inside:
            yield from indented(note.lines())
        if self.prerequisite is not None:
            yield from indented(self.prerequisite.lines())

    def _remark(self) -> str | None:
        seen = None if self.actual is None else f"it is {self.actual!r}"
        return "; ".join(part for part in (seen, self.reason) if part) or None


@attrs.frozen
class OptionNote:
    """A percentage option and its buckets, from ``start`` up to and without ``end``."""

    percentage: int
    start: int
    end: int
    serves: str
    decided: bool


@attrs.frozen
class PercentageNote:
    """The percentage options of a rule or of the setting, and the user's ``bucket`` (0 to 99)."""

    attribute: str
    bucket: int | None
    reason: str | None  # why no option was chosen
    options: tuple[OptionNote, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the note as lines."""
        if self.bucket is None:
            yield f"percentage options by User.{self.attribute}{_because(self.reason)}"
        else:
            yield f"percentage options by User.{self.attribute}: bucket {self.bucket}{_because(self.reason)}"
        for option in self.options:
            mark = "  ◄ decides" if option.decided else ""
            yield f"{_INDENT}{option.percentage}% [{option.start}, {option.end}): {option.serves}{mark}"


@attrs.frozen
class RuleNote:
    """A targeting rule; ``verdict`` of all its conditions; with ``decided`` its value was served."""

    number: int  # counted from 1
    verdict: Verdict
    decided: bool
    serves: str | None  # None: percentage options, or nothing
    conditions: tuple[ConditionNote, ...] = ()
    percentage: PercentageNote | None = None
    reason: str | None = None

    def lines(self) -> Iterator[str]:
        """Yield the note as lines."""
        mark = "  ◄ decides" if self.decided else ""
        serves = "" if self.serves is None else f", serving {self.serves}"
        yield f"rule {self.number}{serves} → {_RULE_WORDS[self.verdict]}{_because(self.reason)}{mark}"
        for note in self.conditions:
            yield from indented(note.lines())
        if self.percentage is not None:
            yield from indented(self.percentage.lines())


_RULE_WORDS = {
    "true": "its conditions hold",
    "false": "no match",
    "skipped": "skipped",
    "failed": "cannot be evaluated",
    "not reached": "not reached",
}


@attrs.frozen
class Explanation:
    """The result of one flag for one user, equal to that of ``Snapshot.evaluate``, and its steps.

    ``decided_by`` is ``rule 2``, ``rule 2, option 1``, ``option 3``, ``default value`` or ``error``.
    ``repeated`` marks a prerequisite whose steps are in an earlier place of the same explanation, and only there.
    It contains the user's attributes, so it is for operators, not for clients; hashed values are counted, not shown.
    """

    key: str
    value: Value | None
    variation_id: str
    matched: bool
    error: str | None
    decided_by: str
    default: str  # served if nothing else decides
    rules: tuple[RuleNote, ...] = ()
    percentage: PercentageNote | None = None
    repeated: bool = False

    def text(self) -> str:
        """Return the explanation as text of several lines."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the explanation as lines."""
        where = _because("explained above" if self.repeated else None)
        if self.error is None:
            yield f"{self.key} = {shown(self.value, self.variation_id)}, decided by {self.decided_by}{where}"
        else:
            yield f"{self.key} has no value: {self.error}{where}"
        if self.repeated:
            return
        for rule in self.rules:
            yield from indented(rule.lines())
        if self.percentage is not None:
            yield from indented(self.percentage.lines())
        yield f"{_INDENT}default {self.default}{'  ◄ decides' if self.decided_by == 'default value' else ''}"

    def as_dict(self) -> dict[str, object]:
        """Return the explanation as plain values for a JSON encoder."""
        return attr.asdict(self, retain_collection_types=False)  # the older name: it can turn tuples into lists


def shown(value: Value | None, variation_id: str) -> str:
    """Return a served value as JSON text, with its variation ID if it has one."""
    variant = f" (variation {variation_id!r})" if variation_id else ""
    return encode_value(value).decode() + variant


def indented(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines indented by one level."""
    return (_INDENT + line for line in lines)


def _because(reason: str | None) -> str:
    return "" if reason is None else f" ({reason})"
