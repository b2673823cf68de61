"""``/api/v1/changes``: what each config that came into use has changed, and what it reached.

history ──► Transition ──► words, in the history's thread ──► with reach (memory) and deliveries (outbox) ──► answer
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import evolve, frozen

from gateway.console.change_schema import ChangeDetails, ChangedFlag, ChangeList, ChangeSummary, EndpointDeliveries
from gateway.console.configs import kept, read_number
from gateway.console.explaining import find_sdk
from gateway.console.schema import FlagText
from gateway.flags import difference
from gateway.telemetry import RequestError, read_moment
from gateway.text import iso
from gateway.webhooks import describe_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.facade import Facade
    from gateway.console.routes import Ask
    from gateway.flags import Snapshot
    from gateway.history import Transition

LIMIT: Final = 20  # entries of a page by default
MOST: Final = 100
PAGE_BYTES: Final = 4 * 1024 * 1024  # of configs that have to be compared for one page; with more it ends early
FLAGS_LISTED: Final = 20  # of a change in the list
TEXT_LISTED: Final = 300  # characters of a flag's text in the list
FLAGS_SHOWN: Final = 1_000  # of a change with its definitions
TEXT_SHOWN: Final = 4_000
DEFINITION_BYTES: Final = 4 * 1024 * 1024  # of the definitions of one change
KEPT: Final = 500  # changes in words, of at most some 6 KB each
SEGMENTS_SHOWN: Final = 100


@frozen
class _Words:
    """A change in words."""

    flags: list[FlagText]
    flag_count: int
    segments: list[str]
    salt_changed: bool
    preferences_changed: bool

    def listed(self) -> _Words:
        """Return as much as a list shows."""
        flags = [FlagText(each.key, each.act, _cut(each.text, TEXT_LISTED)) for each in self.flags[:FLAGS_LISTED]]
        return evolve(self, flags=flags)


class ChangeRoutes:
    """The answers of these routes."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade
        self._words: OrderedDict[tuple[str, str], _Words] = OrderedDict()  # by the hashes of both configs

    async def listed(self, ask: Ask) -> ChangeList:
        """Return a page of the changes, the newest first."""
        limit, before = read_number(ask, "limit", LIMIT), read_number(ask, "before", None)
        if not 1 <= limit <= MOST:
            raise RequestError(400, f"limit is not a number from 1 to {MOST}")
        sdk = find_sdk(self._facade, ask.query["sdk"]).id if "sdk" in ask.query else None
        since = read_moment(ask.query.get("since", "0"))
        page = await kept(self._facade.history.changes(sdk, since=since, before=before, limit=limit))
        shown, following = self._first(page.found), page.next
        if len(shown) < len(page.found):
            following = shown[-1].number
        words = await self._described(shown)
        return ChangeList([self._summary(*each) for each in zip(shown, words, strict=True)], following)

    async def shown(self, ask: Ask) -> bytes:
        """Return a change with definitions and deliveries, as JSON of ``ChangeDetails``."""
        number = ask.path["id"]
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise RequestError(404, "this is no number of a change")
        change = await kept(self._facade.history.change(int(number)))
        ((words, definitions),) = await kept(self._facade.history.compare([change], _details))
        record = change.after.change_id
        deliveries = None if record is None else await self._facade.outbox.of_change(record)
        summary = msgspec.structs.asdict(self._summary(change, words))
        found = None if deliveries is None else [_deliveries(each) for each in msgspec.json.decode(deliveries)]
        return msgspec.json.encode(ChangeDetails(**summary, definitions=definitions, deliveries=found))

    def _first(self, changes: Sequence[Transition]) -> list[Transition]:
        """Return the first changes, without those that would take too long to compare; at least one."""
        found: list[Transition] = []
        size = 0
        for each in changes:
            if _pair(each) not in self._words:
                size += each.before.bytes + each.after.bytes
            if found and size > PAGE_BYTES:
                break
            found.append(each)
        return found

    async def _described(self, changes: Sequence[Transition]) -> list[_Words]:
        """Return the words of changes; those that are not kept are made in the history's thread."""
        found = {_pair(each): self._words[_pair(each)] for each in changes if _pair(each) in self._words}
        missing = list({_pair(each): each for each in changes if _pair(each) not in found}.values())
        if missing:
            made = await kept(self._facade.history.compare(missing, _listed_words))
            fresh = {_pair(each): words for each, words in zip(missing, made, strict=True)}
            found |= fresh
            self._words |= fresh
            while len(self._words) > KEPT:
                self._words.popitem(last=False)
        return [found[_pair(each)] for each in changes]

    def _summary(self, change: Transition, words: _Words) -> ChangeSummary:
        after = change.after
        return ChangeSummary(
            id=change.number,
            sdk=after.sdk_id,
            at=iso(after.at),
            source=after.source,
            author=after.author or None,
            notes=after.notes or None,
            before=change.before.config_id,
            config=after.config_id,
            etag=after.etag,
            flags=words.flags,
            flag_count=words.flag_count,
            segments=words.segments,
            salt_changed=words.salt_changed,
            preferences_changed=words.preferences_changed,
            reach=self._facade.reaches.of(change.number),
            record=after.change_id,
        )


def _pair(change: Transition) -> tuple[str, str]:
    return change.before.hash, change.after.hash


def _words_of(old: Snapshot, new: Snapshot, limit: int, characters: int) -> _Words:
    changes = difference(old, new)
    count = len(changes.updated) + len(changes.added) + len(changes.removed)
    flags: list[FlagText] = []
    for each in describe_flags(old, new, changes):
        if len(flags) >= limit:
            break
        flags.append(FlagText(each.key, each.act, _cut(each.text, characters)))
    segments = list(changes.segments[:SEGMENTS_SHOWN])
    return _Words(flags, count, segments, changes.salt_changed, changes.preferences_changed)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _listed_words(old: Snapshot, new: Snapshot) -> _Words:
    return _words_of(old, new, FLAGS_LISTED, TEXT_LISTED)


def _details(old: Snapshot, new: Snapshot) -> tuple[_Words, list[ChangedFlag]]:
    """Return the words of the list, and all flags with their definitions."""
    whole = _words_of(old, new, FLAGS_SHOWN, TEXT_SHOWN)
    definitions, size = [], 0
    for each in whole.flags:
        before, after = (snapshot.flags.get(each.key) for snapshot in (old, new))
        size += sum(len(flag.source) for flag in (before, after) if flag is not None)
        shown = [None if flag is None or size > DEFINITION_BYTES else flag.definition for flag in (before, after)]
        definitions.append(ChangedFlag(each.key, each.act, each.text, *shown))
    return whole.listed(), definitions


def _deliveries(each: dict[str, Any]) -> EndpointDeliveries:
    finished = each.pop("finished")
    return EndpointDeliveries(**each, finished=None if finished is None else iso(finished))
