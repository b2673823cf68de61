"""The default paths of the database and of the config cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.storage import config_cache_path, history_path, outbox_path

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


@pytest.mark.parametrize(
    ("configured", "environ", "expected"),
    [
        ("/var/x", {"STATE_DIRECTORY": "/var/lib/fg"}, "/var/x"),
        ("", {"STATE_DIRECTORY": "/var/lib/fg", "XDG_STATE_HOME": "/s"}, "/var/lib/fg/configs"),
        ("", {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/configs"),
        ("", {"XDG_STATE_HOME": "/s"}, "/s/flaggateway/configs"),
        ("", {"XDG_STATE_HOME": "relative"}, None),
        ("", {}, None),
    ],
)
@pytest.mark.parametrize("home", ["/", "/nonexistent"])
def test_configs_without_a_home(configured: str, environ: dict[str, str], expected: str | None, home: str) -> None:
    """The user of a service may have none, and then nothing is kept unless a directory is named."""
    path = config_cache_path(configured, environ, Path(home))
    assert path == (None if expected is None else Path(expected))


def test_the_history_is_beside_the_configs(tmp_path: Path) -> None:
    """With the same rules, since it is as optional as they are."""
    assert history_path("", {"STATE_DIRECTORY": "/var/lib/fg"}, Path("/")) == Path("/var/lib/fg/history.sqlite3")
    assert history_path("", {}, tmp_path) == tmp_path / ".local" / "state" / "flaggateway" / "history.sqlite3"
    assert (history_path("", {}, Path("/")), history_path("/h", {}, Path("/"))) == (None, Path("/h"))


def test_configs_below_the_home(tmp_path: Path) -> None:
    """As for the outbox."""
    assert config_cache_path("", {}, tmp_path) == tmp_path / ".local" / "state" / "flaggateway" / "configs"
