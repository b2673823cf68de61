"""The declaration of every option, as structs: one module per part, all of them below ``Settings``."""

from gateway.settings.schema.base import BasicAuth, Certificate, Level, Log, Section, Tls
from gateway.settings.schema.cache import Redis
from gateway.settings.schema.diag import Diag, Metrics, OnByDefault, Otlp
from gateway.settings.schema.http import (
    Api,
    CallerAuth,
    CallerKey,
    CdnProxy,
    Cors,
    Http,
    Ofrep,
    OtherAttributes,
    Sse,
    Webhook,
)
from gateway.settings.schema.identity import Identity, IdentityKey
from gateway.settings.schema.outgoing import Delivery, Endpoint, Exporter, History, Outbox
from gateway.settings.schema.root import Settings
from gateway.settings.schema.sdk import Guard, Sdk, Upstream

__all__ = (
    "Api",
    "BasicAuth",
    "CallerAuth",
    "CallerKey",
    "CdnProxy",
    "Certificate",
    "Cors",
    "Delivery",
    "Diag",
    "Endpoint",
    "Exporter",
    "Guard",
    "History",
    "Http",
    "Identity",
    "IdentityKey",
    "Level",
    "Log",
    "Metrics",
    "Ofrep",
    "OnByDefault",
    "OtherAttributes",
    "Otlp",
    "Outbox",
    "Redis",
    "Sdk",
    "Section",
    "Settings",
    "Sse",
    "Tls",
    "Upstream",
    "Webhook",
)
