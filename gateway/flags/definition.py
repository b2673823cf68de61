"""Parse the definition of a flag into values; a broken part becomes a ``Fault`` in its place, and nothing raises.

Only evaluations that reach a fault fail, so that a broken rule does not break the rest of the flag.
Absent numbers count as zero and absent lists as empty, as in the Go SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import attrs

if TYPE_CHECKING:
    from gateway.flags.encoding import Value

Json = Mapping[str, object]

NO_PERCENTAGE = "percentage options are malformed"


@attrs.frozen
class Fault:
    """A part that cannot be used; the reason contains parts of the config only."""

    reason: str


@attrs.frozen
class SettingType:
    """A setting type: the field of its values, and its name."""

    field: str
    name: str


SETTING_TYPES = (
    SettingType("b", "bool"),
    SettingType("s", "string"),
    SettingType("i", "int"),
    SettingType("d", "double"),
)


@attrs.frozen
class ServedValue:
    """A value to serve, or a fault."""

    value: Value | Fault
    variation_id: str = ""


@attrs.frozen
class PercentageOption:
    """A share of the users in percent, and the value for them."""

    percentage: int
    served: ServedValue


@attrs.frozen
class UserCondition:
    """An attribute and the operand that it is compared with, which the comparator parses."""

    attribute: str
    comparator: int
    raw: Json


@attrs.frozen
class SegmentCondition:
    """Whether the user is in the segment at ``index`` (or, negated, is not)."""

    index: int
    negated: bool


@attrs.frozen
class PrerequisiteCondition:
    """Whether another flag's value equals the one in ``raw`` (or, negated, does not)."""

    key: str
    negated: bool
    raw: Json


Condition = UserCondition | SegmentCondition | PrerequisiteCondition | Fault


@attrs.frozen
class TargetingRule:
    """Conditions that must all hold, and the value or percentage options to serve then."""

    conditions: tuple[Condition, ...]
    served: ServedValue | None
    options: tuple[PercentageOption, ...] | Fault


@attrs.frozen
class FlagDefinition:
    """The parsed definition of a flag."""

    setting_type: SettingType | Fault
    attribute: str  # the attribute that percentage options hash
    rules: tuple[TargetingRule, ...]
    options: tuple[PercentageOption, ...] | Fault
    served: ServedValue

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of every rule, in order."""
        return tuple(condition for rule in self.rules for condition in rule.conditions)

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The keys of the prerequisites, each once, in order."""
        found = (c.key for c in self.conditions if isinstance(c, PrerequisiteCondition))
        return tuple(dict.fromkeys(found))


@attrs.frozen
class SegmentDefinition:
    """A named segment of users: its conditions must all hold."""

    name: str
    conditions: tuple[UserCondition | Fault, ...]


def parse_flag(definition: object) -> FlagDefinition | Fault:
    """Parse one setting; a Fault only if nothing of it can be evaluated."""
    if not isinstance(definition, dict):
        return Fault("the setting is not an object")
    rules, attribute = _list(definition, "r"), definition.get("a")
    if rules is None:
        return Fault("targeting rules are not a list")
    if not all(isinstance(rule, dict) for rule in rules):
        return Fault("a targeting rule is not an object")
    if not isinstance(attribute, str | None):
        return Fault("the percentage attribute is not a string")
    setting_type = _setting_type(definition)
    return FlagDefinition(
        setting_type=setting_type,
        attribute=attribute or "Identifier",
        rules=tuple(_rule(cast("Json", rule), setting_type) for rule in rules),
        options=_options(definition, setting_type),
        served=_served(definition, setting_type),
    )


def parse_segment(definition: object) -> SegmentDefinition | Fault:
    """Parse one segment; a Fault if nothing of it can be evaluated."""
    if not isinstance(definition, dict):
        return Fault("the segment is not an object")
    name, conditions = definition.get("n"), _list(definition, "r")
    if not isinstance(name, str | None) or conditions is None:
        return Fault("the segment is malformed")
    return SegmentDefinition(name or "", tuple(_user_condition(condition) for condition in conditions))


