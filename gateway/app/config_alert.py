"""The webhook alert that the config guard holds a config, or has degraded it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway.webhooks import Alert

if TYPE_CHECKING:
    from gateway.upstream import CheckedConfig


def config_alert(
    kind: Literal["CONFIG_HELD", "CONFIG_DEGRADED"], sdk_id: str, before: str | None, config: CheckedConfig, reason: str
) -> Alert:
    """Return the alert that ``config`` is held or degraded, in place of the config with the ETag ``before``."""
    snapshot = config.snapshot
    flags, removed = len(snapshot.keys), config.losses.removed
    return Alert(kind, sdk_id, before, snapshot.etag, reason, flags, removed, config.faults, config.at)
