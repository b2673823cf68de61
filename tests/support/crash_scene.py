"""A gateway that is killed again and again, while configs change, flags are evaluated and receivers are in every mood.

CDNs, clients ──► gateway ──► receivers
                     ▲ SIGKILL, at random or at a failpoint of ``killable_twistd``

What is seen from outside goes into a ``crash_record.Seen``.
"""

from __future__ import annotations

import hmac
import json
import random
import socket
import sqlite3
import sys
import time
from base64 import b64encode
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from cdn_stand_in import SDK_KEY, CdnStandIn
from crash_record import Answer, Kill, Recorded, Seen
from eventually import eventually
from gateway_process import GatewayProcess
from killable_twistd import COMMITTED, IN_TRANSACTION
from receiver import Call, Receiver

RANDOM = "at random"
TURNS = (RANDOM, IN_TRANSACTION, RANDOM, COMMITTED)
SHORT, LONG = (0.05, 0.6), (1.1, 2.2)  # seconds that the gateway lives; an evaluation is safe after one
CHANGE_SECONDS = (0.01, 0.06)  # between two changes
EVALUATION_SECONDS = (0.001, 0.02)
SETTLE_SECONDS = 120.0  # for everything to be delivered once all is calm
MOODS: tuple[int | str, ...] = (*(204,) * 12, 500, 500, "reset", "hang")
CONCURRENCY = 8
SECRET = "whsec_" + b64encode(b"crash" * 5).decode()
ALLOWED = {"X-Test": "yes"}  # refreshes of callers without credentials are limited to one per second
OTHER_KEY = "configcat-sdk-1/zyxwvutsrqponmlkjihgfe/efghijklmnopqrstuvwxyz"


def config(value: int | bool) -> dict[str, Any]:
    """A config whose one flag ``flag`` has this value."""
    kind, name = (0, "b") if isinstance(value, bool) else (2, "i")
    return {"p": {"s": "salt"}, "f": {"flag": {"t": kind, "v": {name: value}, "i": f"v{value}"}}}


