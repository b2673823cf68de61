"""Where config JSON comes from: the CDN or a local file, one source per SDK, kept current.

    CDN or file ──► Source ──► Sdk ──► Snapshot ──► on_change (streams) · by_id, by_key (web)

Data leaves this room as immutable Snapshots only; a fault of an upstream leaves the last good one in place.
"""

from gateway.upstream.outcome import Kind, Refreshed
from gateway.upstream.registry import Registry
from gateway.upstream.reporter import NoReporter, Reporter
from gateway.upstream.sdk import Sdk

__all__ = (
    "Kind",
    "NoReporter",
    "Refreshed",
    "Registry",
    "Reporter",
    "Sdk",
)
