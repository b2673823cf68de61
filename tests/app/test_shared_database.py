"""The database that webhooks and exporter share: opened by the check of the settings that need it first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed

from gateway.app.shared_database import SharedDatabase
from gateway.settings import Endpoint, Exporter, Settings
from gateway.storage import OutboxUnusable

HOOK = Settings(webhooks=[Endpoint(name="ops", url="http://127.0.0.1:1/")])
SPOOL = Settings(exporter=Exporter(endpoint_url="http://127.0.0.1:1/"))


class Part:
    """Webhooks or exporter: keeps the database that it is given."""

    database: Any = None

    def check(self, settings: Settings) -> None:
        """Accept any settings."""

    def configure(self, _settings: Settings, database: Any, _trust: object = None) -> Deferred[None]:
        """Keep the database."""
        self.database = database
        return succeed(None)

    async def stop(self) -> None:
        """Stop at once."""


def shared(path: Path) -> SharedDatabase:
    """Return a shared database with fake users."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread and a real file

    parts: tuple[Any, Any] = (Part(), Part())
    return SharedDatabase(reactor, path, *parts)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("settings", [HOOK, SPOOL])
async def test_webhooks_and_exporter_get_the_same_database(tmp_path: Path, settings: Settings) -> None:
    """It is opened by the first settings that need it, and stays the same afterwards."""
    path = tmp_path / "outbox.sqlite3"
    database = shared(path)
    assert (None, None) == database.check(Settings())
    await database.configure(Settings(), None, None)
    assert (None, False) == (database._webhooks.database, path.exists())
    opened, _ = database.check(settings)
    await database.configure(settings, opened, None)
    assert (None, None) == database.check(settings)
    await database.configure(Settings(), None, None)
    assert opened is database._webhooks.database is database._exporter.database
    await database.stop()


@pytest_twisted.ensureDeferred
async def test_a_database_that_is_closed_after_a_refused_reload_is_free(tmp_path: Path) -> None:
    """While it is open, another gateway cannot open it."""
    one, other = (shared(tmp_path / "outbox.sqlite3") for _ in range(2))
    opened, _ = one.check(HOOK)
    assert opened is not None
    with pytest.raises(OutboxUnusable, match="in use by another gateway"):
        other.check(HOOK)
    await opened.close()
    again, _ = other.check(HOOK)
    assert again is not None
    await again.close()
