"""``/api/v1/configs/{sdkId}``: earlier configs, what changed between two, and what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from gateway.console.explaining import find_sdk, find_snapshot
from gateway.console.schema import (
    ConfigDiffAnswer,
    ConfigList,
    ConfigUse,
    Decided,
    FlagText,
    PinAnswer,
    PinnedConfig,
    ServeBody,
)
from gateway.flags import difference, difference_in_steps
from gateway.history import HistoryUnavailable, NotKept, Pin, digest_of, hash_of
from gateway.logger import component_logger
from gateway.slices import in_slices
from gateway.telemetry import RequestError
from gateway.text import iso
from gateway.webhooks import describe_flags

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.console.facade import Facade
    from gateway.console.routes import Ask
    from gateway.flags import ConfigDiff, Snapshot
    from gateway.history import Application
    from gateway.upstream import Sdk

_log = component_logger("diag")

T = TypeVar("T")

LIMIT: Final = 50  # entries of a page by default
MOST: Final = 1000
LIVE: Final = "live"  # in place of an id: the config in use
_DIGITS: Final = 18  # below 2**63, the limit of SQLite's row numbers


class ConfigRoutes:
    """The answers of these routes."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    async def listed(self, ask: Ask) -> ConfigList:
        """Return a page of what was in use, the newest first."""
        sdk = self._sdk(ask)
        limit, before = read_number(ask, "limit", LIMIT), read_number(ask, "before", None)
        if not 1 <= (limit or 0) <= MOST:
            raise RequestError(400, f"limit is not a number from 1 to {MOST}")
        page = await kept(self._facade.history.applications(sdk.id, before=before, limit=limit or LIMIT))
        return ConfigList([config_use(each) for each in page.found], page.next, pinned_config(sdk))

    async def shown(self, ask: Ask) -> bytes:
        """Return a config JSON, as JSON of ``ConfigAnswer``."""
        stored = await kept(self._facade.history.config(self._sdk(ask).id, ask.path["config"]))
        return msgspec.json.encode({"use": config_use(stored.application), "config": msgspec.Raw(stored.body)})

    async def compared(self, ask: Ask) -> ConfigDiffAnswer:
        """Return what changed between two configs; the later one is by default the one in use."""
        sdk = self._sdk(ask)
        if "from" not in ask.query:
            raise RequestError(400, "the parameter 'from' is missing: the id of the earlier config")
        old = await self._snapshot(sdk, ask.query["from"])
        new = await self._snapshot(sdk, ask.query.get("to", LIVE))
        changes = await in_slices(self._facade.clock, difference_in_steps(old, new))
        return _difference(old, new, changes)

    async def serve(self, ask: Ask) -> PinAnswer:
        """Serve an earlier config, and pin it."""
        body: ServeBody = ask.body
        sdk, history, now = self._sdk(ask), self._facade.history, self._facade.wall()
        if sdk.plan.refused:
            raise RequestError(409, f"SDK {sdk.id} has an invalid SDK key, so that nothing is served for it")
        snapshot = await kept(history.snapshot(sdk.id, body.id))
        pin = Pin(digest_of(sdk.key), hash_of(snapshot.body), snapshot.etag, now)
        stored = await history.pin(sdk.id, pin, snapshot)  # first, so that a crash in between keeps the decision
        try:
            refused = await self._facade.registry.serve_config(sdk.id, snapshot.body, snapshot.etag, now)
        except KeyError:
            refused = "the settings have lost the SDK"
        if refused is not None:
            await history.pin(sdk.id, None, None)
            raise RequestError(409, f"the config {snapshot.tag} cannot be served: {refused}")
        text = "SDK {sdk_id}: the config {config} is served, by {by}"
        _log.info(text, sdk_id=sdk.id, config=snapshot.tag, by=ask.caller.described)
        return PinAnswer(snapshot.tag, iso(now), stored)

    async def release(self, ask: Ask) -> PinAnswer:
        """Let the source decide again."""
        sdk = self._sdk(ask)
        if sdk.guard.pinned is None:
            raise RequestError(409, f"no config of SDK {sdk.id} is pinned")
        stored = await self._facade.history.pin(sdk.id, None, None)
        released = await self._facade.registry.release_config(sdk.id)
        if released is None:
            raise RequestError(409, f"no config of SDK {sdk.id} is pinned")
        _log.info("SDK {sdk_id}: release of the pinned config by {by}", sdk_id=sdk.id, by=ask.caller.described)
        return PinAnswer(released["config"], iso(released["since"]), stored)

    def accept(self, ask: Ask) -> Decided:
        """Use the held config."""
        return self._decided(ask, "accept")

    def reject(self, ask: Ask) -> Decided:
        """Drop the held config until the source has another one."""
        return self._decided(ask, "reject")

    def _decided(self, ask: Ask, act: str) -> Decided:
        sdk, registry = self._sdk(ask), self._facade.registry
        held = registry.accept_config(sdk.id) if act == "accept" else registry.reject_config(sdk.id)
        if held is None:
            raise RequestError(409, f"no config of SDK {sdk.id} is held")
        _log.info("SDK {sdk_id}: {act} of the held config by {by}", sdk_id=sdk.id, act=act, by=ask.caller.described)
        return Decided(held["reason"], held["etag"], held["flags"])

    def _sdk(self, ask: Ask) -> Sdk:
        return find_sdk(self._facade, ask.path["sdkId"])

    async def _snapshot(self, sdk: Sdk, config_id: str) -> Snapshot:
        if config_id == LIVE:
            return await find_snapshot(self._facade, sdk, None)
        return await kept(self._facade.history.snapshot(sdk.id, config_id))


def config_use(each: Application) -> ConfigUse:
    """Return an application for JSON."""
    return ConfigUse(
        each.config_id, iso(each.at), each.source, each.author or None, each.notes or None, each.change_id, each.etag,
        each.flags, each.bytes,
    )  # fmt: skip


def compare_configs(old: Snapshot, new: Snapshot) -> ConfigDiffAnswer:
    """Return what changed from one config to another, all at once."""
    return _difference(old, new, difference(old, new))


def _difference(old: Snapshot, new: Snapshot, changes: ConfigDiff) -> ConfigDiffAnswer:
    return ConfigDiffAnswer(
        first=old.tag,
        second=new.tag,
        flags=[FlagText(each.key, each.act, each.text) for each in describe_flags(old, new, changes)],
        segments=list(changes.segments),
        salt_changed=changes.salt_changed,
        preferences_changed=changes.preferences_changed,
    )


def pinned_config(sdk: Sdk) -> PinnedConfig | None:
    """Return what is pinned for an SDK; None if nothing is."""
    pinned, waiting = sdk.guard.pinned, sdk.guard.waiting
    if pinned is None:
        return None
    tag = pinned.config.snapshot.tag
    other = None if waiting is None or waiting.config.snapshot.tag == tag else waiting.config.snapshot.tag
    return PinnedConfig(tag, iso(pinned.since), other)


async def kept(read: Awaitable[T]) -> T:
    """Return what the history has.

    :raises RequestError: with 404 if it does not have it, with 503 if it is off or cannot be read
    """
    try:
        return await read
    except NotKept as error:
        raise RequestError(404, str(error)) from None
    except HistoryUnavailable as error:
        raise RequestError(503, str(error)) from None


def read_number(ask: Ask, name: str, default: Any) -> Any:
    """Return a whole number of the query.

    :raises RequestError: with 400 for another text
    """
    given = ask.query.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= _DIGITS):
        raise RequestError(400, f"{name} is not a whole number")
    return int(given)
