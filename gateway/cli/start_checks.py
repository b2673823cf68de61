"""What a start needs besides valid settings: certificates, ports, the outbox, the exporter's file, local configs.

Nothing is created or changed, so that ``check`` may run as root beside the gateway of a systemd unit.
Where a gateway already runs with these settings, its ports and locks are taken as they should be.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing, suppress
from errno import EADDRINUSE
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings import Problem, Settings

EVERY_IPV4 = "0.0.0.0"  # noqa: S104 - the operator configured every address
SHOWN_FAULTS = 10  # of each local file
ANSWER_SECONDS = 1.0  # for a running gateway to answer on its diagnostics port


def start_problems(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield why a gateway with these settings would refuse to start."""
    from gateway.settings import Problem

    for option, reason in (
        *_certificates(settings),
        *_token_keys(settings),
        *([] if _runs(settings) else _ports(settings)),
        *_outbox(settings, environ),
        *_exporter_file(settings),
    ):
        yield Problem(path=option, text=reason)


def start_warnings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield why a gateway with these settings would start, but not serve all flags at all times."""
    from gateway.settings import Problem

    for option, text in (*_config_cache(settings, environ), *_local_files(settings)):
        yield Problem(path=option, text=text)


def _config_cache(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from gateway.storage import config_cache_path

    if not settings.cache.file.enabled or all(sdk.offline.enabled for sdk in settings.sdks.values()):
        return
    path = config_cache_path(settings.cache.file.path, environ, Path.home())
    if path is None:
        yield "cache.file.path", "there is no state directory in which configs could be kept; set it"
    elif refusal := _write_refusal(path / "config"):
        yield "cache.file.path", f"{path} cannot be written, so no config is kept: {refusal}"


def _local_files(settings: Settings) -> Iterator[tuple[str, str]]:
    from gateway.upstream import file_faults

    for sdk_id, sdk in settings.sdks.items():
        path = sdk.offline.local.file_path if sdk.offline.enabled else ""
        if path:
            option = f"sdks.{sdk_id}.offline.local.file_path"
            faults = file_faults(path, settings.upstream.max_bytes)
            yield from ((option, f"{path}: {fault}") for fault in faults[:SHOWN_FAULTS])
            if len(faults) > SHOWN_FAULTS:
                yield option, f"{path}: {len(faults) - SHOWN_FAULTS} more flags fail"


def _certificates(settings: Settings) -> Iterator[tuple[str, str]]:
    from gateway.http_client import TrustError, load_trust
    from gateway.web.server import TlsError, build_context

    ca_files = {
        "upstream.ca_file": settings.upstream.ca_file,
        "exporter.ca_file": settings.exporter.ca_file,
        "identity.ca_file": settings.identity.ca_file,
    }
    for option, path in ca_files.items():
        try:
            load_trust(path, option)
        except TrustError as error:
            yield "", str(error)
    try:
        if settings.http.enabled and settings.tls.enabled:
            build_context(settings.tls)
    except TlsError as error:
        yield "", str(error)


def _token_keys(settings: Settings) -> Iterator[tuple[str, str]]:
    from gateway.identity import IdentityError, IssuerKeys, open_verifier

    try:
        open_verifier(settings.identity, IssuerKeys())
    except IdentityError as error:
        yield "", str(error)


def _runs(settings: Settings) -> bool:
    """Return whether a gateway answers on the diagnostics port."""
    if not settings.diag.enabled:
        return False
    host = "127.0.0.1" if settings.diag.bind in {"", "::", EVERY_IPV4} else settings.diag.bind
    with suppress(OSError), socket.create_connection((host, settings.diag.port), ANSWER_SECONDS) as link:
        link.settimeout(ANSWER_SECONDS)
        link.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return link.recv(64).startswith(b"HTTP/1.1 200 ")
    return False


def _ports(settings: Settings) -> Iterator[tuple[str, str]]:
    from gateway.serving import listen_error

    for server in (settings.http, settings.diag):
        error = _port_error(server.port, server.bind) if server.enabled else None
        if error is not None:
            yield listen_error(error, settings, server.port, server.bind)


def _port_error(port: int, bind: str) -> OSError | None:
    """Open the port as a start does and close it again; return why that failed."""
    for address in (bind,) if bind else ("::", EVERY_IPV4):
        try:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
                probe.listen(1)
        except OSError as error:
            found = error
        else:
            return None
        if found.errno == EADDRINUSE:  # a host without IPv6 has another error, and then IPv4 counts
            break
    return found


def _outbox(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from gateway.storage import APPLICATION_ID, SCHEMA_VERSION, outbox_path

    needs_file = settings.exporter.spools or (settings.webhooks and not settings.outbox.url)
    if settings.webhooks and settings.outbox.url:
        yield from _shared_outbox(settings.outbox.url)
    if not needs_file:
        return
    path = outbox_path(settings.outbox.path, environ, Path.home())
    refusal = _write_refusal(path)
    if refusal or not path.exists():
        yield from [("outbox.path", f"{path} cannot be written: {refusal}")] if refusal else []
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            ours, version, tables = (
                connection.execute(query).fetchone()[0]
                for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
            )
    except sqlite3.Error as error:
        yield "outbox.path", f"{path} cannot be opened: {error}"
        return
    if ours not in {0, APPLICATION_ID} or (tables and not ours):
        yield "outbox.path", f"{path} is the database of another program"
    elif version > SCHEMA_VERSION:
        yield "outbox.path", f"{path} was written by a newer gateway (schema {version}, supported: {SCHEMA_VERSION})"


def _shared_outbox(url: str) -> Iterator[tuple[str, str]]:
    from gateway.storage import OutboxUnusable, check_shared

    try:
        check_shared(url)
    except OutboxUnusable as error:
        yield "outbox.url", str(error).removeprefix("outbox.url: ")


def _exporter_file(settings: Settings) -> Iterator[tuple[str, str]]:
    exporter = settings.exporter
    if exporter.on and exporter.kind == "file":
        refusal = _write_refusal(Path(exporter.path), make_folder=False)
        if refusal:
            yield "exporter.path", f"{exporter.path} cannot be written: {refusal}"


def _write_refusal(path: Path, *, make_folder: bool = True) -> str:
    """Return why the file could not be created or written by this user; empty if it could."""
    try:
        if path.exists():
            if path.is_dir():
                return "it is a directory"
            return "" if os.access(path, os.W_OK, effective_ids=True) else "permission denied"
        folder = path.parent
        while make_folder and not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.exists():
            return f"there is no directory {folder}"
        if not folder.is_dir():
            return f"{folder} is not a directory"
        return "" if os.access(folder, os.W_OK | os.X_OK, effective_ids=True) else f"{folder}: permission denied"
    except OSError as error:
        return error.strerror or type(error).__name__
