"""The graph of prerequisites: compile order, circles, and the flags that a change affects."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway.flags.definition import Fault, FlagDefinition
from gateway.flags.steps import CHEAP

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from gateway.flags.flag import Flag

CYCLE_SHOWN = 20  # keys of a circle in its error; more would make it unreadable


Order = tuple[list[str], dict[str, tuple[str, ...]]]


def compile_order_in_steps(definitions: Mapping[str, FlagDefinition | Fault]) -> Generator[None, None, Order]:
    """Return the keys ordered so that each follows its prerequisites, and separately those that reach a circle.

    Each of the latter is mapped to its direct prerequisites that reach a circle.
    """
    waiting: dict[str, set[str]] = {}  # only flags with prerequisites, which few have
    askers: dict[str, list[str]] = {}
    ready: deque[str] = deque()
    for number, (key, definition) in enumerate(definitions.items(), 1):
        names = _asked(definition)
        found = {name for name in names if name in definitions} if names else None
        if found:
            waiting[key] = found
            for name in found:
                askers.setdefault(name, []).append(key)
        else:
            ready.append(key)
        if number % CHEAP == 0:
            yield
    order = []
    while ready:
        key = ready.popleft()
        order.append(key)
        for asker in askers.get(key, ()):
            waiting[asker].discard(key)
            if not waiting[asker]:
                del waiting[asker]
                ready.append(asker)
        if len(order) % CHEAP == 0:
            yield
    return order, {
        key: tuple(name for name in _asked(definitions[key]) if name in names) for key, names in waiting.items()
    }


def _asked(definition: FlagDefinition | Fault) -> tuple[str, ...]:
    return () if isinstance(definition, Fault) else definition.prerequisites


def cycle_text(key: str, circular: Mapping[str, tuple[str, ...]]) -> str:
    """Return the error of a flag that reaches a circle: the path until a flag is repeated."""
    path = [key]
    while path[-1] not in path[:-1]:
        path.append(circular[path[-1]][0])
        if len(path) > CYCLE_SHOWN:
            path.append("…")
            break
    return f"circular dependency detected between the following depending flags: [{' -> '.join(path)}]"


def affected_by_in_steps(changed: Iterable[str], *flags: Mapping[str, Flag]) -> Generator[None, None, set[str]]:
    """Return the keys that depend on a changed key, directly or through others, in any of the given configs."""
    askers: dict[str, list[str]] = {}
    for config in flags:
        for number, (key, flag) in enumerate(config.items(), 1):
            for name in flag.prerequisites:
                askers.setdefault(name, []).append(key)
            if number % CHEAP == 0:
                yield
    found: set[str] = set()
    waiting = list(changed) if askers else []
    taken = 0
    while waiting:
        taken += 1
        if taken % CHEAP == 0:
            yield
        for asker in askers.get(waiting.pop(), ()):
            if asker not in found:
                found.add(asker)
                waiting.append(asker)
    return found
