"""The conversion of one neighbour's settings, by its table."""

from __future__ import annotations

from typing import Final

import attrs

from gateway.migration import configcat_proxy, go_feature_flag, launchdarkly_relay, unleash_edge
from gateway.migration.draft import Draft, Note, Path, dotted
from gateway.migration.neighbour import Always, Neighbour, NoEqual, Rule, To
from gateway.migration.values import Unusable
from gateway.migration.yaml_text import written

NEIGHBOURS: Final[dict[str, Neighbour]] = {
    neighbour.name: neighbour
    for neighbour in (
        configcat_proxy.NEIGHBOUR,
        go_feature_flag.NEIGHBOUR,
        unleash_edge.NEIGHBOUR,
        launchdarkly_relay.NEIGHBOUR,
    )
}


@attrs.frozen
class Imported:
    """The result: the text of the settings file, and how many settings have an option and how many have none."""

    text: str
    taken: int
    no_equal: int
    left_out: int  # unknown, or with a value that cannot be used


def convert(neighbour: Neighbour, text: str) -> Imported:
    """Return the settings of a neighbour as a settings file of this gateway.

    :raises Unreadable: if the text is not in the neighbour's format
    """
    draft = Draft()
    _walk(_Table(neighbour), draft, neighbour.read(text), ())
    try:
        neighbour.finish(draft)
    except Unusable as error:
        draft.unusable.append(Note("options that belong together", str(error)))
    taken = {entry.source for entry in draft.entries.values() if entry.source}
    return Imported(
        text=written(draft, neighbour),
        taken=len(taken) + len(draft.always),
        no_equal=len(draft.no_equal),
        left_out=len(draft.unknown) + len(draft.unusable),
    )


class _Table:
    """The rules of a neighbour, by patterns in parts."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._same = neighbour.same_name
        self._rules = {
            tuple(self._same(part) for part in name.split(".")): rule for name, rule in neighbour.rules.items()
        }

    def find(self, path: Path) -> tuple[Rule, list[str | int]] | None:
        """Return the rule for a path and what each ``*`` matched; a name has priority over ``*``."""
        parts = [part if isinstance(part, int) else self._same(part) for part in path]
        found = None
        for pattern, rule in self._rules.items():
            pairs = list(zip(pattern, parts, strict=False))
            if len(pattern) == len(parts) and all(wanted in {"*", part} for wanted, part in pairs):
                matched = [path[at] for at, wanted in enumerate(pattern) if wanted == "*"]
                if found is None or len(matched) < len(found[1]):
                    found = rule, matched
        return found


def _walk(table: _Table, draft: Draft, value: object, path: Path) -> None:
    """Apply the first rule on the way from the root to each value."""
    found = table.find(path) if path else None
    if found is not None:
        _apply(draft, *found, path, value)
    elif isinstance(value, dict):
        for name, below in value.items():
            _walk(table, draft, below, (*path, str(name)))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _walk(table, draft, item, (*path, index))
    elif value is not None:
        draft.unknown.append(dotted(path))


def _apply(draft: Draft, rule: Rule, matched: list[str | int], path: Path, value: object) -> None:
    name = dotted(path)
    try:
        match rule:
            case NoEqual(reason):
                draft.no_equal.append(Note(name, reason))
            case Always(reason):
                draft.always.append(Note(name, reason))
            case To(target, convert_value, remark):
                if value is not None:
                    names = iter(matched)
                    option = tuple(next(names) if part == "*" else part for part in target.split("."))
                    draft.set(option, convert_value(value), name, remark)
            case _:
                rule(draft, path, value)
    except Unusable as error:
        draft.unusable.append(Note(name, str(error)))
