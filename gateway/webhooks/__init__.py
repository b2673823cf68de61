"""What leaves the gateway: each change as signed messages, recorded before it is published, delivered until it arrives.

    ChangeSet ──► messages ──► outbox (SQLite) ──► courier (HTTP) ──► receivers
    evaluations ──► spool (SQLite) ──► batches ──► receiver,   or ──► a file

Pure: what is said to whom, signatures, the schedule.  With I/O: the database, the connections.
"""

from __future__ import annotations

from gateway.webhooks.formats.change import Author, read_credit
from gateway.webhooks.metrics import OutboundMetrics
from gateway.webhooks.service import Outbound

__all__ = (
    "Author",
    "Outbound",
    "OutboundMetrics",
    "read_credit",
)
