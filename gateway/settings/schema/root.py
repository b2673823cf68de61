"""All settings.  Each field declares a YAML key, an environment variable, a default and a row of docs/options.md.

``load`` (loading.py) walks these structs, so an option is named nowhere else.
Field names are the YAML keys of ConfigCat Proxy; options of flaggateway alone are marked ``ours``.
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
    """The settings, merged from defaults, file and environment, and validated."""

    log: Annotated[RootLog, note("Level and format of the log.")] = field(default_factory=RootLog)
    sdks: Annotated[
        dict[str, Sdk],
        note(
            "The served configs by SDK id, the name that clients use in URLs. "
            "The environment variable is a JSON object of SDK id to SDK key; "
            "every other option of an SDK has its own variable.",
        ),
    ] = field(default_factory=dict)
    default_user_attributes: Annotated[
        Attributes,
        note(
            "User attributes for every SDK; those of an SDK and of a request have priority.",
            error="'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed",
            example="{Country: DE, Plans: [free, pro]}",
        ),
    ] = field(default_factory=dict)
    http: Annotated[Http, note("The main HTTP server.")] = field(default_factory=Http)
    http_proxy: Annotated[HttpProxy, note("Forward proxy for requests to upstreams.")] = field(
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
        note("Endpoints that receive changes; any number, independent of each other.", ours=True),
    ] = field(default_factory=list)
    exporter: Annotated[Exporter, note("Export of evaluations.", ours=True)] = field(default_factory=Exporter)
    outbox: Annotated[Outbox, note("The database in which messages wait until they are delivered.", ours=True)] = field(
        default_factory=Outbox
    )
    delivery: Annotated[Delivery, note("Limits on the targets of outgoing requests.", ours=True)] = field(
        default_factory=Delivery
    )
    project: Annotated[
        Project, note("The project in webhooks of the formats `environment` and `audit_log`.", ours=True)
    ] = field(default_factory=Project)
    grpc: Annotated[Grpc, note("The gRPC server.", restart=True, later="warn")] = field(default_factory=Grpc)
    cache: Annotated[
        Cache, note("Shared caches of config JSON; if several are enabled: redis before mongodb before dynamodb.")
    ] = field(default_factory=Cache)
    profile: Annotated[Profile, note("SDKs from a proxy profile of the dashboard.", restart=True, later="warn")] = (
        field(default_factory=Profile)
    )
    offline: Annotated[
        GlobalOffline, note("Serving every SDK from the cache, without requests to upstreams.", later="warn")
    ] = field(default_factory=GlobalOffline)
