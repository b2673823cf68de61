"""Which configs this process has had, by tag and by ETag, and who waits for one that it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN_LIMIT = 1_000  # names remembered, two per config: hours of the busiest product; a forgotten one costs one wait
NAME_LIMIT = 256  # characters of a name that is worth remembering; an upstream may send any ETag


class KnownConfigs:
    """Names of configs, oldest first; at the bound the oldest is forgotten."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def __contains__(self, name: object) -> bool:
        """Whether a config of this name is, or was, the current one."""
        return name in self._known

    def add(self, *names: str) -> None:
        """Remember the ``names`` of a config that is now current, and call whoever waits for one of them."""
        for name in names:
            if len(name) > NAME_LIMIT:
                continue
            self._known.pop(name, None)
            self._known[name] = None
            if len(self._known) > KNOWN_LIMIT:
                del self._known[next(iter(self._known))]
            for call in self._waiting.pop(name, ()):
                call()

    def wait_for(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call ``call`` once ``name`` is learned; what is returned, called, calls that off and is safe to call late."""
        self._waiting.setdefault(name, []).append(call)

        def forget() -> None:
            waiting = self._waiting.get(name)
            if waiting is not None and call in waiting:
                waiting.remove(call)
                if not waiting:
                    del self._waiting[name]

        return forget
