"""``GET /api/v1/clients``: which clients send requests, how they fare, and which flags they name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

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
    taken: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], float] = {}
    for each in (each for part in parts for each in part.agents):
        key = each.user_agent, each.sdk
        taken[key] += each.taken
        last[key] = max(last.get(key, 0.0), each.last)
    latest = sorted(last, key=lambda key: -last[key])[:AGENTS_SHOWN]
    return [Agent(printable(key[0]), printable(key[1]), taken[key], iso(last[key])) for key in latest]


def _unknown(parts: Sequence[SeenClients]) -> list[UnknownFlag]:
    count: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], float] = {}
    for each in (each for part in parts for each in part.unknown):
        key = each.sdk_id, each.key
        count[key] += each.requests
        last[key] = max(last.get(key, 0.0), each.last)
    latest = sorted(last, key=lambda key: -last[key])[:UNKNOWN_SHOWN]
    return [UnknownFlag(key[0], printable(key[1]), count[key], iso(last[key])) for key in latest]


def _keys(parts: Sequence[SeenClients]) -> list[KeyUse]:
    requests: Counter[tuple[str, int]] = Counter()
    last: dict[tuple[str, int], float] = {}
    for each in (each for part in parts for each in part.keys):
        key = each.caller, each.number
        requests[key] += each.requests
        last[key] = max(last.get(key, 0.0), each.last)
    latest = sorted(last, key=lambda key: -last[key])
    return [KeyUse(printable(key[0]), key[1] == 1, requests[key], iso(last[key])) for key in latest]


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