class KillableGateway(GatewayProcess):
    """A real twistd whose database stops where a test wants."""

    _control: socket.socket | None = None

    def reach(self, failpoint: str) -> None:
        """Return when the database's thread stands at this failpoint."""
        assert self._control is not None
        self._control.settimeout(30)
        self._control.send(failpoint.encode())
        assert self._control.recv(1024).decode() == failpoint

    def _twistd(self) -> tuple[list[str], tuple[int, ...]]:
        script = Path(__file__).with_name("killable_twistd.py")
        return [sys.executable, "-P", str(script), str(self._theirs.fileno())], (self._theirs.fileno(),)

    def _spawn(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, self._theirs = socket.socketpair()
        with self._theirs:
            super()._spawn()

    def kill(self) -> None:
        """End it at once, and what stood at a failpoint with it."""
        super().kill()
        if self._control is not None:
            self._control.close()
            self._control = None


class CrashScene:
    """Use it as a context manager: ``kill`` some times, then ``finish``, then judge ``seen`` by what is returned."""

    def __init__(self, home: Path, seed: int, workers: int = 1) -> None:
        """Begin with nothing running."""
        self.seen = Seen()
        self.database = home / "outbox.sqlite3"
        self._rng = random.Random(seed)
        self._calm = False
        self._over = Event()
        self._numbers, self._switch = CdnStandIn(config(0)), CdnStandIn(config(False))
        self._values: dict[str, dict[str, object]] = {
            "numbers": {self._numbers.etag: 0},
            "switch": {self._switch.etag: False},
        }
        self._well = Receiver(lambda call: self._check(call) or 204)
        self._odd = Receiver(lambda call: self._check(call) or self._mood())
        self._batches = Receiver(lambda call: self._check(call) or self._mood(), hang_seconds=0.7)
        self._workers = workers
        self._gateway = KillableGateway(self._settings() | {"workers": workers}, home)
        self._threads = [Thread(target=act, daemon=True) for act in (self._change, self._toggle, self._evaluate)]

    def __enter__(self) -> Self:
        """Start everything."""
        for part in (self._numbers, self._switch, self._well, self._odd, self._batches):
            part.__enter__()
        self._gateway.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        """End everything."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._gateway.kill()
        for part in (self._numbers, self._switch, self._well, self._odd, self._batches):
            part.__exit__(*why)

    def kill(self) -> None:
        """Let it live for a while, kill it, and start it again."""
        how = TURNS[len(self.seen.kills) % len(TURNS)]
        short = self._rng.random() < 0.6
        self._over.wait(self._rng.uniform(*(SHORT if short else LONG)))
        if how != RANDOM:
            self._gateway.reach(how)
        at = time.monotonic()
        self._gateway.kill()
        self.seen.kills.append(Kill(how, at, time.monotonic()))
        self._gateway.start(ready=self._workers > 1)  # one process serves as soon as it listens

    def finish(self) -> Recorded:
        """Wait until everything is delivered, and return the contents of the outbox."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._calm = True
        for sdk in self._values:
            eventually(lambda sdk=sdk: self._refresh(sdk), lambda: self._gateway.logs()[-2000:])
        eventually(
            self._all_recorded, lambda: self._rows("SELECT endpoint, state, count(*) FROM messages GROUP BY 1, 2")
        )
        eventually(self._all_delivered, lambda: "not all was delivered", limit=SETTLE_SECONDS)
        assert self._gateway.stop() == 0
        for name, receiver in (("well", self._well), ("odd", self._odd)):
            self.seen.calls[name], self.seen.taken[name] = list(receiver.calls), list(receiver.taken)
        self.seen.batches = list(self._batches.calls)
        for batch in self._batches.taken:
            self.seen.exported += [(event["userKey"], batch.id) for event in json.loads(batch.body)["events"]]
        return self._recorded()

    def _settings(self) -> dict[str, Any]:
        sdks = {"numbers": (SDK_KEY, self._numbers), "switch": (OTHER_KEY, self._switch)}
        return {
            "sdks": {
                name: {"key": key, "base_url": cdn.url, "poll_interval": 3600} for name, (key, cdn) in sdks.items()
            },
            "http": {"api": {"auth_headers": ALLOWED}},
            "outbox": {"path": str(self.database)},
            "webhooks": [
                {"name": "well", "url": self._well.url, "format": "notifier", "secret": SECRET},
                {"name": "odd", "url": self._odd.url, "format": "envelope", "secret": SECRET, "timeout": 2},
            ],
            "exporter": {"endpoint_url": self._batches.url, "flush_interval": 500, "secret": SECRET},
        }

    def _mood(self) -> int | str:
        return 204 if self._calm else self._rng.choice(MOODS)

    def _check(self, call: Call) -> None:
        """Check the signatures with code that is not the gateway's, when the call arrives: they hold for minutes."""
        expected = "sha256=" + hmac.new(SECRET.encode(), call.body, "sha256").hexdigest()
        try:
            if "webhook-id" in call.headers:
                Webhook(SECRET).verify(call.body, call.headers)
        except WebhookVerificationError as error:
            self.seen.unsigned.append(f"{call.id}: {error}")
        if call.headers.get("x-hub-signature-256") != expected:
            self.seen.unsigned.append(f"{call.id}: not signed by the secret")

    def _change(self) -> None:
        for number in count(1):
            if self._over.wait(self._rng.uniform(*CHANGE_SECONDS)):
                return
            self._publish("numbers", self._numbers, number)

    def _toggle(self) -> None:
        """On, off, on, off: the same two transitions again and again."""
        for number in count(1):
            if self._over.wait(self._rng.uniform(*CHANGE_SECONDS) * 3):
                return
            self._publish("switch", self._switch, bool(number % 2))

    def _publish(self, sdk: str, cdn: CdnStandIn, value: int | bool) -> None:
        cdn.set(config(value))
        self._values[sdk][cdn.etag] = value
        self._refresh(sdk)

    def _refresh(self, sdk: str) -> bool:
        try:
            return self._gateway.post(f"/api/{sdk}/refresh", headers=ALLOWED)[0] == 200
        except OSError:
            return False

    def _evaluate(self) -> None:
        for number in count():
            if self._over.wait(self._rng.uniform(*EVALUATION_SECONDS)):
                return
            sdk, name, life = ("numbers", "switch")[number % 2], f"user-{number}", len(self.seen.kills)
            request = json.dumps({"key": "flag", "user": {"Identifier": name}}).encode()
            try:
                status, body = self._gateway.post(f"/api/{sdk}/eval", request, headers=ALLOWED)
            except OSError:
                continue
            if status == 200:
                self.seen.answers.append(Answer(sdk, name, json.loads(body)["value"], time.monotonic(), life))

    def _all_recorded(self) -> bool:
        last = dict(self._rows("SELECT sdk_id, etag FROM configs"))
        return last == {"numbers": self._numbers.etag, "switch": self._switch.etag}

    def _all_delivered(self) -> bool:
        """Whether nothing waits; postponed messages are made due, so that the test does not wait for half a minute."""
        waiting = "SELECT (SELECT count(*) FROM messages WHERE state <> 'delivered')"
        waiting += " + (SELECT count(*) FROM spool) + (SELECT count(*) FROM batches)"
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            later = "UPDATE messages SET due = 0 WHERE state = 'pending' AND due > unixepoch() + 2"
            if connection.execute(later).rowcount:
                connection.execute("INSERT INTO wakes (act, argument) VALUES ('look', '')")
        return self._rows(waiting) == [(0,)]

    def _recorded(self) -> Recorded:
        values = self._values
        changes: dict[str, list[tuple[object, object]]] = {name: [] for name in values}
        for sdk, old, new in self._rows("SELECT sdk_id, old_etag, new_etag FROM changes ORDER BY id"):
            changes[sdk].append((values[sdk][old], values[sdk][new]))
        last = {sdk: values[sdk][etag] for sdk, etag in self._rows("SELECT sdk_id, etag FROM configs")}
        unanswered = "SELECT endpoint, id FROM messages JOIN attempts ON message = row WHERE status IS NULL"
        return Recorded(
            self._rows("SELECT endpoint, id, body FROM messages"), set(self._rows(unanswered)), changes, last
        )

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query).fetchall()
