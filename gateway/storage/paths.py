"""The default paths of what the gateway keeps on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME: Final = "outbox.sqlite3"
CONFIGS_NAME: Final = "configs"
HISTORY_NAME: Final = "history.sqlite3"


def outbox_path(configured: str, environ: Mapping[str, str], home: Path) -> Path:
    """Return the configured path, else one in the state directory."""
    return Path(configured) if configured else _state_directory(environ, home) / FILE_NAME


def config_cache_path(configured: str, environ: Mapping[str, str], home: Path) -> Path | None:
    """Return the configured directory, else one in the state directory; None for a user without a home directory.

    Users of services have ``/`` or a directory that does not exist as their home.
    """
    return _kept_path(configured, CONFIGS_NAME, environ, home)


def history_path(configured: str, environ: Mapping[str, str], home: Path) -> Path | None:
    """Return the configured file, else one in the state directory; None for a user without a home directory."""
    return _kept_path(configured, HISTORY_NAME, environ, home)


def _kept_path(configured: str, name: str, environ: Mapping[str, str], home: Path) -> Path | None:
    if configured:
        return Path(configured)
    explicit = environ.get("STATE_DIRECTORY") or environ.get("XDG_STATE_HOME", "").startswith("/")
    if not explicit and (home == Path("/") or not home.is_dir()):
        return None
    return _state_directory(environ, home) / name


def _state_directory(environ: Mapping[str, str], home: Path) -> Path:
    """Return systemd's state directory, else the user's.

    Of several state directories, which systemd separates by colons, the first is used.
    """
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and ignored.
    root = Path(base) if base.startswith("/") else home / ".local" / "state"
    return root / "flaggateway"
