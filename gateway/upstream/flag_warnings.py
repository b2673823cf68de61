"""Log lines about flags of a served config that cannot be evaluated: one per change, not one per request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.flags import faults
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Snapshot

_log = component_logger("sdks")

SHOWN: Final = 5  # flags that one line names; a broken publication may break hundreds
SHOWN_OF_KEY: Final = 60  # characters of a flag's key in that line


class FlagWarnings:
    """The faults of one SDK's current config."""

    def __init__(self, sdk_id: str) -> None:
        self._sdk_id = sdk_id
        self._known: Mapping[str, str] = {}

    def update(self, snapshot: Snapshot, previous: Snapshot | None) -> None:
        """Log the flags of a new config that fail, unless all of them failed for the same reasons before."""
        found = faults(snapshot, previous, self._known)
        fresh = {key: why for key, why in found.items() if self._known.get(key) != why}
        had, self._known = bool(self._known), found
        if fresh:
            shown = "; ".join(f"'{key[:SHOWN_OF_KEY]}': {why}" for key, why in list(fresh.items())[:SHOWN])
            _log.warn(
                "SDK {sdk_id}: {count} of {all} flags fail, for some users or all of them: {shown}{more}",
                sdk_id=self._sdk_id,
                count=len(found),
                all=len(snapshot.keys),
                shown=shown,
                more="; …" if len(fresh) > SHOWN else "",
            )
        elif had and not found:
            _log.info("SDK {sdk_id}: no flag fails any more", sdk_id=self._sdk_id)
