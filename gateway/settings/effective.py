"""Settings as written → settings as they hold: what is not set takes its value from where it falls back to."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from gateway.settings.schema.root import Level, Log, Sdk, Section, Settings

POLL_INTERVAL: Final = 60  # seconds; what an interval of 0 or less means.

_S = TypeVar("_S", bound=Section)


def effective(settings: Settings) -> Settings:
    """Return settings in which every log level, ``offline.enabled`` and poll interval has its effective value.

    Of effective settings it returns equal ones.
    """
    levelled = _with_levels(settings, settings.log.level)
    sdks = {sdk_id: _sdk(sdk, settings) for sdk_id, sdk in levelled.sdks.items()}
    return msgspec.structs.replace(levelled, sdks=sdks)


def _sdk(sdk: Sdk, settings: Settings) -> Sdk:
    enabled = settings.offline.enabled if sdk.offline.enabled is None else sdk.offline.enabled
    return msgspec.structs.replace(
        sdk,
        poll_interval=sdk.poll_interval if sdk.poll_interval > 0 else POLL_INTERVAL,
        offline=msgspec.structs.replace(sdk.offline, enabled=enabled),
    )


def _with_levels(section: _S, level: Level) -> _S:
    """Fill every level below; all of them fall back to ``log.level`` itself, that of streams included."""
    changed: dict[str, object] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Log):
            changed[name] = value if value.level else Log(level=level)
        elif isinstance(value, Section):
            changed[name] = _with_levels(value, level)
        elif name == "sdks" and isinstance(value, dict):
            changed[name] = {sdk_id: _with_levels(sdk, level) for sdk_id, sdk in value.items()}
    return msgspec.structs.replace(section, **changed)
