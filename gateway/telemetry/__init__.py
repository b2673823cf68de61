"""What operators see: status, readiness, metrics, logs, the diagnostics port, notifications to systemd.

It is not part of the flow of data: the other rooms report events to it, and none depends on it.
"""

from gateway.telemetry.diagnostics import DiagnosticsSite, make_diagnostics_site
from gateway.telemetry.health_warnings import HealthWarnings
from gateway.telemetry.lag import LagMonitor
from gateway.telemetry.log_levels import LogLevels
from gateway.telemetry.log_writer import LogWriter
from gateway.telemetry.logfile import log_file_path, open_log_file, reopen_log_file
from gateway.telemetry.logs import dropped_line, log_observer
from gateway.telemetry.metrics import REQUEST_BUCKETS, Metrics
from gateway.telemetry.readiness import Readiness, SdkState
from gateway.telemetry.rlimits import raise_file_limit
from gateway.telemetry.status import ProcessStatus, Status
from gateway.telemetry.systemd import SystemdNotifier

__all__ = (
    "REQUEST_BUCKETS",
    "DiagnosticsSite",
    "HealthWarnings",
    "LagMonitor",
    "LogLevels",
    "LogWriter",
    "Metrics",
    "ProcessStatus",
    "Readiness",
    "SdkState",
    "Status",
    "SystemdNotifier",
    "dropped_line",
    "log_file_path",
    "log_observer",
    "make_diagnostics_site",
    "open_log_file",
    "raise_file_limit",
    "reopen_log_file",
)
