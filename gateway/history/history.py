"""Keeps every config that came into use, in a thread, and gives any of them back.

record ──► waiting ──► thread: one transaction ──► file          full or slow disk: the newest per SDK waits
config_at, snapshot_at ──► thread: read, decompress, compile ──► a few compiled Snapshots in memory
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed

from gateway.deferreds import Repeating, Timer, fire_within, supervise
from gateway.flags import ConfigError, load
from gateway.history import tables
from gateway.history.batch import Batch, write
from gateway.history.history_file import ERRORS, HistoryFile, reason_of
from gateway.history.tables import Entry, NotKept
from gateway.logger import component_logger
from gateway.text import ProblemText, log_command

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from gateway.flags import Snapshot
    from gateway.history.batch import Written
    from gateway.history.metrics import HistoryMetrics
    from gateway.history.tables import Application, Applied, Page, Pin, StoredConfig, Transition, Transitions
    from gateway.settings import Settings

_log = component_logger("gateway")

T = TypeVar("T")

RETRY_SECONDS: Final = 30.0  # between two tries of a file that cannot be written
MAINTAIN_SECONDS: Final = 600.0  # between two deletions of what is older than ``history.keep``
STOP_SECONDS: Final = 2.0  # for which a stop waits for a write
WAITING_LIMIT: Final = 100  # applications that wait for a slow disk; beyond it only the newest of each SDK is kept
READS: Final = 50  # under way or waiting; beyond it a caller gets an error
CLOCK_JUMP: Final = 2.0  # seconds by which the system clock moves beside the monotonic one before it counts as set
STEADY_SECONDS: Final = 3600.0  # after the clock was set, for which nothing is deleted because of its age
KNOWN: Final = 32  # configs whose tags are read at a start, as many as nodes share
COMPILED: Final = 8  # Snapshots of earlier configs in memory
COMPILED_BYTES: Final = 4 * 1024 * 1024  # of their JSON; a larger one is in memory alone
OFF: Final = "the history is off: history.keep is 0, or this user has no home directory and history.path is not set"


class HistoryUnavailable(Exception):
    """The history is off, or cannot be read now; the text is the reason."""


class InThread(Protocol):
    """Runs blocking work in a thread, one piece after the other, and returns its result in the reactor thread."""

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work``."""


