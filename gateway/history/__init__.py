"""The history of configs: each applied config once by content, when it came into use, and what operators have pinned.

    a published Snapshot ──► History ──► thread ──► history.sqlite3
    a time, a change, an id ──► History ──► Snapshot, for explain and impact

Nothing waits for it: a history that cannot be written is a problem on the status page, and flags go on.
"""

from gateway.history.history import History, HistoryUnavailable
from gateway.history.metrics import HistoryMetrics
from gateway.history.tables import (
    Application,
    Applied,
    NotKept,
    Page,
    Pin,
    StoredConfig,
    Transition,
    Transitions,
    digest_of,
    hash_of,
)

__all__ = (
    "Application",
    "Applied",
    "History",
    "HistoryMetrics",
    "HistoryUnavailable",
    "NotKept",
    "Page",
    "Pin",
    "StoredConfig",
    "Transition",
    "Transitions",
    "digest_of",
    "hash_of",
)
