"""The configs that were current in this process, and the calls that wait for one that was not yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_COUNT_LIMIT = 1_000  # two names per config: hours of a very active product; one that was dropped costs one wait
NAME_LENGTH_LIMIT = 256  # characters; an upstream may send any ETag


class KnownConfigs:
    """Names (tags and ETags) of configs; beyond the limit the oldest is dropped."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def __contains__(self, name: object) -> bool:
        """Whether a config of this name is or was current."""
        return name in self._names

    def add(self, *names: str) -> None:
        """Add the ``names`` of the config that is now current, and call what waits for them."""
        for name in names:
            if len(name) > NAME_LENGTH_LIMIT:
                continue
            self._names.pop(name, None)
            self._names[name] = None
            if len(self._names) > NAME_COUNT_LIMIT:
                del self._names[next(iter(self._names))]
            for call in self._waiting.pop(name, ()):
                call()

    def wait_for(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call ``call`` once ``name`` is added; return a function that cancels this, also when it is too late."""
        self._waiting.setdefault(name, []).append(call)

        def cancel() -> None:
            waiting = self._waiting.get(name)
            if waiting is not None and call in waiting:
                waiting.remove(call)
                if not waiting:
                    del self._waiting[name]

        return cancel
