"""The path of the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.storage import outbox_path

HOME = Path("/home/gw")


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        ("/var/x.db", {"STATE_DIRECTORY": "/var/lib/fg"}, "/var/x.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/fg", "XDG_STATE_HOME": "/s"}, "/var/lib/fg/outbox.sqlite3"),
        ("", {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/outbox.sqlite3"),
        ("", {"XDG_STATE_HOME": "/s"}, "/s/flaggateway/outbox.sqlite3"),
        ("", {"XDG_STATE_HOME": "relative"}, "/home/gw/.local/state/flaggateway/outbox.sqlite3"),
        ("", {}, "/home/gw/.local/state/flaggateway/outbox.sqlite3"),
    ],
)
def test_settings_then_systemd_then_the_users_state(configured: str, environ: dict[str, str], expected: str) -> None:
    """The first one that is set is used."""
    assert outbox_path(configured, environ, HOME) == Path(expected)
