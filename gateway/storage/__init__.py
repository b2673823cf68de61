"""SQLite files: the one that webhooks and the exporter share, with its writer thread, and that of the history.

    webhooks, export ──► Store.run(work) ──► Database: one transaction for all waiting work ──► outbox.sqlite3
    history ──► open_file ──► history.sqlite3

Schema upgrades, lock files and default paths work alike.  The tables belong to the rooms that use them, except the
count of drops, which webhooks and exporter write.
"""

from gateway.storage.database import (
    DISK_ERRORS,
    Database,
    OutboxUnusable,
    SqliteConnection,
    count_drop,
    open_file,
)
from gateway.storage.lock_file import LockFile, LockTaken
from gateway.storage.migrations import APPLICATION_ID, HISTORY, SCHEMA_VERSION, IncompatibleDatabase
from gateway.storage.paths import config_cache_path, history_path, outbox_path
from gateway.storage.store import STORE_ERRORS, Connection, MessageState, OutboxStore, Store, StoreError

__all__ = (
    "APPLICATION_ID",
    "DISK_ERRORS",
    "HISTORY",
    "SCHEMA_VERSION",
    "STORE_ERRORS",
    "Connection",
    "Database",
    "IncompatibleDatabase",
    "LockFile",
    "LockTaken",
    "MessageState",
    "OutboxStore",
    "OutboxUnusable",
    "SqliteConnection",
    "Store",
    "StoreError",
    "config_cache_path",
    "count_drop",
    "history_path",
    "open_file",
    "outbox_path",
)
