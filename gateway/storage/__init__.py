"""The SQLite database that webhooks and the exporter share: one writer thread, schema upgrades, lock file, path.

    webhooks, export ──► Store.run(work) ──► Database: one transaction for all waiting work ──► outbox.sqlite3

The tables belong to the rooms that use them, except the count of drops, which both write.
"""

from gateway.storage.database import (
    DISK_ERRORS,
    Database,
    MessageState,
    OutboxUnusable,
    Store,
    count_drop,
)
from gateway.storage.lock_file import LockFile, LockTaken
from gateway.storage.migrations import APPLICATION_ID, SCHEMA_VERSION
from gateway.storage.paths import config_cache_path, outbox_path

__all__ = (
    "APPLICATION_ID",
    "DISK_ERRORS",
    "SCHEMA_VERSION",
    "Database",
    "LockFile",
    "LockTaken",
    "MessageState",
    "OutboxUnusable",
    "Store",
    "config_cache_path",
    "count_drop",
    "outbox_path",
)
