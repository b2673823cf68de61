"""Databases: the SQLite file of webhooks and exporter, the PostgreSQL outbox of several nodes, the history's file.

    webhooks, export ──► Store.run(work) ──► Database: one transaction for all waiting work ──► outbox.sqlite3
                                    └► PostgresStore: the same, in a thread of its own ──► PostgreSQL
    history ──► open_file ──► history.sqlite3

Schema upgrades, lock files and default paths work alike.  The tables belong to the rooms that use them, except the
count of drops, which webhooks and exporter write.
"""

from gateway.storage import shared_configs
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
from gateway.storage.shared import check_shared, connect_shared, open_shared
from gateway.storage.shared_configs import Looked
from gateway.storage.store import (
    STORE_ERRORS,
    CommandConnection,
    Connection,
    LeaseLost,
    MessageState,
    OutboxStore,
    SharedStore,
    Store,
    StoreError,
)
from gateway.storage.transfer import NotEmpty, copy_outbox, rows_to_copy

__all__ = (
    "APPLICATION_ID",
    "DISK_ERRORS",
    "HISTORY",
    "SCHEMA_VERSION",
    "STORE_ERRORS",
    "CommandConnection",
    "Connection",
    "Database",
    "IncompatibleDatabase",
    "LeaseLost",
    "LockFile",
    "LockTaken",
    "Looked",
    "MessageState",
    "NotEmpty",
    "OutboxStore",
    "OutboxUnusable",
    "SharedStore",
    "SqliteConnection",
    "Store",
    "StoreError",
    "check_shared",
    "config_cache_path",
    "connect_shared",
    "copy_outbox",
    "count_drop",
    "history_path",
    "open_file",
    "open_shared",
    "outbox_path",
    "rows_to_copy",
    "shared_configs",
)
