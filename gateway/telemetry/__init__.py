"""What an operator sees: status, readiness, metrics, logs, the diagnostics port, and what systemd is told.

It stands beside the flow of data: the other rooms tell it what happened, and nothing they do depends on it.
"""

from gateway.telemetry.components import LogLevels, component
from gateway.telemetry.diagnostics import DiagnosticsSite, make_diagnostics_site
from gateway.telemetry.health_warnings import Concerns
from gateway.telemetry.lag import LagMonitor
from gateway.telemetry.logfile import begin_file, log_file, open_again
from gateway.telemetry.logs import log_observer
from gateway.telemetry.metrics import (
    Exposition,
    Metrics,
    NoMetrics,
    ProcessMetrics,
    StreamMetrics,
    UpstreamMetrics,
)
from gateway.telemetry.notify import Notifier
from gateway.telemetry.prometheus import REQUEST_BUCKETS, PrometheusMetrics
from gateway.telemetry.readiness import Readiness, SdkState, Serving, Verdict
from gateway.telemetry.rlimits import FileLimit, raise_file_limit
from gateway.telemetry.status import Status
from gateway.telemetry.vitals import Vitals

__all__ = (
    "REQUEST_BUCKETS",
    "Concerns",
    "DiagnosticsSite",
    "Exposition",
    "FileLimit",
    "LagMonitor",
    "LogLevels",
    "Metrics",
    "NoMetrics",
    "Notifier",
    "ProcessMetrics",
    "PrometheusMetrics",
    "Readiness",
    "SdkState",
    "Serving",
    "Status",
    "StreamMetrics",
    "UpstreamMetrics",
    "Verdict",
    "Vitals",
    "begin_file",
    "component",
    "log_file",
    "log_observer",
    "make_diagnostics_site",
    "open_again",
    "raise_file_limit",
)
