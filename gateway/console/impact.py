"""``POST /api/v1/impact``: which users a candidate config would show something else.

body ──► candidate, compiled in slices ──► Server.forecast, in each process ──► merge ──► ImpactAnswer
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.console.explaining import find_sdk, find_snapshot
from gateway.console.schema import (
    Audience,
    Connected,
    ExampleChange,
    ExampleUser,
    FlagImpact,
    ImpactAnswer,
    ImpactBody,
    Served,
    ValueChange,
)
from gateway.flags import PERSONAL_ATTRIBUTES, ConfigError, difference_in_steps, with_flag_in_steps
from gateway.slices import in_slices, in_turns
from gateway.streams import merge
from gateway.telemetry import RequestError
from gateway.upstream import compile_candidate

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from gateway.console.facade import Facade
    from gateway.flags import ConfigDiff, Snapshot
    from gateway.streams import Example, Prediction, Transition

FLAGS_SHOWN: Final = 200
CHANGES_SHOWN: Final = 20  # of one flag
KEYS_SHOWN: Final = 1_000  # in each list of keys
IDENTIFIER: Final = "Identifier"
NULL: Final = b"null"


class ImpactRoute:
    """Answers one request at a time; another one is refused meanwhile, so that the work of a process is bounded."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade
        self._busy = False

    async def answer(self, body: ImpactBody, *, reveal: bool) -> ImpactAnswer:
        """Return what a candidate would change; with ``reveal`` examples show all attributes.

        :raises RequestError: for an unknown SDK, a candidate that cannot be used, and while another request is busy
        """
        if self._busy:
            raise RequestError(503, "another prediction is being computed, try again")
        self._busy = True
        try:
            return await self._answer(body, reveal=reveal)
        finally:
            self._busy = False

    async def _answer(self, body: ImpactBody, *, reveal: bool) -> ImpactAnswer:
        facade = self._facade
        sdk = find_sdk(facade, body.sdk)
        live = await find_snapshot(facade, sdk, None)
        base = live if body.at is None else await find_snapshot(facade, sdk, body.at)
        try:
            edited = await in_slices(facade.clock, _candidate_in_steps(body, live))
            candidate = await compile_candidate(facade.clock, edited, live)
        except ConfigError as error:
            raise RequestError(400, f"the candidate cannot be used: {error.reason}") from None
        changes = await in_slices(facade.clock, difference_in_steps(base, candidate))
        appear_or_vanish = {*changes.added, *changes.removed}
        forecasts = await facade.server.forecast(sdk.id, candidate, None if base is live else base)
        if not forecasts.found:
            raise RequestError(503, "no process that serves has answered")
        connected = await in_turns(facade.clock, merge([each.connected for each in forecasts.found]))
        sample = await in_turns(facade.clock, merge([each.sample for each in forecasts.found]))
        shown = None if reveal else _read_attributes(changes, base, candidate)
        return ImpactAnswer(
            sdk=sdk.id,
            config=base.tag,
            candidate=candidate.tag,
            added=list(changes.added[:KEYS_SHOWN]),
            removed=list(changes.removed[:KEYS_SHOWN]),
            changed=[key for key in changes.affected if key not in appear_or_vanish][:KEYS_SHOWN],
            connected=Connected(
                **_audience(connected, shown), streams=connected.streams, changed_streams=connected.changed_streams
            ),
            sample=Audience(**_audience(sample, shown)),
            missing_workers=forecasts.missing,
        )


def _candidate_in_steps(body: ImpactBody, live: Snapshot) -> Generator[None, None, bytes]:
    """Return a generator that returns the config JSON of the candidate."""
    config = bytes(body.config)
    if body.at is not None and config in {b"", NULL} and body.flag is None:
        return live.body
    if (config in {b"", NULL}) == (body.flag is None):
        raise RequestError(400, "give either config or flag")
    if body.flag is None:
        return config
    definition = bytes(body.flag.definition)
    try:
        return (yield from with_flag_in_steps(live.body, body.flag.key, None if definition == NULL else definition))
    except (msgspec.MsgspecError, UnicodeError):
        raise RequestError(400, "the flag cannot be put into the live config, send a whole config instead") from None


def _read_attributes(changes: ConfigDiff, *snapshots: Snapshot) -> frozenset[str]:
    """Return the attributes that the changed flags read."""
    found = (snapshot.flags.get(key) for snapshot in snapshots for key in changes.affected)
    return frozenset(name for flag in found if flag is not None for name in flag.attributes)


def _audience(prediction: Prediction, shown: Collection[str] | None) -> dict[str, Any]:
    return {
        "total": prediction.users,
        "examined": len(prediction.changed),
        "changed": prediction.changed.count(1),
        "flags": _flags(prediction.transitions),
        "examples": [_example(each, shown) for each in prediction.examples],
    }


def _flags(transitions: Sequence[Transition]) -> list[FlagImpact]:
    by_key: dict[str, list[Transition]] = defaultdict(list)
    for each in transitions:
        by_key[each.key].append(each)
    found = [
        FlagImpact(
            key,
            sum(each.users for each in group),
            [
                ValueChange(_served(each.before), _served(each.after), each.users)
                for each in sorted(group, key=lambda each: -each.users)[:CHANGES_SHOWN]
            ],
        )
        for key, group in by_key.items()
    ]
    return sorted(found, key=lambda flag: (-flag.users, flag.key))[:FLAGS_SHOWN]


def _served(encoded: bytes | None) -> Served | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=Served)


def _example(example: Example, shown: Collection[str] | None) -> ExampleUser:
    """Return an example with the attributes in ``shown``, masked; with all of them as they are for None."""
    given = example.attributes or {}
    identifier = given.get(IDENTIFIER)
    changes = [ExampleChange(each.key, _served(each.before), _served(each.after)) for each in example.changes]
    if shown is None:
        return ExampleUser(None if identifier is None else str(identifier), dict(given), changes)
    attributes = {
        name: _masked(value) if name in PERSONAL_ATTRIBUTES else value for name, value in given.items() if name in shown
    }
    return ExampleUser(None if identifier is None else _masked(identifier), attributes, changes)


def _masked(value: object) -> str:
    """Return the first character, if more follow."""
    text = str(value) if isinstance(value, str) else ""
    return f"{text[:1]}…" if len(text) > 1 else "…"
