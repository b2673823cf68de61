"""Log components: each module logs under the component whose level operators set for it."""

import ast
import inspect
from pathlib import Path

import pytest

import gateway
from gateway.app.config_history import ConfigHistory
from gateway.app.foresight import foresee
from gateway.app.reload import Reload
from gateway.app.service import Gateway
from gateway.app.shared_database import SharedDatabase
from gateway.console import Console, ConsoleApi, Ring, UserStreams
from gateway.console.configs import ConfigRoutes
from gateway.export.batch_sender import BatchSender
from gateway.export.file_sink import FileSink
from gateway.export.forwarder import Forwarder
from gateway.export.pipeline import ExportPipeline
from gateway.history import History
from gateway.logger import COMPONENTS, component_logger
from gateway.serving import Server
from gateway.serving.push_loop import PushLoop
from gateway.serving.tails import Tails
from gateway.storage.postgres import PostgresStore
from gateway.telemetry import logs
from gateway.telemetry.config_pages import ConfigPages
from gateway.telemetry.health_warnings import HealthWarnings
from gateway.telemetry.lag import LagMonitor
from gateway.telemetry.logfile import reopen_log_file
from gateway.telemetry.logins import Logins
from gateway.telemetry.outbox_pages import OutboxPages
from gateway.telemetry.rlimits import raise_file_limit
from gateway.upstream.cdn_source import CdnSource
from gateway.upstream.checking import Checker
from gateway.upstream.config_cache import KeptConfig
from gateway.upstream.config_guard import ConfigGuard
from gateway.upstream.fetch_failures import FetchFailures
from gateway.upstream.fetch_queue import FetchQueue
from gateway.upstream.file_cache import FileCache
from gateway.upstream.file_source import FileSource
from gateway.upstream.inotify import open_watch
from gateway.upstream.registry import Registry
from gateway.upstream.reporter import report_fetch
from gateway.upstream.sdk import Sdk
from gateway.upstream.shared.cluster_view import ClusterView
from gateway.upstream.shared.mirrored_cache import MirroredCache
from gateway.upstream.shared.postgres_cache import PostgresCache
from gateway.upstream.shared.reader import Reader
from gateway.upstream.shared.redis_cache import RedisCache
from gateway.upstream.shared.source import SharedSource
from gateway.upstream.shared.watcher import Watcher
from gateway.web.answers.hook import hook
from gateway.web.context import OpenStreams
from gateway.web.errors import shield
from gateway.web.server.epoll import ConnectionEpoll
from gateway.web.server.fast_http import FastHttp
from gateway.web.server.request_log import with_request_log
from gateway.web.server.write_batch import PlainWriter
from gateway.webhooks.cluster import Cluster
from gateway.webhooks.delivery.courier import Courier
from gateway.webhooks.delivery.endpoint_health import EndpointHealth
from gateway.webhooks.delivery.endpoint_queue import EndpointQueue
from gateway.webhooks.maintenance import Maintenance
from gateway.webhooks.recorder import Recorder
from gateway.webhooks.service import Webhooks
from gateway.workers.config_intake import ConfigIntake
from gateway.workers.leader import Leader
from gateway.workers.link import Link
from gateway.workers.pool import WorkerPool
from gateway.workers.process import WorkerProcess
from gateway.workers.worker import Worker

# One public object of each module that logs: renaming a module changes an import above and nothing below.
LOGGED_AS = [
    (ConfigPages, "diag"),
    (Console, "diag"),
    (ConsoleApi, "diag"),
    (ConfigRoutes, "diag"),
    (Ring, "diag"),
    (UserStreams, "diag"),
    (HealthWarnings, "diag"),
    (LagMonitor, "diag"),
    (Logins, "diag"),
    (OutboxPages, "diag"),
    (raise_file_limit, "diag"),
    (Cluster, "gateway"),
    (PostgresStore, "gateway"),
    (Courier, "gateway"),
    (EndpointHealth, "gateway"),
    (EndpointQueue, "gateway"),
    (Maintenance, "gateway"),
    (Leader, "gateway"),
    (ConnectionEpoll, "gateway"),
    (FileSink, "gateway"),
    (BatchSender, "gateway"),
    (ExportPipeline, "gateway"),
    (Server, "gateway"),
    (Gateway, "gateway"),
    (ConfigHistory, "gateway"),
    (History, "gateway"),
    (Forwarder, "gateway"),
    (Link, "gateway"),
    (WorkerProcess, "gateway"),
    (Recorder, "gateway"),
    (Reload, "gateway"),
    (WorkerPool, "gateway"),
    (SharedDatabase, "gateway"),
    (Webhooks, "gateway"),
    (ConfigIntake, "gateway"),
    (Worker, "gateway"),
    (reopen_log_file, "gateway"),
    (PlainWriter, "http"),
    (FastHttp, "http"),
    (hook, "http"),
    (shield, "http"),
    (with_request_log, "http"),
    (OpenStreams, "http.sse"),
    (PushLoop, "http.sse"),
    (Tails, "http.sse"),
    (FileSource, "offline"),
    (open_watch, "offline"),
    (CdnSource, "sdks"),
    (ConfigGuard, "sdks"),
    (Checker, "sdks"),
    (FileCache, "sdks"),
    (KeptConfig, "sdks"),
    (ClusterView, "sdks"),
    (MirroredCache, "sdks"),
    (PostgresCache, "sdks"),
    (Reader, "sdks"),
    (RedisCache, "sdks"),
    (Registry, "sdks"),
    (Sdk, "sdks"),
    (SharedSource, "sdks"),
    (Watcher, "sdks"),
    (foresee, "sdks"),
    (report_fetch, "sdks"),
    (FetchFailures, "sdks"),
    (FetchQueue, "sdks"),
]


