"""The one declaration of every option: a field here is a YAML key, an environment name, a default and a docs row.

``load`` (loading.py) walks these structs; nothing else in the product names an option twice.
Field names are the YAML keys of the system we replace; ours sit beside them and are marked ``ours``.
The structs of each part live in modules of their own; everybody imports them from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from gateway.settings.marks import note
from gateway.settings.schema.base import Attributes, BasicAuth, Certificate, Level, Log, RootLog, Section, Tls
from gateway.settings.schema.diag import Diag, Metrics, OnByDefault, Otlp, Traces
from gateway.settings.schema.http import (
    Api,
    CdnProxy,
    Cors,
    Enabled,
    Http,
    Ofrep,
    OriginRegex,
    Sse,
    Webhook,
)
from gateway.settings.schema.outgoing import Delivery, Endpoint, Exporter, Outbox, Project
from gateway.settings.schema.sdk import HttpProxy, LocalFile, Sdk, SdkOffline, Upstream
from gateway.settings.schema.unsupported import Cache, DynamoDb, GlobalOffline, Grpc, KeepAlive, MongoDb, Profile, Redis

__all__ = (
    "Api",
    "Attributes",
    "BasicAuth",
    "Cache",
    "CdnProxy",
    "Certificate",
    "Cors",
    "Delivery",
    "Diag",
    "DynamoDb",
    "Enabled",
    "Endpoint",
    "Exporter",
    "GlobalOffline",
    "Grpc",
    "Http",
    "HttpProxy",
    "KeepAlive",
    "Level",
    "LocalFile",
    "Log",
    "Metrics",
    "MongoDb",
    "Ofrep",
    "OnByDefault",
    "OriginRegex",
    "Otlp",
    "Outbox",
    "Profile",
    "Project",
    "Redis",
    "RootLog",
    "Sdk",
    "SdkOffline",
    "Section",
    "Settings",
    "Sse",
    "Tls",
    "Traces",
    "Upstream",
    "Webhook",
)


class Settings(Section, frozen=True):
    """Everything an operator can set, after defaults, file and environment are merged and validated."""

    log: Annotated[RootLog, note("What is logged, and how.")] = field(default_factory=RootLog)
    sdks: Annotated[
        dict[str, Sdk],
        note(
            "The served configs, one entry per SDK id, the name under which clients address it. "
            "The environment variable is a JSON object of SDK id to SDK key; "
            "each further option of an SDK has a variable of its own.",
        ),
    ] = field(default_factory=dict)
    default_user_attributes: Annotated[
        Attributes,
        note(
            "User attributes that hold for every SDK; those of an SDK and of a request come before them.",
            error="'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed",
            example="{Country: DE, Plans: [free, pro]}",
        ),
    ] = field(default_factory=dict)
    http: Annotated[Http, note("The main HTTP server.")] = field(default_factory=Http)
    http_proxy: Annotated[HttpProxy, note("Forward proxy for the gateway's own calls to upstreams.")] = field(
        default_factory=HttpProxy
    )
    upstream: Annotated[Upstream, note("How the gateway fetches config JSON.", ours=True)] = field(
        default_factory=Upstream
    )
    diag: Annotated[Diag, note("The diagnostics server: status, health and metrics; always plain HTTP.")] = field(
        default_factory=Diag
    )
    tls: Annotated[Tls, note("TLS of the main HTTP server.")] = field(default_factory=Tls)
    workers: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        note(
            "Number of processes that serve requests; `auto` starts one per CPU.",
            ours=True,
            restart=True,
        ),
    ] = 1
    webhooks: Annotated[
        list[Endpoint],
        note("Receivers that are told about changes; any number, each independent.", ours=True),
    ] = field(default_factory=list)
    exporter: Annotated[Exporter, note("Where evaluations are told.", ours=True)] = field(default_factory=Exporter)
    outbox: Annotated[Outbox, note("Where messages wait until they are delivered.", ours=True)] = field(
        default_factory=Outbox
    )
    delivery: Annotated[Delivery, note("Where outgoing calls may go.", ours=True)] = field(default_factory=Delivery)
    project: Annotated[Project, note("What environment and audit log web hooks say about the project.", ours=True)] = (
        field(default_factory=Project)
    )
    grpc: Annotated[Grpc, note("The gRPC server.", restart=True, later="warn")] = field(default_factory=Grpc)
    cache: Annotated[
        Cache, note("Shared caches of config JSON; of several, redis comes before mongodb before dynamodb.")
    ] = field(default_factory=Cache)
    profile: Annotated[
        Profile, note("SDKs that come from a proxy profile of the dashboard.", restart=True, later="warn")
    ] = field(default_factory=Profile)
    offline: Annotated[
        GlobalOffline, note("Serving every SDK from the cache, without calls to upstreams.", later="warn")
    ] = field(default_factory=GlobalOffline)
