"""Config JSON from the CDN or from local files: one source per SDK, kept current.

    CDN or file ──► Source ──► Sdk ──► Snapshot ──► on_change (streams) · by_id, by_key (web)
                                └──► ConfigCache: the last good config, for a start without the CDN

Only immutable Snapshots leave this room; a failing upstream leaves the last good one in place.
"""

from gateway.upstream.candidate import compile_candidate
from gateway.upstream.config_guard import CheckedConfig, HeldConfig, KeptPin
from gateway.upstream.file_cache import FileCache
from gateway.upstream.file_source import file_faults
from gateway.upstream.guard import Audience
from gateway.upstream.outcome import Refreshed
from gateway.upstream.registry import Registry
from gateway.upstream.sdk import Sdk
from gateway.upstream.shared import ClusterView, Meets, MirroredCache, PostgresCache, RedisCache, SharedCache

__all__ = (
    "Audience",
    "CheckedConfig",
    "ClusterView",
    "FileCache",
    "HeldConfig",
    "KeptPin",
    "Meets",
    "MirroredCache",
    "PostgresCache",
    "RedisCache",
    "Refreshed",
    "Registry",
    "Sdk",
    "SharedCache",
    "compile_candidate",
    "file_faults",
)
