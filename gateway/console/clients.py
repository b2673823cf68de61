"""``GET /api/v1/clients``: which clients send requests, how they fare, and which flags they name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.console.client_schema import Agent, ClientsAnswer, KeyUse, RouteUse, UnaskedFlags, UnknownFlag
from gateway.text import iso, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.console.facade import Facade
    from gateway.telemetry import SeenClients

AGENTS_SHOWN: Final = 200
UNKNOWN_SHOWN: Final = 500
UNASKED_SHOWN: Final = 500
ALL_FLAGS: Final = ("eval-all", "/evaluate/flags", "configuration-files")  # parts of the patterns of such routes

_Key = TypeVar("_Key", bound=tuple[object, ...])


async def clients(facade: Facade) -> ClientsAnswer:
    """Return what all processes have seen."""
    parts, missing = await facade.server.seen_clients()
    answers = facade.metrics.answers()
    return ClientsAnswer(
        agents=_agents(parts),
        routes=_routes(answers),
        unknown_flags=_unknown(parts),
        unasked_flags=_unasked(facade, parts),
        keys=_keys(parts),
        all_flags_requests=sum(count for route, _, _, count in answers if _shows_all_flags(route)),
        missing_workers=missing,
    )


def _agents(parts: Sequence[SeenClients]) -> list[Agent]:
    seen = (((each.user_agent, each.sdk), each.taken, each.last) for part in parts for each in part.agents)
    return [
        Agent(printable(name), printable(sdk), count, last) for (name, sdk), count, last in _latest(seen, AGENTS_SHOWN)
    ]


def _unknown(parts: Sequence[SeenClients]) -> list[UnknownFlag]:
    seen = (((each.sdk_id, each.key), each.requests, each.last) for part in parts for each in part.unknown)
    return [UnknownFlag(sdk, printable(key), count, last) for (sdk, key), count, last in _latest(seen, UNKNOWN_SHOWN)]


def _keys(parts: Sequence[SeenClients]) -> list[KeyUse]:
    seen = (((each.caller, each.number), each.requests, each.last) for part in parts for each in part.keys)
    return [KeyUse(printable(caller), number == 1, count, last) for (caller, number), count, last in _latest(seen)]


def _latest(seen: Iterable[tuple[_Key, int, float]], limit: int | None = None) -> list[tuple[_Key, int, str]]:
    """Return each key of the processes once, with the sum of its counts and its last time, the latest first."""
    counts: Counter[_Key] = Counter()
    last: dict[_Key, float] = {}
    for key, count, at in seen:
        counts[key] += count
        last[key] = max(last.get(key, 0.0), at)
    return [(key, counts[key], iso(last[key])) for key in sorted(last, key=lambda key: -last[key])[:limit]]


def _unasked(facade: Facade, parts: Sequence[SeenClients]) -> list[UnaskedFlags]:
    found = []
    for sdk in facade.registry.sdks:
        if sdk.snapshot is not None:
            asked = {key for part in parts for key in part.asked.get(sdk.id, ())}
            keys = [key for key in sdk.snapshot.keys if key not in asked]
            found.append(UnaskedFlags(sdk.id, keys[:UNASKED_SHOWN], len(keys)))
    return found


def _routes(answers: Iterable[tuple[str, str, int, int]]) -> list[RouteUse]:
    requests: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for route, _, status, count in answers:
        requests[route] += count
        bad[route] += count if 400 <= status < 500 else 0
        failed[route] += count if status >= 500 else 0
    return [
        RouteUse(route, count, bad[route], failed[route], round((bad[route] + failed[route]) / max(1, count), 6))
        for route, count in requests.most_common()
    ]


def _shows_all_flags(route: str) -> bool:
    return any(part in route for part in ALL_FLAGS) and not route.endswith("{key}")
