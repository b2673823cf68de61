"""The tables of the outbox: messages with their attempts, changes, configs, stable numbers.

Functions take a connection inside a transaction; ``Outbox`` runs the transactions of delivery.  Other rooms import from
here what operators do with deliveries.
"""

from gateway.webhooks.store.message_table import purge, purge_changes
from gateway.webhooks.store.queries import (
    AttemptRecord,
    Delivery,
    DeliveryDetails,
    add_request,
    delivery_details,
    list_deliveries,
    retry,
    retry_failed,
)

__all__ = (
    "AttemptRecord",
    "Delivery",
    "DeliveryDetails",
    "add_request",
    "delivery_details",
    "list_deliveries",
    "purge",
    "purge_changes",
    "retry",
    "retry_failed",
)
