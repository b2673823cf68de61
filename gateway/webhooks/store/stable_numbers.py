"""The integers that some formats need for flags, segments and SDKs: assigned once, and never reused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import frozen

from gateway.webhooks.formats import Feature, initial_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Snapshot
    from gateway.storage import Connection


@frozen
class StableNumbers:
    """The ``IntegerIds`` of one transaction, in the database's thread; ``now`` is Unix seconds.

    ``environments`` holds the numbers that the settings name, by SDK.  The initial value of a new flag is taken from
    the first of ``snapshots`` that has it.
    """

    connection: Connection
    now: float
    environments: Mapping[str, int]
    project_fields: tuple[int, str, int]
    snapshots: tuple[Snapshot, ...] = ()

    def environment(self, sdk_id: str) -> int:
        """See ``IntegerIds``."""
        return self.environments.get(sdk_id) or self._number("environment", sdk_id)[0]

    def project(self) -> tuple[int, str, int]:
        """See ``IntegerIds``."""
        return self.project_fields

    def feature(self, sdk_id: str, key: str) -> Feature:
        """See ``IntegerIds``."""
        number, created, first = self._number("feature", sdk_id, key)
        return Feature(number, created, None if first is None else msgspec.json.decode(first))

    def state(self, sdk_id: str, key: str, target: str) -> int:
        """See ``IntegerIds``."""
        return self._number("state", sdk_id, key, target)[0]

    def segment(self, sdk_id: str, name: str) -> int:
        """See ``IntegerIds``."""
        return self._number("segment", sdk_id, name)[0]

    def add_flags(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Assign a number to each new flag of ``snapshot``: it counts as first seen ``now``."""
        rows = self.connection.execute("SELECT key FROM numbers WHERE kind = 'feature' AND sdk_id = ?", (sdk_id,))
        known = {row[0] for row in rows}
        for key in snapshot.keys:
            if key not in known:
                self.feature(sdk_id, key)

    def _number(self, kind: str, sdk_id: str, key: str = "", target: str = "") -> tuple[int, float, str | None]:
        query = (
            "SELECT id, created, initial_value FROM numbers WHERE kind = ? AND sdk_id = ? AND key = ? AND target = ?"
        )
        found = self.connection.execute(query, (kind, sdk_id, key, target)).fetchone()
        if found is not None:
            return found[0], found[1], found[2]
        first = self._first_value(key) if kind == "feature" else None
        made = self.connection.execute(
            "INSERT INTO numbers (kind, sdk_id, key, target, created, initial_value) VALUES (?, ?, ?, ?, ?, ?)"
            " RETURNING id",
            (kind, sdk_id, key, target, self.now, first),
        ).fetchone()
        return made[0], self.now, first

    def _first_value(self, key: str) -> str | None:
        for snapshot in self.snapshots:
            if key in snapshot.flags:
                return msgspec.json.encode(initial_value(snapshot, key)).decode()
        return None
