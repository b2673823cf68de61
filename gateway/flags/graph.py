"""The graph of prerequisites: compile order, circles, and the flags that a change affects."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway.flags.definition import Fault, FlagDefinition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.flags.flag import Flag

CYCLE_SHOWN = 20  # keys of a circle in its error; more would make it unreadable


def compile_order(definitions: Mapping[str, FlagDefinition | Fault]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Return the keys ordered so that each follows its prerequisites, and separately those that reach a circle.

    Each of the latter is mapped to its direct prerequisites that reach a circle.
    """
    asked = {
        key: () if isinstance(definition, Fault) else definition.prerequisites
        for key, definition in definitions.items()
    }
    waiting = {key: {name for name in names if name in definitions} for key, names in asked.items()}
    askers: dict[str, list[str]] = {}
    for key, names in waiting.items():
        for name in names:
            askers.setdefault(name, []).append(key)
    ready = deque(key for key, names in waiting.items() if not names)
    order = []
    while ready:
        key = ready.popleft()
        order.append(key)
        for asker in askers.get(key, ()):
            waiting[asker].discard(key)
            if not waiting[asker]:
                ready.append(asker)
    circular = {key: tuple(name for name in asked[key] if name in names) for key, names in waiting.items() if names}
    return order, circular


def cycle_text(key: str, circular: Mapping[str, tuple[str, ...]]) -> str:
    """Return the error of a flag that reaches a circle: the path until a flag is repeated."""
    path = [key]
    while path[-1] not in path[:-1]:
        path.append(circular[path[-1]][0])
        if len(path) > CYCLE_SHOWN:
            path.append("…")
            break
    return f"circular dependency detected between the following depending flags: [{' -> '.join(path)}]"


def affected_by(changed: Iterable[str], *flags: Mapping[str, Flag]) -> set[str]:
    """Return the keys that depend on a changed key, directly or through others, in any of the given configs."""
    askers: dict[str, list[str]] = {}
    for config in flags:
        for key, flag in config.items():
            for name in flag.prerequisites:
                askers.setdefault(name, []).append(key)
    found: set[str] = set()
    waiting = list(changed) if askers else []
    while waiting:
        for asker in askers.get(waiting.pop(), ()):
            if asker not in found:
                found.add(asker)
                waiting.append(asker)
    return found
