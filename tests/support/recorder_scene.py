"""A recorder over a database in memory, and configs of boolean flags for it."""

from __future__ import annotations

import json

import msgspec
from twisted.internet.task import Clock

from gateway.flags import Snapshot, load
from gateway.settings import Endpoint, Outbox, Sdk, Settings
from gateway.webhooks.composer import Composer
from gateway.webhooks.formats import Author
from gateway.webhooks.recorder import Recorder
from outbox_memory import DirectStore, WebhookCounts, new_store


def config(*on: str, off: tuple[str, ...] = (), etag: str = "") -> Snapshot:
    """A config of boolean flags."""
    flags = {key: {"t": 0, "v": {"b": key in on}, "i": f"v-{key}"} for key in (*on, *off)}
    body = json.dumps({"p": {"s": "salt", "u": "", "r": 0}, "f": flags}).encode()
    return load(body, etag or f'"{"".join(on)}-{"".join(off)}"')


ON, OFF = config("a"), config(off=("a",))


class RecorderScene:
    """A recorder over a database in memory, with one endpoint per given format, by default an envelope."""

    def __init__(self, *formats: str, store: DirectStore | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = store or new_store()
        webhooks = [Endpoint(name=each, url="http://127.0.0.1/", format=each) for each in formats or ("envelope",)]
        self.composer = Composer(Settings(sdks={"one": Sdk(key="k")}, webhooks=webhooks), "host")
        self.woken: list[str] = []
        self.changes: list[tuple[str, Snapshot, int]] = []
        self.recorder = Recorder(
            self.clock,
            self.clock.seconds,
            self.store,
            self.composer,
            WebhookCounts(),
            self.woken.extend,
            lambda *change: self.changes.append(change),
        )

    def limit(self, max_bytes: int) -> None:
        """Set ``outbox.max_bytes``."""
        settings = self.composer.settings
        self.composer.settings = msgspec.structs.replace(settings, outbox=Outbox(max_bytes=max_bytes))

    def record(self, *snapshots: Snapshot, author: Author | None = None) -> list[bool]:
        """Record one after the other; return whether each Deferred has fired."""
        return [self.recorder.record("one", each, author, "").called for each in snapshots]

    def messages(self, columns: str = "type, subject") -> list[tuple]:
        """Return the messages in order."""
        return self.store.rows(f"SELECT {columns} FROM messages ORDER BY row")
