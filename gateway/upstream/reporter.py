"""What the SDKs report of their fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.logger import component_logger
from gateway.upstream.outcome import Failed, Fetched, Kind

if TYPE_CHECKING:
    from gateway.upstream.outcome import Outcome
    from gateway.upstream.source import Source

_log = component_logger("sdks")


class Reporter(Protocol):
    """Reports fetches on the status page and in the metrics; its methods must not raise.

    They are called in the reactor thread, before a new config is published.
    """

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - one of three columns
        """Add one status record; ``message`` is a text of ``outcome`` and holds no secret."""

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Count one fetch; ``outcome`` is ``changed``, ``not_modified`` or the value of a ``Kind``."""

    def requested(self, sdk_id: str, status: int | None, seconds: float) -> None:
        """Count one request of a fetch, which may have several, by the status of its answer; None if there is none."""

    def confirmed(self, sdk_id: str) -> None:
        """Note that the source still has the config of its last fetch, without another fetch."""

    def stale(self, sdk_id: str, fetched_at: float | None) -> None:
        """Show that an SDK serves the cached config of that fetch, in Unix seconds; None when a fetch has succeeded."""


def report_fetch(
    reporter: Reporter, sdk_id: str, source: Source, outcome: Outcome, seconds: float, *, changed: bool
) -> None:
    """Add a status record of a fetch, count it, and log it at the level ``debug``."""
    if isinstance(outcome, Failed):
        usual = source.unparsable if outcome.kind is Kind.CONFIG else source.unreadable
        # ConfigCat Proxy's text comes first, for what reads its beginning.
        message = f"{outcome.record or usual}: {outcome.cause} ({source.place})"
        ok, kind = False, outcome.kind.value
    else:
        # An upstream that sent a body "fetched" it, changed or not; a file with equal bytes was not modified.
        fetched = changed or (isinstance(outcome, Fetched) and source.remote)
        ok, message = True, source.fetched if fetched else source.not_modified
        kind = "changed" if changed and isinstance(outcome, Fetched) else "not_modified"
    reporter.record(sdk_id, ok, message)
    reporter.fetched(sdk_id, kind, seconds)
    taken = round(seconds * 1000)
    _log.debug("SDK {sdk_id}: {ended}, in {milliseconds} ms", sdk_id=sdk_id, ended=message, milliseconds=taken)
