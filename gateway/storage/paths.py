"""The default path of the database; pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME: Final = "outbox.sqlite3"


def outbox_path(configured: str, environ: Mapping[str, str], home: Path) -> Path:
    """Return the configured path, else one in systemd's state directory, else one in the user's.

    Of several state directories, which systemd separates by colons, the first is used.
    """
    if configured:
        return Path(configured)
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state) / FILE_NAME
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and ignored.
    root = Path(base) if base.startswith("/") else home / ".local" / "state"
    return root / "flaggateway" / FILE_NAME
