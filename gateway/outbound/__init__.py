"""What leaves the gateway: each change as signed messages, recorded before it is published, delivered until it arrives.

    ChangeSet ──► messages ──► outbox (SQLite) ──► courier (HTTP) ──► receivers
    evaluations ──► spool (SQLite) ──► batches ──► receiver,   or ──► a file

Pure: what is said to whom, signatures, the schedule.  With I/O: the database, the connections.
"""

from __future__ import annotations

from gateway.outbound.change import Author, read_credit
from gateway.outbound.counting import OutboundMetrics
from gateway.outbound.database import OutboxUnusable
from gateway.outbound.exports import ExporterUnusable, check_authorities
from gateway.outbound.place import outbox_path
from gateway.outbound.service import Outbound

__all__ = (
    "Author",
    "ExporterUnusable",
    "Outbound",
    "OutboundMetrics",
    "OutboxUnusable",
    "check_authorities",
    "outbox_path",
    "read_credit",
)
