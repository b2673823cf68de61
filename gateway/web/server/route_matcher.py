"""From a request's head to its route: the same table and rules as the Klein path, without Klein."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from msgspec import Struct

from gateway.web.routes import Group
from gateway.web.server.http1 import REQUEST_LINE_LIMIT
from gateway.web.server.request_head import METHODS, PLAIN_LINE, parse_head
from gateway.web.server.request_target import decoded, parse
from gateway.web.server.unrouted import BAD_TARGET, NOT_FOUND, WHOLE_SERVER, not_allowed, redirect
from gateway.web.values import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.web.dispatch import BoundRoute, Dispatcher
    from gateway.web.server.request_target import Target

T = TypeVar("T")

PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")
CACHE_LIMIT = 512  # heads, fields of heads, and targets; a full cache is emptied, and frequent ones return at once
CACHED_GROUPS = frozenset({Group.CDN, Group.API, Group.OFREP})  # not streams: their targets contain the user
CACHED_LENGTH = 1024  # bytes of the longest head, or fields of one, that is cached: 0.5 MiB in each cache


Fields: TypeAlias = "tuple[Mapping[bytes, Sequence[bytes]], int]"  # header fields, and the length of the body


class RouteMatch(Struct, frozen=True):
    """A route, and its parameters in a request target."""

    bound: BoundRoute
    target: Target
    parameters: Mapping[str, str]


class RoutedHead(Struct, frozen=True):
    """Everything of a ``Call`` except the body and the client's address, and the route that answers it.

    Shared by all requests with the same head.
    """

    bound: BoundRoute
    method: str
    path: str
    parameters: Mapping[str, str]
    query: str
    headers: Mapping[bytes, Sequence[bytes]]
    length: int  # bytes of the body that follows


class RouteMatcher:
    """The enabled routes under one version of the settings; a reload makes a new matcher, so no cache is stale."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._exact = {bound.route.pattern: bound for bound in dispatcher.routes if "{" not in bound.route.pattern}
        patterns = [bound for bound in dispatcher.routes if "{" in bound.route.pattern]
        # Fixed words before parameters, and whole segments before the rest of a path: the order that Klein uses.
        patterns.sort(key=lambda bound: _rank(bound.route.pattern))
        self._patterns: dict[str, list[tuple[re.Pattern[str], BoundRoute]]] = defaultdict(list)
        for bound in patterns:  # each begins with a fixed word
            self._patterns[_word(bound.route.pattern)].append((_compiled(bound.route.pattern), bound))
        self._heads: dict[bytes, RoutedHead] = {}
        self._fields: dict[
            bytes, tuple[Mapping[bytes, Sequence[bytes]], int]
        ] = {}  # by the bytes of a head after its first line
        self._targets: dict[bytes, RouteMatch] = {}

    def match(self, raw: bytes) -> RoutedHead | None:
        """Return the route and the parts of a complete head; None if the request is not simple.

        Clients repeat their heads, so a head that is cached byte for byte is not parsed again.  Targets of streams are
        hardly ever repeated, but the fields behind them are.
        """
        head = self._heads.get(raw)
        if head is None:
            head = self._parse(raw)
            if head is not None and len(raw) <= CACHED_LENGTH and head.bound.route.group in CACHED_GROUPS:
                cache(self._heads, raw, head)
        return head

    def _parse(self, raw: bytes) -> RoutedHead | None:
        line = PLAIN_LINE.match(raw)
        known = None if line is None else self._fields.get(raw[line.end() :])
        if line is not None and known is not None and line.end() <= REQUEST_LINE_LIMIT:
            url: bytes = line[2]
            headers, length = known
        else:
            head = parse_head(raw)
            if head is None or head.length is None:
                return None
            url, headers, length = head.url, head.headers, head.length
            if line is not None and len(raw) - line.end() <= CACHED_LENGTH:
                cache(self._fields, raw[line.end() :], (headers, length))
        match = self._targets.get(url) or self._match_target(url)
        method = METHODS[raw[: raw.index(b" ")]]
        if match is None or method not in match.bound.route.methods:
            return None
        return RoutedHead(match.bound, method, match.target.path, match.parameters, match.target.query, headers, length)

    def _match_target(self, raw: bytes) -> RouteMatch | None:
        """Return the route of a raw request target; None if there is none, or the answer is a redirect or a refusal."""
        target = parse(raw)
        if not target.valid or target.redirect is not None:
            return None
        match = next(self._matches(target), None)
        if match is not None:
            self._keep(raw, match)
        return match

    def answer_unclean(self, method: str, target: Target, headers: Mapping[bytes, Sequence[bytes]]) -> Reply:
        """Return the answer to a path with empty or dot segments: a redirect to the path without them.

        It has the CORS headers of the clean path, without which no browser follows it from another origin.  A preflight
        is answered as that of the clean path, since browsers do not follow its redirect at all.
        """
        assert target.redirect is not None
        reply = redirect(method, target.redirect)
        match = next(self._matches(parse(target.redirect.encode("ascii"))), None)
        call = Call(method, target.path, headers=headers)
        if match is None:
            return self._dispatcher.without_route(call, reply)
        if method == "OPTIONS" and method in match.bound.route.methods:
            reply = Reply(204, match.bound.preflight)
        return match.bound.with_common_headers(call, reply)

    def resolve(self, method: str, raw: bytes, headers: Mapping[bytes, Sequence[bytes]]) -> RouteMatch | Reply:
        """Return the route of a request, or the answer to one that has none, as the Klein path does."""
        match = self._targets.get(raw)
        if match is not None and method in match.bound.route.methods:
            return match
        if raw == b"*" and method == "OPTIONS":
            return WHOLE_SERVER
        target = parse(raw)
        if not target.valid:
            return self.without_route(method, target, headers, BAD_TARGET)
        if target.redirect is not None:
            return self.answer_unclean(method, target, headers)
        allowed: set[str] = set()
        for match in self._matches(target):
            methods = match.bound.route.methods
            if method in methods or (method == "HEAD" and "GET" in methods):
                self._keep(raw, match)
                return match
            allowed.update(methods, ("HEAD",) if "GET" in methods else ())
        return self.without_route(method, target, headers, not_allowed(allowed) if allowed else NOT_FOUND)

    def without_route(
        self, method: str, target: Target, headers: Mapping[bytes, Sequence[bytes]], reply: Reply
    ) -> Reply:
        """Return ``reply`` to a request that has no route, or is refused before, with the headers of its section."""
        return self._dispatcher.without_route(Call(method, target.path, headers=headers), reply)

    def refusal(self, raw: bytes, headers: Mapping[bytes, Sequence[bytes]], reply: Reply) -> Reply:
        """Return ``reply`` to a request that is refused for its size or form, whatever of it has been read."""
        return self.without_route("", parse(raw), headers, reply)

    def _keep(self, raw: bytes, match: RouteMatch) -> None:
        if len(raw) <= CACHED_LENGTH and match.bound.route.group in CACHED_GROUPS:
            cache(self._targets, raw, match)

    def _matches(self, target: Target) -> Iterator[RouteMatch]:
        """Yield the routes of a path, the one that is preferred first."""
        bound = self._exact.get(target.path)
        if bound is not None:
            yield RouteMatch(bound, target, {})
        for pattern, bound in self._patterns.get(_word(target.path), ()):
            found = pattern.fullmatch(target.path)
            if found is not None:
                yield RouteMatch(bound, target, {name: decoded(value) for name, value in found.groupdict().items()})


class KleinOnlyMatcher(RouteMatcher):
    """Leaves every HTTP/1.1 request to the Klein path, which closes connections behind their answers at a stop."""

    def match(self, raw: bytes) -> RoutedHead | None:
        """Return None."""
        del raw
        return None


def cache(entries: dict[bytes, T], key: bytes, value: T) -> None:
    """Add an entry; a full cache is emptied first."""
    if len(entries) >= CACHE_LIMIT:
        entries.clear()
    entries[key] = value


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
