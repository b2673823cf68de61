"""The effective settings of one SDK, and which changes of them need a new source (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from gateway.flags import Attribute, attributes_from_json
from gateway.settings import valid_key
from gateway.upstream.guard import Limits
from gateway.upstream.polling import interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import Guard, Settings
    from gateway.settings import Sdk as SdkSettings


@frozen
class Plan:
    """One SDK's effective settings; a reload with an equal plan does not touch the SDK."""

    id: str
    settings: SdkSettings
    defaults: Mapping[str, Attribute]
    limits: Limits

    @property
    def key(self) -> str:
        """The SDK key as configured."""
        return self.settings.key

    @property
    def path(self) -> str:
        """The local file; empty for an SDK that is fetched from the CDN."""
        return self.settings.offline.local.file_path if self.settings.offline.enabled else ""

    @property
    def follows(self) -> bool:
        """Whether the config comes from the shared cache alone."""
        return bool(self.settings.offline.enabled) and self.settings.offline.use_cache and not self.path

    @property
    def refused(self) -> bool:
        """Whether the key has no valid form, so that nothing may be fetched; a local file allows any key."""
        return not self.path and not valid_key(self.key, custom_base=bool(self.settings.base_url))

    @property
    def origin(self) -> tuple[object, ...]:
        """The settings that a source is made from; while they are equal, the source keeps running."""
        if self.path:
            local = self.settings.offline.local
            return ("file", self.path, local.polling, local.poll_interval)
        settings = self.settings
        if self.follows:
            return ("cache", settings.offline.cache_poll_interval)
        return ("cdn", settings.base_url, settings.data_governance, interval(settings.poll_interval))


def plans(settings: Settings) -> dict[str, Plan]:
    """Return one plan per SDK, in the order of the settings."""
    return {sdk_id: _plan(sdk_id, sdk, settings) for sdk_id, sdk in settings.sdks.items()}


def _plan(sdk_id: str, sdk: SdkSettings, settings: Settings) -> Plan:
    merged = {**settings.default_user_attributes, **sdk.default_user_attributes}
    return Plan(sdk_id, sdk, attributes_from_json(merged, bounded=False), _limits(sdk.guard, settings.upstream.guard))


def _limits(own: Guard, general: Guard) -> Limits:
    removed, failing, impact = own.max_removed_percent, own.max_failing_percent, own.max_impact_percent
    return Limits(
        general.max_removed_percent if removed is None else removed,
        general.max_failing_percent if failing is None else failing,
        general.max_impact_percent if impact is None else impact,
    )
