"""From a request's head to what is to be done, without Klein but by the same table and the same rules."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from gateway.web.routes import Group
from gateway.web.server.request_head import METHODS, parse_head
from gateway.web.server.request_target import decoded, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.web.dispatch import BoundRoute, Dispatcher
    from gateway.web.server.request_target import Target

T = TypeVar("T")

PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")
KNOWN_LIMIT = 512  # heads, and targets, that are remembered; of more all are forgotten, and the busy ones come back
REPEATED = frozenset({Group.CDN, Group.API, Group.OFREP})  # the target of a stream carries its user, and is not kept
KNOWN_LENGTH = 1024  # bytes of a head that is worth remembering: 0.5 MiB in all


class Match(Struct, frozen=True):
    """A route, and what the target said about its parameters."""

    bound: BoundRoute
    target: Target
    parameters: Mapping[str, str]


class Plan(Struct, frozen=True):
    """What a head asks for: everything of a ``Call`` but the body and the peer, and the route that answers it.

    One plan may serve many requests: nothing of it may be changed.
    """

    bound: BoundRoute
    method: str
    path: str
    parameters: Mapping[str, str]
    query: str
    headers: Mapping[bytes, Sequence[bytes]]
    length: int  # bytes of the body that follows


class RouteMatcher:
    """The enabled routes under one state of the settings; a reload has another one, so nothing remembered is stale."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._exact = {bound.route.pattern: bound for bound in dispatcher.routes if "{" not in bound.route.pattern}
        patterns = [bound for bound in dispatcher.routes if "{" in bound.route.pattern]
        # Fixed words before parameters, and whole segments before the rest of a path: the order that Klein uses.
        patterns.sort(key=lambda bound: _rank(bound.route.pattern))
        self._patterns: dict[str, list[tuple[re.Pattern[str], BoundRoute]]] = defaultdict(list)
        for bound in patterns:  # each begins with a fixed word
            self._patterns[_word(bound.route.pattern)].append((_compiled(bound.route.pattern), bound))
        self._known: dict[bytes, Plan] = {}
        self._targets: dict[bytes, Match] = {}

    def plan(self, raw: bytes) -> Plan | None:
        """Return the plan for a whole head; None when the reference carrier must judge it.

        Clients repeat themselves: a head that came before, byte for byte, is not read again.
        """
        plan = self._known.get(raw)
        if plan is None:
            plan = self._read(raw)
            if plan is not None and len(raw) <= KNOWN_LENGTH and plan.bound.route.group in REPEATED:
                remember(self._known, raw, plan)
        return plan

    def _read(self, raw: bytes) -> Plan | None:
        head = parse_head(raw)
        length = None if head is None else head.length
        if head is None or length is None:
            return None
        match = self._targets.get(head.url) or self._match(head.url)
        method = METHODS[raw[: raw.index(b" ")]]
        if match is None or method not in match.bound.route.methods:
            return None
        return Plan(match.bound, method, match.target.path, match.parameters, match.target.query, head.headers, length)

    def _match(self, raw: bytes) -> Match | None:
        """Return the route of a raw request target; None when there is none, or it must be redirected or refused."""
        target = parse(raw)
        if not target.valid or target.redirect is not None:
            return None
        match = self._find(target)
        if match is not None and len(raw) <= KNOWN_LENGTH and match.bound.route.group in REPEATED:
            remember(self._targets, raw, match)
        return match

    def _find(self, target: Target) -> Match | None:
        bound = self._exact.get(target.path)
        if bound is not None:
            return Match(bound, target, {})
        for pattern, bound in self._patterns.get(_word(target.path), ()):
            found = pattern.fullmatch(target.path)
            if found is not None:
                return Match(bound, target, {name: decoded(value) for name, value in found.groupdict().items()})
        return None


def remember(known: dict[bytes, T], key: bytes, value: T) -> None:
    """Keep ``value``; where there is no room, forget all the others: what is asked for often is back at once."""
    if len(known) >= KNOWN_LIMIT:
        known.clear()
    known[key] = value


def _word(path: str) -> str:
    """Return the first segment of a path."""
    return path[1:].partition("/")[0]


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
