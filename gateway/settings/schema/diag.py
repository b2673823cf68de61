"""Options of the diagnostics server."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import Section


class OnByDefault(Section, frozen=True):
    """A part that is on by default."""

    enabled: Annotated[bool, note("Whether it is on.")] = True


class Otlp(Section, frozen=True):
    """Export to an OpenTelemetry collector."""

    enabled: Annotated[bool, note("Whether the export is on.")] = False
    protocol: Annotated[str, note("Protocol of the collector: `http`, `https` or `grpc`.")] = "http"
    endpoint: Annotated[str, note("Host and port of the collector; empty means the protocol's default.")] = ""


class Metrics(Section, frozen=True):
    """Metrics of the gateway."""

    enabled: Annotated[bool, note("Whether metrics are collected.", restart=True)] = True
    prometheus: Annotated[
        OnByDefault, note("`/metrics` on the diagnostics port, in the format of Prometheus.", restart=True)
    ] = field(default_factory=OnByDefault)
    otlp: Annotated[Otlp, note("Export of metrics to an OpenTelemetry collector.", restart=True, later="warn")] = field(
        default_factory=Otlp
    )


class Traces(Section, frozen=True):
    """Spans of requests."""

    enabled: Annotated[bool, note("Whether spans are recorded.")] = False
    otlp: Annotated[Otlp, note("Export of spans to an OpenTelemetry collector.")] = field(default_factory=Otlp)


class Diag(Section, frozen=True):
    """The diagnostics server."""

    enabled: Annotated[bool, note("Whether the diagnostics server runs.", restart=True)] = True
    port: Annotated[
        int,
        note("TCP port to listen on.", ge=1, le=65535, restart=True, error="{section}: invalid port {found}"),
    ] = 8051
    bind: Annotated[
        str, note("Address to listen on; empty means all addresses.", ours=True, restart=True, example="127.0.0.1")
    ] = ""
    auth_headers: Annotated[
        dict[str, str],
        note(
            "Headers and values that a request must have; if empty, deliveries and changes are shown only to"
            " callers on the same machine.",
            ours=True,
            hidden="all",
            example="{Authorization: Bearer change-me}",
        ),
    ] = field(default_factory=dict)
    service_name: Annotated[
        str, note("Name of this service in OpenTelemetry.", restart=True, later="warn", quiet=("",))
    ] = ""
    status: Annotated[OnByDefault, note("The status page.")] = field(default_factory=OnByDefault)
    metrics: Annotated[Metrics, note("Metrics.")] = field(default_factory=Metrics)
    traces: Annotated[Traces, note("Traces.", restart=True, later="warn")] = field(default_factory=Traces)