@pytest.mark.parametrize(("logging", "component"), LOGGED_AS, ids=lambda value: getattr(value, "__name__", value))
def test_each_module_logs_under_its_component(logging, component):
    """A level that an operator set governs the same lines after modules were moved or renamed."""
    assert component == inspect.getmodule(logging)._log.namespace


def test_every_module_that_logs_is_in_the_table():
    """A new logger gets a row above, so that its component is a decision."""
    root = Path(gateway.__file__).parent
    found = {path for path in root.rglob("*.py") if "component_logger" in called(path)}
    assert found == {Path(inspect.getfile(logging)) for logging, _ in LOGGED_AS}


def test_no_module_derives_a_component_from_its_own_name():
    """Only the logger that silences Twisted is made without a component."""
    root = Path(gateway.__file__).parent
    plain = [path for path in root.rglob("*.py") if "Logger" in called(path) and path != root / "logger.py"]
    assert ["twisted_private.py"] == [path.name for path in plain]


@pytest.mark.parametrize("component", ["", "web", "gateway.web", "sdks.production"])
def test_an_unknown_component_is_refused(component):
    """Its level could not be set."""
    with pytest.raises(ValueError, match=r"unknown log component .*; use one of diag, gateway, http, http\.sse, "):
        component_logger(component)


def test_the_component_is_the_namespace():
    """Log lines and levels go by the namespace alone."""
    assert {component_logger(component).namespace for component in COMPONENTS} == COMPONENTS


# Fields that the JSON lines leave out, since Twisted adds fields of these names to events of its own.
LEFT_OUT = logs._INTERNAL - {"failure", "report"}  # which are meant for the observer


def test_no_field_of_a_log_call_is_left_out_of_json_lines():
    """A field named like one of Twisted's is missing there, as the id of a message once was."""
    fields = {(name, field) for name, tree in modules() for field, _ in logged_fields(tree)}
    assert ("endpoint_health.py", "message_id") in fields
    assert set() == {(name, field) for name, field in fields if field in LEFT_OUT}


def test_no_number_is_logged_as_text():
    """It is rounded by the call and formatted by the message, so that a JSON line has a number."""
    assert [] == [(name, field) for name, tree in modules() for field in numbers_as_text(tree)]


def test_numbers_as_text_are_found():
    """The check above has its own cases: formatted in the call, or into a variable before it."""
    direct = """_log.info("{a} {b} {c}", a=f"{x:.1f}", b=f"{x:.1f} s", c=f"{x}")"""
    before = """shown = f"{x:d}"\n_log.emit(level, "{a}", a=shown, b=str(len(x)), c=x)"""
    assert ["a", "a", "b"] == [*numbers_as_text(ast.parse(direct)), *numbers_as_text(ast.parse(before))]


def modules():
    """Yield the name and the syntax tree of each module of the gateway."""
    for path in Path(gateway.__file__).parent.rglob("*.py"):
        yield path.name, ast.parse(path.read_text())


def logged_fields(tree):
    """Yield the name and the value of each field of the log calls of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "_log":
                yield from ((keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None)


def numbers_as_text(tree):
    """Yield the fields of log calls whose value is a number that was formatted."""
    formatted = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_formatted_number(node.value):
            formatted |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for field, value in logged_fields(tree):
        if is_formatted_number(value) or (isinstance(value, ast.Name) and value.id in formatted):
            yield field


def is_formatted_number(value):
    """Return whether an expression is ``f"{…:.1f}"`` or the like, or ``str()`` of ``len``, ``round`` or ``int``."""
    if isinstance(value, ast.JoinedStr) and len(value.values) == 1 and isinstance(value.values[0], ast.FormattedValue):
        spec = value.values[0].format_spec
        return spec is not None and ast.unparse(spec).rstrip("'\"")[-1:] in set("dfgeEGn%")
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "str" and value.args:
        inner = value.args[0]
        return isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in NUMBERS
    return False


NUMBERS = frozenset({"int", "len", "max", "min", "round", "sum"})


def called(path):
    """Return the plain names that a source file calls."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}
