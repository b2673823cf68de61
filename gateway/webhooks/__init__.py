"""Records each change of a config, and delivers it as signed messages until the receivers have it.

    change ──► Recorder ──► outbox (SQLite) ──► Courier ──► HTTP ──► receivers

``formats`` makes the messages, ``store`` is the tables of the outbox, ``delivery`` sends what they hold.
"""

from __future__ import annotations

from gateway.webhooks.metrics import WebhookMetrics
from gateway.webhooks.service import Webhooks

__all__ = (
    "WebhookMetrics",
    "Webhooks",
)
