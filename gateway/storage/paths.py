"""Where the outbox's file is when the settings do not say; pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "outbox.sqlite3"


def outbox_path(configured: str, environ: Mapping[str, str], home: Path) -> Path:
    """Return the file: as configured, else under systemd's state directory, else under the user's.

    systemd may name several state directories, separated by colons: the first is ours.
    """
    if configured:
        return Path(configured)
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state) / FILE
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid, and ignored.
    root = Path(base) if base.startswith("/") else home / ".local" / "state"
    return root / "flaggateway" / FILE
