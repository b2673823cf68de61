"""Options of the diagnostics server."""

from typing import Annotated

from gateway.settings.schema.base import Section
from gateway.settings.schema.option import option


class OnByDefault(Section, frozen=True):
    """A part that is on by default."""

    enabled: Annotated[bool, option("Whether it is on.")] = True


class Otlp(Section, frozen=True):
    """Export to an OpenTelemetry collector."""

    enabled: Annotated[bool, option("Whether the export is on.")] = False
    protocol: Annotated[str, option("Protocol of the collector: `http`, `https` or `grpc`.")] = "http"
    endpoint: Annotated[str, option("Host and port of the collector; empty means the protocol's default.")] = ""


class Metrics(Section, frozen=True):
    """Metrics of the gateway."""

    enabled: Annotated[bool, option("Whether metrics are collected.", restart=True)] = True
    prometheus: Annotated[
        OnByDefault, option("`/metrics` on the diagnostics port, in the format of Prometheus.", restart=True)
    ] = OnByDefault()
    otlp: Annotated[
        Otlp, option("Export of metrics to an OpenTelemetry collector.", restart=True, unsupported="warn")
    ] = Otlp()


class Traces(Section, frozen=True):
    """Spans of requests."""

    enabled: Annotated[bool, option("Whether spans are recorded.")] = False
    otlp: Annotated[Otlp, option("Export of spans to an OpenTelemetry collector.")] = Otlp()


class Diag(Section, frozen=True):
    """The diagnostics server."""

    enabled: Annotated[bool, option("Whether the diagnostics server runs.", restart=True)] = True
    port: Annotated[
        int, option("TCP port to listen on.", ge=1, le=65535, restart=True, error="{section}: invalid port {found}")
    ] = 8051
    bind: Annotated[
        str,
        option(
            "Address to listen on; empty means all addresses.",
            not_in_configcat_proxy=True,
            restart=True,
            example="127.0.0.1",
        ),
    ] = ""
    auth_headers: Annotated[
        dict[str, str],
        option(
            "Headers and values that a request must have, unless a user of `diag.users` logs in. If neither is set,"
            " deliveries, changes and the API are for callers on the same machine only.",
            not_in_configcat_proxy=True,
            hidden="all",
            example="{Authorization: Bearer change-me}",
        ),
    ] = {}
    users: Annotated[
        dict[str, str],
        option(
            "Users who may log in, in a browser too: name and password hash, as `flaggateway password` prints it."
            " They may see everything.",
            not_in_configcat_proxy=True,
            hidden="all",
            example="{anna: '$scrypt$ln=15,r=8,p=3$gamDFlvkCcRtkRIcrHHl0A$"
            "j0iL6SCJJupQ1iLMdClAgVqwLV5GHCX4zTR+yBAmRQ8'}",
        ),
    ] = {}
    operators: Annotated[
        list[str],
        option(
            "The names in `diag.users` that may also act: send messages again, accept, reject, serve and release"
            " configs, reveal attributes of users.",
            not_in_configcat_proxy=True,
        ),
    ] = []
    service_name: Annotated[
        str, option("Name of this service in OpenTelemetry.", restart=True, unsupported="warn", supported_values=("",))
    ] = ""
    status: Annotated[OnByDefault, option("The status page.")] = OnByDefault()
    metrics: Annotated[Metrics, option("Metrics.")] = Metrics()
    traces: Annotated[Traces, option("Traces.", restart=True, unsupported="warn")] = Traces()