def typed_value(raw: object, setting_type: SettingType | Fault) -> Value | Fault:
    """Return the value of a ``v`` object for a setting type, or the reason why it has none."""
    if isinstance(setting_type, Fault):
        return setting_type
    if raw is None:
        return Fault("setting value is nil")
    value = raw.get(setting_type.field) if isinstance(raw, dict) else None
    wrong = Fault(f"setting value is not of the expected type '{setting_type.name}'")
    if value is None:
        return wrong
    match setting_type.field:
        case "b":
            return value if isinstance(value, bool) else wrong
        case "s":
            return value if isinstance(value, str) else wrong
        case "i":
            whole = _whole(value)
            return wrong if whole is None else whole
        case _:
            number = json_number(value)
            return wrong if number is None else number


def json_number(value: object) -> float | None:
    """Return a JSON number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _setting_type(definition: Json) -> SettingType | Fault:
    number = _whole(definition.get("t"))
    return (
        SETTING_TYPES[number]
        if number is not None and 0 <= number < len(SETTING_TYPES)
        else Fault("setting type is unsupported")
    )


def _whole(value: object) -> int | None:
    """Return a JSON integer; zero if it is absent, None for anything else."""
    if value is None:
        return 0
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _list(raw: Json, field: str) -> list[object] | None:
    value = raw.get(field)
    if value is None:
        return []
    return value if isinstance(value, list) else None


def _served(raw: object, setting_type: SettingType | Fault) -> ServedValue:
    if not isinstance(raw, dict):
        return ServedValue(Fault("the served value is not an object"))
    variation_id = raw.get("i")
    if not isinstance(variation_id, str | None):
        return ServedValue(Fault("the variation ID is not a string"))
    return ServedValue(typed_value(raw.get("v"), setting_type), variation_id or "")


def _options(raw: Json, setting_type: SettingType | Fault) -> tuple[PercentageOption, ...] | Fault:
    entries = _list(raw, "p")
    if entries is None:
        return Fault(NO_PERCENTAGE)
    options = []
    for entry in entries:
        percentage = _whole(entry.get("p")) if isinstance(entry, dict) else None
        if percentage is None:
            return Fault(NO_PERCENTAGE)
        options.append(PercentageOption(percentage, _served(entry, setting_type)))
    return tuple(options)


def _rule(raw: Json, setting_type: SettingType | Fault) -> TargetingRule:
    conditions = _list(raw, "c")
    served = raw.get("s")
    return TargetingRule(
        conditions=(Fault("conditions are not a list"),)
        if conditions is None
        else tuple(_condition(condition) for condition in conditions),
        served=None if served is None else _served(served, setting_type),
        options=_options(raw, setting_type),
    )


def _condition(raw: object) -> Condition:
    if isinstance(raw, dict):
        for field, read in (("u", _user_condition), ("s", _segment_condition), ("p", _prerequisite_condition)):
            inner = raw.get(field)
            if inner is not None:
                return read(inner)
    return Fault("condition isn't a type of user, segment, or prerequisite condition")


def _user_condition(raw: object) -> UserCondition | Fault:
    if not isinstance(raw, dict):
        return Fault("the user condition is not an object")
    attribute, comparator = raw.get("a"), _whole(raw.get("c"))
    if not isinstance(attribute, str | None):
        return Fault("comparison attribute is not a string")
    if comparator is None:
        return Fault("comparison operator is invalid")
    return UserCondition(attribute or "", comparator, raw)


def _segment_condition(raw: object) -> SegmentCondition | Fault:
    if not isinstance(raw, dict):
        return Fault("the segment condition is not an object")
    index, comparator = _whole(raw.get("s")), _whole(raw.get("c"))
    if index is None:
        return Fault("segment reference is invalid")
    if comparator not in {0, 1}:
        return Fault("comparison operator is invalid")
    return SegmentCondition(index, comparator == 1)


def _prerequisite_condition(raw: object) -> PrerequisiteCondition | Fault:
    if not isinstance(raw, dict):
        return Fault("the prerequisite condition is not an object")
    key, comparator = raw.get("f"), _whole(raw.get("c"))
    if not isinstance(key, str):
        return Fault("prerequisite flag key is missing or invalid")
    if comparator not in {0, 1}:
        return Fault("comparison operator is invalid")
    return PrerequisiteCondition(key, comparator == 1, raw)
