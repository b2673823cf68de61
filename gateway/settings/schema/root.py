"""All settings.  Each field declares a YAML key, an environment variable, a default and a row of docs/options.md.

``load`` (loading.py) walks these structs, so an option is named nowhere else.
Field names are the YAML keys of ConfigCat Proxy; options of flaggateway alone are marked ``not_in_configcat_proxy``.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.settings.schema.base import ATTRIBUTE_ERROR, Attributes, RootLog, Section, Tls
from gateway.settings.schema.cache import Cache, Cluster, GlobalOffline
from gateway.settings.schema.diag import Diag
from gateway.settings.schema.http import Http
from gateway.settings.schema.identity import Identity
from gateway.settings.schema.impact import Impact
from gateway.settings.schema.option import option
from gateway.settings.schema.outgoing import Delivery, Endpoint, Exporter, History, Outbox, Project
from gateway.settings.schema.sdk import HttpProxy, Sdk, Upstream
from gateway.settings.schema.unsupported import Grpc, Profile


class Settings(Section, frozen=True):
    """The settings, merged from defaults, file and environment, and validated."""

    log: Annotated[RootLog, option("Level and format of the log.")] = RootLog()
    sdks: Annotated[
        dict[str, Sdk],
        option(
            "The served configs by SDK id, the name that clients use in URLs. "
            "The environment variable is a JSON object of SDK id to SDK key; "
            "every other option of an SDK has its own variable."
        ),
    ] = {}
    default_user_attributes: Annotated[
        Attributes,
        option(
            "User attributes for every SDK; those of an SDK and of a request have priority.",
            error=ATTRIBUTE_ERROR,
            example="{Country: DE, Plans: [free, pro]}",
        ),
    ] = {}
    http: Annotated[Http, option("The main HTTP server.")] = Http()
    identity: Annotated[
        Identity,
        option("Tokens that prove who a user is; for routes with `users: signed`.", not_in_configcat_proxy=True),
    ] = Identity()
    http_proxy: Annotated[HttpProxy, option("Forward proxy for requests to upstreams.")] = HttpProxy()
    upstream: Annotated[Upstream, option("How the gateway fetches config JSON.", not_in_configcat_proxy=True)] = (
        Upstream()
    )
    diag: Annotated[Diag, option("The diagnostics server: status, health and metrics; always plain HTTP.")] = Diag()
    tls: Annotated[Tls, option("TLS of the main HTTP server.")] = Tls()
    workers: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        option(
            "Number of processes that serve requests; `auto` starts one per CPU.",
            not_in_configcat_proxy=True,
            restart=True,
        ),
    ] = 1
    webhooks: Annotated[
        list[Endpoint],
        option("Endpoints that receive changes; any number, independent of each other.", not_in_configcat_proxy=True),
    ] = []
    exporter: Annotated[Exporter, option("Export of evaluations.", not_in_configcat_proxy=True)] = Exporter()
    outbox: Annotated[
        Outbox, option("The database in which messages wait until they are delivered.", not_in_configcat_proxy=True)
    ] = Outbox()
    history: Annotated[
        History, option("The configs that were in use, for looking at earlier moments.", not_in_configcat_proxy=True)
    ] = History()
    delivery: Annotated[
        Delivery, option("Limits on the targets of outgoing requests.", not_in_configcat_proxy=True)
    ] = Delivery()
    impact: Annotated[Impact, option("Predictions of what a config would change.", not_in_configcat_proxy=True)] = (
        Impact()
    )
    project: Annotated[
        Project,
        option("The project in webhooks of the formats `environment` and `audit_log`.", not_in_configcat_proxy=True),
    ] = Project()
    grpc: Annotated[Grpc, option("The gRPC server.", restart=True, unsupported="warn")] = Grpc()
    cache: Annotated[
        Cache,
        option(
            "Caches of config JSON: files of this gateway, and caches that several gateways share; "
            "if several of the latter are enabled: redis before mongodb before dynamodb."
        ),
    ] = Cache()
    profile: Annotated[
        Profile, option("SDKs from a proxy profile of the dashboard.", restart=True, unsupported="warn")
    ] = Profile()
    cluster: Annotated[Cluster, option("Gateways that share a cache.", restart=True, not_in_configcat_proxy=True)] = (
        Cluster()
    )
    offline: Annotated[GlobalOffline, option("Serving every SDK from the cache, without requests to upstreams.")] = (
        GlobalOffline()
    )