class History:
    """The history at ``path``; None where there is no place for it.

    All methods belong to the reactor thread, ``in_thread`` does all work on the file.  ``wall`` returns Unix seconds.
    The Deferreds of the reading methods fail with ``NotKept`` or ``HistoryUnavailable``.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], float],
        settings: Settings,
        path: Path | None,
        in_thread: InThread,
        metrics: HistoryMetrics,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._settings = settings.history
        self._file = None if path is None else HistoryFile(path)
        self._in_thread = in_thread
        self._metrics = metrics
        self._waiting: list[tuple[str, Entry]] = []
        self._live: dict[str, Entry] = {}  # by SDK, stored or not
        self._changes: dict[str, tuple[str, int]] = {}  # by SDK: tag and number of a change that is not published yet
        self._late: list[tuple[str, str, int]] = []  # SDK, tag and number of changes that were published before
        self._pins: dict[str, tuple[Pin, Snapshot] | None] = {}  # by SDK, of this run, with what was released
        self._unstored: set[str] = set()  # SDKs whose pin is not on disk as it is
        self._asked: list[Deferred[None]] = []  # fire after the next write
        self._purge = False  # whether the next write deletes what is old
        self._busy = False
        self._stopped = False
        self._idle: Deferred[None] | None = None
        self._retry = Timer(clock)  # active while the file cannot be written
        self._refusal = ""  # why it cannot
        self._reads = 0
        self._ahead = wall() - clock.seconds()
        self._jump = 0.0  # by which the clock was set, which the times in the file do not follow yet
        self._steady_at = float("-inf")
        self._compiled: OrderedDict[str, Snapshot] = OrderedDict()  # by hash, the latest use last
        self.on_stored: Callable[[str, str, int], None] = lambda _sdk_id, _tag, _number: None
        """Called with SDK, tag and number of each change once it is on disk; must not raise."""
        self._maintenance = Repeating(clock, self._maintain, _log, "maintenance of the history failed")

    @property
    def on(self) -> bool:
        """Whether configs are kept."""
        return self._file is not None and self._settings.keep > 0

    def start(self) -> None:
        """Start the maintenance; configs are recorded without it as well."""
        self._maintenance.start(MAINTAIN_SECONDS)

    def configure(self, settings: Settings) -> None:
        """Apply new limits; a history that was off begins with the configs in use."""
        was_on, self._settings = self.on, settings.history
        if self.on and not was_on:
            self._waiting = list(self._live.items())
        if self.on:
            self._write_next(purge=True)
        else:
            self._waiting, self._late, self._refusal = [], [], ""
            self._retry.cancel()

    def stop(self) -> Deferred[None]:
        """Write what waits, unless the file cannot be written, and close it; fires within some seconds, never fails."""
        self._maintenance.stop()
        self._stopped = True
        self._retry.cancel()
        file = self._file
        if file is None:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle = idle
        self._fire_idle()
        closed = idle.addCallback(lambda _: self._in_thread(file.close))
        return fire_within(self._clock, closed, STOP_SECONDS)

    def record(self, sdk_id: str, snapshot: Snapshot, how: Applied) -> None:
        """Keep a config that is in use now.  Returns at once, and never raises."""
        self._follow_clock()
        tag, change_id = self._changes.pop(sdk_id, ("", None))
        entry = Entry(snapshot, self._wall(), how, change_id if tag == snapshot.tag else None)
        self._live[sdk_id] = entry
        if not self.on or self._stopped:
            return
        self._waiting.append((sdk_id, entry))
        if len(self._waiting) > WAITING_LIMIT:
            self._waiting = _newest(self._waiting)
        self._write_next()

    def note_change(self, sdk_id: str, snapshot: Snapshot, change_id: int) -> None:
        """Keep the number of the change that brings ``snapshot`` into use; before or after ``record``."""
        live = self._live.get(sdk_id)
        if live is None or live.snapshot is not snapshot:
            self._changes[sdk_id] = (snapshot.tag, change_id)
        elif self.on:
            self._live[sdk_id] = evolve(live, change_id=change_id)
            self._late.append((sdk_id, snapshot.tag, change_id))
            del self._late[:-WAITING_LIMIT]
            self._write_next()

    def forget(self, sdk_id: str) -> None:
        """Keep the last config of an SDK that was removed no longer than others."""
        self._live.pop(sdk_id, None)
        self._changes.pop(sdk_id, None)

    def problems(self) -> list[str]:
        """Return a sentence if the history cannot be written; its text is stable while it lasts."""
        if not self._refusal or self._file is None:
            return []
        text = f"the history {self._file.path} cannot be written, configs from now on may be missing in it"
        pins = "; a restart would not know which config is pinned" if self._unstored else ""
        return [ProblemText(f"{text}: {self._refusal}{pins}", log_command("history"))]

    def applications(self, sdk_id: str, *, before: int | None = None, limit: int = 100) -> Deferred[Page]:
        """Return a page of what was in use, the newest first; ``before`` is the ``next`` of the page before."""
        return self._read(lambda connection: tables.applications(connection, sdk_id, before, limit))

    def earlier_tags(self, sdk_id: str, tag: str) -> Deferred[list[str]]:
        """Return the tags of the latest configs up to the one with ``tag``, the oldest first.

        If ``tag`` is not there, all of them came before it.  Without a history that can be read there are none.
        """

        def tags(page: Page) -> list[str]:
            found = [each.config_id for each in page.found]
            return list(reversed(found[found.index(tag) :] if tag in found else found))

        read = self.applications(sdk_id, limit=KNOWN).addCallback(tags)
        return read.addErrback(lambda _: [])  # a client with an earlier config then waits for a fetch

    def config(self, sdk_id: str, config_id: str) -> Deferred[StoredConfig]:
        """Return the config JSON whose id begins with ``config_id``, with its last application."""

        def work(connection: sqlite3.Connection) -> StoredConfig:
            return tables.read_config(connection, tables.find_config(connection, sdk_id, config_id))

        return self._read(work)

    def snapshot(self, sdk_id: str, config_id: str) -> Deferred[Snapshot]:
        """Return the config whose id begins with ``config_id``, compiled."""
        return self._load(lambda connection: tables.find_config(connection, sdk_id, config_id))

    def snapshot_at(self, sdk_id: str, at: float) -> Deferred[Snapshot]:
        """Return the config that was in use at a time, in Unix seconds; the one in use now for a time to come."""
        self._follow_clock()
        live = self._live.get(sdk_id)
        if live is not None and at >= live.at:
            return succeed(live.snapshot)
        return self._load(lambda connection: tables.at_moment(connection, sdk_id, at))

    def snapshot_of_change(self, sdk_id: str, number: int) -> Deferred[Snapshot]:
        """Return the config that a change brought into use."""
        return self._load(lambda connection: tables.at_change(connection, sdk_id, number))

    def changes(
        self, sdk_id: str | None, *, since: float = 0.0, before: int | None = None, limit: int = 100
    ) -> Deferred[Transitions]:
        """Return a page of the changes, the newest first; ``before`` is the ``next`` of the page before."""
        return self._read(lambda connection: tables.transitions(connection, sdk_id, since, before, limit))

    def change(self, number: int) -> Deferred[Transition]:
        """Return a change."""
        return self._read(lambda connection: tables.transition(connection, number))

    def compare(self, changes: Sequence[Transition], work: Callable[[Snapshot, Snapshot], T]) -> Deferred[list[T]]:
        """Return ``work(config before, config after)`` of each change; it runs in the thread."""

        def read(file: HistoryFile) -> list[T]:
            compiled: dict[str, Snapshot] = {}  # not those in use: what is compiled here shares parts with them
            results = []
            for change in changes:
                after = _compiled_in(compiled, file, change.after)
                results.append(work(_compiled_in(compiled, file, change.before), after))
            return results

        return self._in_file(read)

    def pinned(self, sdk_id: str, sdk_key: str) -> Deferred[tuple[Pin, Snapshot] | None]:
        """Return the config that an earlier run has pinned; None without one, or for another key.  Never fails.

        ``sdk_key`` is a digest of the SDK key.
        """
        file = self._file
        if file is None:
            return succeed(None)

        def work(connection: sqlite3.Connection) -> tuple[Pin, bytes] | None:
            pin = tables.read_pins(connection).get(sdk_id)
            return None if pin is None or pin.sdk_key != sdk_key else (pin, tables.read_body(connection, pin.hash))

        def read(file: HistoryFile) -> tuple[Pin, Snapshot] | None:
            found = file.run(work) if file.path.exists() else None
            return None if found is None else (found[0], load(found[1], found[0].etag))

        def was_read(found: tuple[Pin, Snapshot] | None) -> tuple[Pin, Snapshot] | None:
            if found is not None:
                self._pins.setdefault(sdk_id, found)
            return found

        def failed(failure: Failure) -> None:
            text = "SDK {sdk_id}: whether a config is pinned could not be read, so none is: {reason}"
            _log.error(text, sdk_id=sdk_id, reason=reason_of(failure.value))

        return self._in_thread(lambda: read(file)).addCallbacks(was_read, failed)

    def pin(self, sdk_id: str, pin: Pin | None, snapshot: Snapshot | None) -> Deferred[bool]:
        """Store the pin of an SDK and its config, or that it has none; return whether that is on disk.

        What cannot be stored is tried again.  Never fails.
        """
        if self._file is None:
            return succeed(False)
        self._pins[sdk_id] = None if pin is None or snapshot is None else (pin, snapshot)
        self._unstored.add(sdk_id)
        return self._write_next().addCallback(lambda _: sdk_id not in self._unstored)

    def _follow_clock(self) -> None:
        """Move the times of this run with a system clock that was set."""
        ahead = self._wall() - self._clock.seconds()
        jump, self._ahead = ahead - self._ahead, ahead
        if abs(jump) < CLOCK_JUMP:
            return
        self._steady_at = self._clock.seconds() + STEADY_SECONDS
        self._jump += jump
        self._waiting = [(sdk_id, evolve(entry, at=entry.at + jump)) for sdk_id, entry in self._waiting]
        self._live = {sdk_id: evolve(entry, at=entry.at + jump) for sdk_id, entry in self._live.items()}
        if self.on and not self._stopped:
            self._write_next()

    def _write_next(self, *, purge: bool = False) -> Deferred[None]:
        """Write what waits; fires when that was tried, and never fails."""
        done: Deferred[None] = Deferred()
        self._asked.append(done)
        self._purge |= purge
        self._begin()
        return done

    def _begin(self) -> None:
        file = self._file
        if self._busy or not self._asked or file is None:
            return
        self._busy = True
        asked, self._asked = self._asked, []
        steady = self._clock.seconds() >= self._steady_at
        batch = Batch(
            entries=self._waiting,
            live=dict(self._live) if self.on else {},
            late=self._late,
            pins=dict(self._pins),
            jump=self._jump,
            before=self._wall() - self._settings.keep if self._purge and steady and self.on else None,
            max_bytes=self._settings.max_bytes,
        )
        self._waiting, self._late, self._jump, self._purge = [], [], 0.0, False
        written = self._in_thread(lambda: write(file, batch))
        written.addCallbacks(self._written, self._refused, callbackArgs=(batch,), errbackArgs=(batch,))
        supervise(written, _log, "writing the history failed").addCallback(lambda _: self._ended(asked))

    def _written(self, written: Written, batch: Batch) -> None:
        if self._refusal:
            _log.warn("the history can be written again")
        self._refusal = ""
        self._retry.cancel()
        self._metrics.recording(True)
        self._metrics.stored(written.configs, written.used_bytes)
        for each in written.added:
            self.on_stored(*each)
        self._unstored -= {sdk_id for sdk_id in batch.pins if self._pins.get(sdk_id) is batch.pins[sdk_id]}

    def _refused(self, failure: Failure, batch: Batch) -> None:
        reason = reason_of(failure.value)
        if not failure.check(*ERRORS):
            _log.failure("writing the history failed", failure=failure)
            reason = "internal error; the log has the details"
        elif not self._refusal:
            _log.error("the history cannot be written, configs may be missing in it: {reason}", reason=reason)
        self._refusal = reason
        self._metrics.recording(False)
        earlier = [(sdk_id, evolve(entry, at=entry.at + self._jump)) for sdk_id, entry in batch.entries]
        self._waiting = _newest([*earlier, *self._waiting])
        self._late = [*batch.late, *self._late][-WAITING_LIMIT:]
        self._jump += batch.jump
        if not self._stopped:
            self._retry.start(RETRY_SECONDS, self._write_next)

    def _ended(self, asked: Sequence[Deferred[None]]) -> None:
        self._busy = False
        for done in asked:
            done.callback(None)
        self._begin()
        self._fire_idle()

    def _fire_idle(self) -> None:
        if self._idle is not None and not self._busy:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _maintain(self) -> Deferred[None]:
        self._follow_clock()
        return self._write_next(purge=True) if self.on else succeed(None)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        return self._in_file(lambda file: file.run(work))

    def _in_file(self, work: Callable[[HistoryFile], T]) -> Deferred[T]:
        file = self._file
        if file is None or not self.on:
            return fail(HistoryUnavailable(OFF))
        if self._reads >= READS:
            return fail(HistoryUnavailable(f"{READS} requests wait for the history already"))
        self._reads += 1
        reading = self._in_thread(lambda: work(file))
        reading.addBoth(self._was_read)
        return reading.addErrback(_unavailable)

    def _was_read(self, result: Any) -> Any:
        self._reads -= 1
        return result

    def _load(self, find: Callable[[sqlite3.Connection], Application]) -> Deferred[Snapshot]:
        known = {entry.snapshot.tag: entry.snapshot for entry in self._live.values()} | self._compiled

        def work(connection: sqlite3.Connection) -> tuple[Application, bytes | None]:
            found = find(connection)
            return found, None if found.config_id in known else tables.read_body(connection, found.hash)

        def read(file: HistoryFile) -> Snapshot:
            found, body = file.run(work)
            return known[found.config_id] if body is None else load(body, found.etag)

        return self._in_file(read).addCallback(self._remember)

    def _remember(self, snapshot: Snapshot) -> Snapshot:
        compiled = self._compiled
        if not any(entry.snapshot is snapshot for entry in self._live.values()):
            compiled[snapshot.tag] = snapshot
            compiled.move_to_end(snapshot.tag)
            while len(compiled) > COMPILED or (
                len(compiled) > 1 and sum(len(each.body) for each in compiled.values()) > COMPILED_BYTES
            ):
                compiled.popitem(last=False)
        return snapshot


def _compiled_in(compiled: dict[str, Snapshot], file: HistoryFile, application: Application) -> Snapshot:
    """Return the config of an application, from ``compiled``, which keeps two, or read from the file."""
    snapshot = compiled.get(application.hash)
    if snapshot is None:
        body = file.run(lambda connection: tables.read_body(connection, application.hash))
        like = next(reversed(compiled.values()), None)
        snapshot = compiled[application.hash] = load(body, application.etag, like)
        if len(compiled) > 2:
            del compiled[next(iter(compiled))]
    return snapshot


def _newest(entries: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """Return the newest entry of each SDK."""
    return list(dict(entries).items())


def _unavailable(failure: Failure) -> Any:
    if failure.check(NotKept):
        return failure
    if failure.check(*ERRORS):
        raise HistoryUnavailable(f"the history cannot be read: {reason_of(failure.value)}") from None
    if failure.check(ConfigError):
        raise NotKept(f"this version cannot read that config: {failure.getErrorMessage()}") from None
    return failure
