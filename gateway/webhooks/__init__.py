"""Records each change of a config, and delivers messages about it until the receivers have accepted them.

    change ──► Recorder ──► outbox (SQLite) ──► Courier ──► HTTP ──► receivers

``formats`` makes the messages, ``store`` holds them, ``delivery`` sends them.
"""

from gateway.webhooks.formats import Alert, FlagChange, describe_flags
from gateway.webhooks.service import Webhooks

__all__ = (
    "Alert",
    "FlagChange",
    "Webhooks",
    "describe_flags",
)
