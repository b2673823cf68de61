"""The status document: how each SDK is doing, in the shape that the peer's dashboards and probes read.

    upstream ──► record(sdk, ok, message) ──► document() ──► /status

Pure state: the wall clock comes in as a function, and nothing here reads or writes anything.
"""

from __future__ import annotations

from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal

from attrs import Factory, define

from gateway.settings import mask_sdk_key
from gateway.text import printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.telemetry.vitals import Vitals

Health = Literal["initializing", "healthy", "degraded", "down"]

RECORD_LIMIT = 5  # records per SDK, the peer's figure; the oldest goes first
MESSAGE_LIMIT = 300  # characters of one record; the texts we know of are under 80
CONCERN_LIMIT = 20  # problems that are shown; the log has them all
VERDICT_RECORDS = 2  # how many records decide the health


@define
class _Record:
    at: float
    ok: bool
    message: str

    def __str__(self) -> str:
        # formatdate knows English names whatever the locale; it says GMT where the peer says UTC.
        when = formatdate(self.at, usegmt=True).removesuffix("GMT") + "UTC"
        return f"{when}: [{'ok' if self.ok else 'error'}] {self.message}"


@define
class _Sdk:
    key: str
    mode: str
    source_type: str
    health: Health = "initializing"
    records: deque[_Record] = Factory(lambda: deque(maxlen=RECORD_LIMIT))

    def describe(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "mode": self.mode,
            "source": {
                "type": self.source_type,
                "status": self.health,
                "records": [str(record) for record in self.records] or None,
            },
        }


class Status:
    """How every SDK is doing.

    ``now`` gives seconds since 1970.
    An SDK is ``initializing`` until its first record; that one alone makes it healthy or down; later one error is
    forgiven, two in a row degrade it, and one success heals it.
    """

    def __init__(self, now: Callable[[], float], vitals: Vitals | None = None) -> None:
        self._now = now
        self._vitals = vitals
        self._sdks: dict[str, _Sdk] = {}
        self._root: Health = "initializing"
        self._concerns: tuple[str, ...] = ()

    @property
    def root(self) -> Health:
        """The health of the whole: down when all SDKs are, healthy when all are, else, or by a concern, degraded."""
        return "degraded" if self._concerns and self._root == "healthy" else self._root

    def concern(self, problems: Sequence[str]) -> None:
        """Show what an operator should look at although every SDK is well; none makes it healthy again."""
        self._concerns = tuple(printable(redact(problem))[:MESSAGE_LIMIT] for problem in problems[:CONCERN_LIMIT])

    def add(self, sdk_id: str, key: str, mode: str, source_type: str) -> None:
        """Show an SDK.

        ``mode`` is ``online`` or ``offline``, ``source_type`` is ``remote``, ``cache`` or ``file``.
        Only the masked key is kept.
        Adding one again keeps its records, unless anything shown of it is different.
        """
        fresh = _Sdk(mask_sdk_key(key), mode, source_type)
        known = self._sdks.get(sdk_id)
        if known is None or (known.key, known.mode, known.source_type) != (fresh.key, mode, source_type):
            self._sdks[sdk_id] = fresh
            self._judge()

    def remove(self, sdk_id: str) -> None:
        """Stop showing an SDK; nothing happens when it is unknown."""
        if self._sdks.pop(sdk_id, None) is not None:
            self._judge()

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001
        """Note how a fetch ended; a record of an SDK that has been removed is dropped."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None:
            return
        sdk.records.append(_Record(self._now(), ok, printable(redact(message))[:MESSAGE_LIMIT]))
        sdk.health = _health(sdk.health, [record.ok for record in sdk.records])
        self._judge()

    def last_error(self, sdk_id: str) -> str | None:
        """Return what went wrong at the last fetch; None when it went well, or there was none yet."""
        sdk = self._sdks.get(sdk_id)
        if sdk is None or not sdk.records or sdk.records[-1].ok:
            return None
        return sdk.records[-1].message

    def document(self) -> dict[str, Any]:
        """Return a new dict for JSON: the peer's fields in the peer's order, then ours under ``gateway``."""
        document: dict[str, Any] = {
            "status": self.root,
            "sdks": {sdk_id: sdk.describe() for sdk_id, sdk in self._sdks.items()},
            "cache": {"status": "n/a", "records": None},
        }
        if self._vitals is not None:
            document["gateway"] = {**self._vitals.describe(self._now()), "problems": list(self._concerns)}
        return document

    def _judge(self) -> None:
        """Set the root's health; also when SDKs come and go, which the peer forgets."""
        healths = {sdk.health for sdk in self._sdks.values()}
        if healths <= {"down"}:
            self._root = "down"
        elif healths == {"initializing"}:
            self._root = "initializing"
        elif healths == {"healthy"}:
            self._root = "healthy"
        else:
            self._root = "degraded"


def _health(before: Health, oks: list[bool]) -> Health:
    """Return an SDK's health after a record; ``oks`` are its records, oldest first, the new one included."""
    # The latest records must all be errors: one where there is only one, else two in a row.
    errors = sum(-1 if ok else 1 for ok in oks[-VERDICT_RECORDS:])
    if errors < min(VERDICT_RECORDS, len(oks)):
        return "healthy"
    return "down" if before in {"initializing", "down"} else "degraded"
