"""The status document: the health of each SDK, as dashboards and probes of ConfigCat Proxy read it, and of the process.

upstream ──► record(sdk, ok, message) ──► document() ──► /status
"""

from __future__ import annotations

from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from attrs import Factory, define, field

from gateway.settings import mask_sdk_key
from gateway.text import ProblemText, iso, printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Health = Literal["initializing", "healthy", "degraded", "down"]

RECORD_LIMIT = 5  # the latest records per SDK, as many as in ConfigCat Proxy
MESSAGE_LIMIT = 300  # characters of a record or problem; known texts are under 80
PROBLEM_LIMIT = 20  # problems that are shown, the last one with the number of the others; all of them are in the log
HEALTH_RECORDS = 2  # the latest records that decide the health


class WorkerState(NamedTuple):
    """A worker process, as the leader sees it."""

    number: int
    pid: int
    listening: bool
    responding: bool
    streams: int
    uptime: float  # seconds


class SdkStatus(NamedTuple):
    """An SDK on the status page, with its latest record; ``at`` is None before the first one."""

    key: str  # masked
    source: str
    health: Health
    at: float | None  # seconds since 1970
    ok: bool
    text: str


@define
class _Record:
    at: float
    ok: bool
    message: str

    def __str__(self) -> str:
        # formatdate uses English names in every locale, but GMT where ConfigCat Proxy has UTC.
        when = formatdate(self.at, usegmt=True).removesuffix("GMT") + "UTC"
        return f"{when}: [{'ok' if self.ok else 'error'}] {self.message}"


@define
class _Sdk:
    key: str
    mode: str
    source_type: str
    health: Health = "initializing"
    stale_since: float | None = None
    pinned: dict[str, str] | None = None
    records: deque[_Record] = Factory(lambda: deque(maxlen=RECORD_LIMIT))

    def describe(self, now: float) -> dict[str, Any]:
        document = {
            "key": self.key,
            "mode": self.mode,
            "source": {
                "type": self.source_type,
                "status": self.health,
                "records": [str(record) for record in self.records] or None,
            },
        }
        document |= {} if self.pinned is None else {"pinned": self.pinned}
        return document if self.stale_since is None else document | stale_fields(now - self.stale_since)


@define
class ProcessStatus:
    """Version, age, streams and last reload of the gateway; all times are seconds since 1970."""

    version: str
    started: float
    streams: Callable[[], int]
    reloads: int = field(default=0, init=False)
    reload_errors: tuple[str, ...] = field(default=(), init=False)
    restart_pending: tuple[str, ...] = field(default=(), init=False)  # options that a reload could not apply
    _reload_at: float | None = field(default=None, init=False)

    def reloaded(self, at: float, problems: Sequence[str] = ()) -> None:
        """Note a reload: applied if there are no problems, otherwise refused."""
        self.reloads += 1
        self._reload_at = at
        self.reload_errors = _shown(problems)

    def restart_needed(self, options: Sequence[str]) -> None:
        """Note the options whose values in the settings file differ from those of the start, and need a restart."""
        self.restart_pending = tuple(options)

    def problems(self) -> list[str]:
        """Return a sentence for a refused reload, and one for a pending restart."""
        found: list[str] = []
        if self.reload_errors:
            count = len(self.reload_errors)
            reason = ": " if count == 1 else f"; the first of {count} reasons: "
            text = f"the last reload was refused, the old settings stay{reason}{self.reload_errors[0]}"
            found.append(ProblemText(text, "flaggateway check"))
        if self.restart_pending:
            text = f"these take a restart: {', '.join(self.restart_pending)}"
            found.append(ProblemText(text, "systemctl restart flaggateway"))
        return found

    def describe(self, now: float) -> dict[str, Any]:
        """Return a new dict for JSON."""
        last = None
        if self._reload_at is not None:
            outcome = "refused" if self.reload_errors else "applied"
            last = {"time": formatdate(self._reload_at, usegmt=True), "outcome": outcome}
        return {
            "version": self.version,
            "uptime_seconds": max(0, int(now - self.started)),
            "streams": self.streams(),
            "reloads": self.reloads,
            "last_reload": last,
            "reload_errors": list(self.reload_errors),
            "restart_pending": list(self.restart_pending),
        }


