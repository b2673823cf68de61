"""What operators see: status, readiness, metrics, logs, the diagnostics port, notifications to systemd.

It is not part of the flow of data: the other rooms report events to it, and none depends on it.
"""

from gateway.telemetry.bounded_http import BODY_LIMIT, BoundedRequest
from gateway.telemetry.caller import LOCAL, Caller, Role
from gateway.telemetry.diagnostics import Api, DiagnosticsSite, make_diagnostics_site
from gateway.telemetry.health_warnings import HealthWarnings
from gateway.telemetry.http_metrics import REQUEST_BUCKETS
from gateway.telemetry.lag import LagMonitor
from gateway.telemetry.log_levels import LogLevels
from gateway.telemetry.log_writer import LogWriter
from gateway.telemetry.logfile import log_file_path, open_log_file, reopen_log_file
from gateway.telemetry.logs import dropped_line, log_observer
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.operator_access import RequestError, error_body, read_moment, read_parameters, refusal
from gateway.telemetry.outbox_pages import DeliveryAdmin, OutboxPages
from gateway.telemetry.readiness import Readiness, SdkState
from gateway.telemetry.rlimits import raise_file_limit
from gateway.telemetry.seen_clients import SeenAgent, SeenClients, SeenKey, UnknownFlag
from gateway.telemetry.status import ProcessStatus, SdkStatus, Status, WorkerState
from gateway.telemetry.systemd import SystemdNotifier

__all__ = (
    "BODY_LIMIT",
    "LOCAL",
    "REQUEST_BUCKETS",
    "Api",
    "BoundedRequest",
    "Caller",
    "DeliveryAdmin",
    "DiagnosticsSite",
    "HealthWarnings",
    "LagMonitor",
    "LogLevels",
    "LogWriter",
    "Metrics",
    "OutboxPages",
    "ProcessStatus",
    "Readiness",
    "RequestError",
    "Role",
    "SdkState",
    "SdkStatus",
    "SeenAgent",
    "SeenClients",
    "SeenKey",
    "Status",
    "SystemdNotifier",
    "UnknownFlag",
    "WorkerState",
    "dropped_line",
    "error_body",
    "log_file_path",
    "log_observer",
    "make_diagnostics_site",
    "open_log_file",
    "raise_file_limit",
    "read_moment",
    "read_parameters",
    "refusal",
    "reopen_log_file",
)
