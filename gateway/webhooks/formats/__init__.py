"""Pure functions that turn a ``Change`` into the messages of each endpoint, and read who made it.

Snapshots, hook body ──► Change ──► compose(change, endpoint, ids) ──► EndpointMessages

Equal arguments give equal ids and bodies, on every node and after every restart.
"""

from gateway.webhooks.formats.alert import Alert, compose_alert
from gateway.webhooks.formats.change import Author, Change, attribution_body, parse_attribution
from gateway.webhooks.formats.compose import compose, compose_sdk_message, compose_test_message
from gateway.webhooks.formats.definition import initial_value
from gateway.webhooks.formats.description import FlagChange, describe_flags
from gateway.webhooks.formats.envelope import compose_failure_message
from gateway.webhooks.formats.message import EndpointMessages, Feature, IntegerIds, Message, Skipped
from gateway.webhooks.formats.subscription import failure_receivers

__all__ = (
    "Alert",
    "Author",
    "Change",
    "EndpointMessages",
    "Feature",
    "FlagChange",
    "IntegerIds",
    "Message",
    "Skipped",
    "attribution_body",
    "compose",
    "compose_alert",
    "compose_failure_message",
    "compose_sdk_message",
    "compose_test_message",
    "describe_flags",
    "failure_receivers",
    "initial_value",
    "parse_attribution",
)