class Status:
    """The health of every SDK; ``now`` returns seconds since 1970.

    An SDK is ``initializing`` until its first record, which makes it healthy or down.  Later a single error has no
    effect, two in a row make it degraded, and one success makes it healthy.
    One that serves the cached config of an earlier run, or a pinned one, is degraded where it would be down.
    """

    def __init__(self, now: Callable[[], float], process: ProcessStatus | None = None) -> None:
        self._now = now
        self._process = process
        self._sdks: dict[str, _Sdk] = {}
        self._root: Health = "initializing"
        self._problems: tuple[str, ...] = ()
        self._cache_records: deque[_Record] = deque(maxlen=RECORD_LIMIT)
        self.cluster: Callable[[], dict[str, Any]] | None = None  # the part ``gateway.cluster``, with a shared cache
        self.outbox: Callable[[], dict[str, Any] | None] = lambda: None  # ``gateway.outbox``, with a shared outbox

    @property
    def root(self) -> Health:
        """The health of the whole: that of all SDKs if it is the same; otherwise, or with a problem, degraded."""
        return "degraded" if self._problems and self._root == "healthy" else self._root

    def set_problems(self, problems: Sequence[str]) -> None:
        """Set the problems that degrade the gateway although every SDK is healthy."""
        self._problems = _shown(problems)

    def add(self, sdk_id: str, key: str, mode: str, source_type: str) -> None:
        """Show an SDK.

        ``mode`` is ``online`` or ``offline``, ``source_type`` is ``remote``, ``cache`` or ``file``.
        The key is masked.  Adding an SDK again keeps its records, unless a value that is shown has changed.
        """
        fresh = _Sdk(mask_sdk_key(key), mode, source_type)
        known = self._sdks.get(sdk_id)
        if known is None or (known.key, known.mode, known.source_type) != (fresh.key, mode, source_type):
            if known is not None:
                fresh.stale_since, fresh.pinned = known.stale_since, known.pinned
            self._sdks[sdk_id] = fresh
            self._update_root()

    def remove(self, sdk_id: str) -> None:
        """Stop showing an SDK; an unknown one is ignored."""
        if self._sdks.pop(sdk_id, None) is not None:
            self._update_root()

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - the signature of upstream's Reporter
        """Add the result of a fetch; one of a removed SDK is ignored."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None:
            return
        sdk.records.append(_Record(self._now(), ok, printable(redact(message))[:MESSAGE_LIMIT]))
        health = _health(sdk.health, [record.ok for record in sdk.records])
        served = sdk.stale_since is not None or sdk.pinned is not None
        sdk.health = "degraded" if health == "down" and served else health
        self._update_root()

    def stale(self, sdk_id: str, fetched_at: float | None) -> None:
        """Show that an SDK serves the cached config of that fetch, in seconds since 1970; None ends that."""
        sdk = self._sdks.get(sdk_id)
        if sdk is not None:
            sdk.stale_since = fetched_at

    def pinned(self, sdk_id: str, config: str | None, since: float) -> None:
        """Show the config that is pinned for an SDK, by its id, since when, in seconds since 1970; None ends that."""
        sdk = self._sdks.get(sdk_id)
        if sdk is not None:
            sdk.pinned = None if config is None else {"config": config, "since": iso(since)}

    def stale_age(self, sdk_id: str) -> int | None:
        """Return the age of an SDK's cached config in seconds; None if a fetch has brought or confirmed its config."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None or sdk.stale_since is None:
            return None
        return _age(self._now() - sdk.stale_since)

    @property
    def oldest_stale_age(self) -> int | None:
        """The age of the oldest cached config that is served, in seconds; None if there is none."""
        return max((age for sdk_id in self._sdks if (age := self.stale_age(sdk_id)) is not None), default=None)

    def sdk(self, sdk_id: str) -> SdkStatus | None:
        """Return the status of an SDK; None for one that is not shown."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None:
            return None
        last = sdk.records[-1] if sdk.records else None
        at, ok, text = (None, False, "") if last is None else (last.at, last.ok, last.message)
        return SdkStatus(sdk.key, sdk.source_type, sdk.health, at, ok, text)

    def is_healthy(self, sdk_id: str) -> bool:
        """Return whether an SDK is healthy; false for an unknown one."""
        sdk = self._sdks.get(sdk_id)
        return sdk is not None and sdk.health == "healthy"

    def last_error(self, sdk_id: str) -> str | None:
        """Return the error of the last fetch; None if it succeeded, or before the first one."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None or not sdk.records or sdk.records[-1].ok:
            return None
        return sdk.records[-1].message

    def document(self) -> dict[str, Any]:
        """Return a new dict for JSON: the fields of ConfigCat Proxy in its order, then ours under ``gateway``."""
        document: dict[str, Any] = {
            "status": self.root,
            "sdks": {sdk_id: sdk.describe(self._now()) for sdk_id, sdk in self._sdks.items()},
            "cache": self._cache(),
        }
        if self._process is not None:
            document["gateway"] = {**self._process.describe(self._now()), "problems": list(self._problems)}
            document["gateway"] |= {} if self.cluster is None else {"cluster": self.cluster()}
            document["gateway"] |= {} if (outbox := self.outbox()) is None else {"outbox": outbox}
        return document

    def cache_record(self, ok: bool, message: str) -> None:  # noqa: FBT001 - one of two columns
        """Add the result of a command for the shared cache, which has no influence on the health of the whole."""
        self._cache_records.append(_Record(self._now(), ok, message))

    def _cache(self) -> dict[str, Any]:
        if self.cluster is None:
            return {"status": "n/a", "records": None}
        health = _health("healthy", [record.ok for record in self._cache_records])
        if not self._cache_records:
            health = "initializing"
        return {"status": health, "records": [str(record) for record in self._cache_records] or None}

    def _update_root(self) -> None:
        """Set the health of the whole; also when SDKs are added and removed, unlike ConfigCat Proxy."""
        healths = {sdk.health for sdk in self._sdks.values()}
        if healths <= {"down"}:
            self._root = "down"
        elif healths == {"initializing"}:
            self._root = "initializing"
        elif healths == {"healthy"}:
            self._root = "healthy"
        else:
            self._root = "degraded"


def stale_fields(age: float) -> dict[str, Any]:
    """Return the fields of an SDK that serves a cached config, which are not in ConfigCat Proxy."""
    return {"stale": True, "config_age_seconds": _age(age)}


def _age(seconds: float) -> int:
    return max(0, int(seconds))  # negative after a clock was set back


def _health(before: Health, oks: list[bool]) -> Health:
    """Return an SDK's health after a record; ``oks`` are its records, oldest first, with the new one."""
    # Unhealthy only if the latest two records, or the only one, are errors.
    errors = sum(-1 if ok else 1 for ok in oks[-HEALTH_RECORDS:])
    if errors < min(HEALTH_RECORDS, len(oks)):
        return "healthy"
    return "down" if before in {"initializing", "down"} else "degraded"


def _shown(problems: Sequence[str]) -> tuple[str, ...]:
    if len(problems) > PROBLEM_LIMIT:
        problems = [*problems[: PROBLEM_LIMIT - 1], f"{len(problems) - PROBLEM_LIMIT + 1} more problems are in the log"]
    return tuple(printable(redact(problem))[:MESSAGE_LIMIT] for problem in problems)
