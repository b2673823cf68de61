"""All options: one declared schema, whose values come from defaults, a YAML file and the environment.

    YAML, CONFIGCAT_… ──► load ──► Settings ──► every other room
                            └────► problems and warnings ──► operator

An option is declared once, in ``schema``; its YAML key, environment variable, checks, JSON Schema, sample and
documentation follow from that.
"""

from gateway.settings.changes import restart_needed
from gateway.settings.fields import options as option_table
from gateway.settings.files import SettingsFile, find_file
from gateway.settings.json_schema import json_schema
from gateway.settings.loading import Loaded, load
from gateway.settings.masking import masked
from gateway.settings.problems import Problem
from gateway.settings.reference import documents
from gateway.settings.rules.outgoing import OWN_HEADERS
from gateway.settings.schema import (
    Api,
    BasicAuth,
    CallerAuth,
    CallerKey,
    CdnProxy,
    Certificate,
    Cors,
    Delivery,
    Diag,
    Endpoint,
    Exporter,
    Guard,
    History,
    Http,
    Identity,
    IdentityKey,
    Metrics,
    Ofrep,
    OnByDefault,
    OtherAttributes,
    Outbox,
    Redis,
    Sdk,
    Settings,
    Sse,
    Tls,
    Upstream,
)
from gateway.settings.sdk_ids import collisions as id_collisions
from gateway.settings.sdk_ids import mask_sdk_key, valid_key

__all__ = (
    "OWN_HEADERS",
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
    "Loaded",
    "Metrics",
    "Ofrep",
    "OnByDefault",
    "OtherAttributes",
    "Outbox",
    "Problem",
    "Redis",
    "Sdk",
    "Settings",
    "SettingsFile",
    "Sse",
    "Tls",
    "Upstream",
    "documents",
    "find_file",
    "id_collisions",
    "json_schema",
    "load",
    "mask_sdk_key",
    "masked",
    "option_table",
    "restart_needed",
    "valid_key",
)
