"""Reads the history file of a gateway that does not run; it changes nothing in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from attrs import frozen

from gateway.cli.options import settings_sources
from gateway.cli.outbox_file import BUSY_SECONDS, become_owner
from gateway.console import compare_configs, config_use
from gateway.flags import ConfigError, Snapshot, load
from gateway.history import NotKept, tables
from gateway.storage import HISTORY, history_path
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.diagnostics_port import DiagnosticsPort

UNIT_FILE: Final = Path("/var/lib/flaggateway/history.sqlite3")  # in the StateDirectory of the systemd unit


@contextmanager
def open_history(port: DiagnosticsPort, unreached: click.ClickException) -> Iterator[HistoryReader]:
    """Open the file of the settings.

    :raises click.ClickException: ``unreached`` if the command names a gateway, another one if there is no such file
    """
    if port.url is not None:
        raise unreached
    path = _path()
    if path is None or not path.exists():
        where = "" if path is None else f", and there is no history at {path}"
        raise click.ClickException(f"{unreached.message}{where}") from None
    become_owner(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as file:
            found = tuple(file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            if found != (HISTORY.application_id, HISTORY.version):
                raise click.ClickException(f"{path} is no history of this version of flaggateway")
            yield HistoryReader(file)
    except (sqlite3.Error, OSError) as error:
        raise click.ClickException(f"{path}: {error}") from None
    except NotKept as error:
        raise click.ClickException(str(error)) from None


def _path() -> Path | None:
    loaded = settings_sources().file().read()
    settings = loaded.settings_for("history")
    configured = "" if settings is None else settings.history.path
    path = history_path(configured, settings_sources().environ(), Path.home())
    return UNIT_FILE if not configured and (path is None or not path.exists()) and UNIT_FILE.exists() else path


@frozen
class HistoryReader:
    """The answers of the API, from an open file."""

    connection: sqlite3.Connection

    def listed(self, sdk: str, limit: int) -> list[dict[str, Any]]:
        """Return what was in use, the newest first."""
        page = tables.applications(self.connection, sdk, None, limit)
        return [_plain(config_use(each)) for each in page.found]

    def pinned(self, sdk: str) -> dict[str, Any] | None:
        """Return what is pinned."""
        pin = tables.read_pins(self.connection).get(sdk)
        return None if pin is None else {"config": pin.config_id, "since": iso(pin.at), "waiting": None}

    def shown(self, sdk: str, config_id: str) -> dict[str, Any]:
        """Return a config JSON and its last use."""
        stored = self._stored(sdk, config_id)
        return {"use": _plain(config_use(stored.application)), "config": msgspec.json.decode(stored.body)}

    def compared(self, sdk: str, first: str, second: str) -> dict[str, Any]:
        """Return what changed from one config to another; ``live`` is the one that was in use last."""
        return _plain(compare_configs(self._snapshot(sdk, first), self._snapshot(sdk, second)))

    def _stored(self, sdk: str, config_id: str) -> tables.StoredConfig:
        if config_id == "live":
            last = tables.at_moment(self.connection, sdk, float("inf"))
            return tables.read_config(self.connection, last)
        return tables.read_config(self.connection, tables.find_config(self.connection, sdk, config_id))

    def _snapshot(self, sdk: str, config_id: str) -> Snapshot:
        stored = self._stored(sdk, config_id)
        try:
            return load(stored.body, stored.application.etag)
        except ConfigError as error:
            raise click.ClickException(f"this version cannot read {stored.application.config_id}: {error}") from None


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(struct)
    return found
