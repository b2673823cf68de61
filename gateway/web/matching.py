"""Finds the route of a request without Klein, by the same table and the same rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.web.target import Target, decoded, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.web.web import Bound, Web

PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")
KNOWN_LIMIT = 4096  # targets that are remembered; beyond it they are matched anew each time
KNOWN_LENGTH = 256  # bytes of a target that is worth remembering; streams carry their user and never come twice


@frozen
class Match:
    """A route, and what the path said about its parameters."""

    bound: Bound
    target: Target
    parameters: Mapping[str, str]


class Matcher:
    """The enabled routes as one decision; ``find`` gives None for whatever the reference carrier must see itself."""

    def __init__(self, web: Web) -> None:
        self._exact = {bound.route.pattern: bound for bound in web.bound if "{" not in bound.route.pattern}
        patterns = [bound for bound in web.bound if "{" in bound.route.pattern]
        # Fixed words before parameters, and whole segments before the rest of a path: the order that Klein uses.
        patterns.sort(key=lambda bound: _rank(bound.route.pattern))
        self._patterns = [(_compiled(bound.route.pattern), bound) for bound in patterns]
        self._known: dict[bytes, Match | None] = {}

    def find(self, raw: bytes) -> Match | None:
        """Return the match of a raw request target; None when no route matches or it must be redirected or refused."""
        if raw in self._known:
            return self._known[raw]
        match = self._search(parse(raw))
        if len(raw) <= KNOWN_LENGTH and len(self._known) < KNOWN_LIMIT and b"?" not in raw:
            self._known[raw] = match
        return match

    def _search(self, target: Target) -> Match | None:
        if not target.valid or target.redirect is not None:
            return None
        bound = self._exact.get(target.path)
        if bound is not None:
            return Match(bound, target, {})
        for pattern, bound in self._patterns:
            found = pattern.fullmatch(target.path)
            if found is not None:
                return Match(bound, target, {name: decoded(value) for name, value in found.groupdict().items()})
        return None


def _rank(pattern: str) -> tuple[object, ...]:
    return tuple(
        (2 if part.endswith("...}") else 1 if part.startswith("{") else 0, part) for part in pattern.split("/")
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    last = 0
    for part in PARAMETER.finditer(pattern):
        parts += (re.escape(pattern[last : part.start()]), f"(?P<{part[1]}>{'.+' if part[2] else '[^/]+'})")
        last = part.end()
    return re.compile("".join(parts) + re.escape(pattern[last:]))
