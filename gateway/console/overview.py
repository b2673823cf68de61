"""``GET /api/v1/overview``: the state of the gateway, of each SDK and of each worker."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.console.cluster import describe_cluster
from gateway.console.configs import pinned_config
from gateway.console.schema import (
    Access,
    ConfigInUse,
    FailingFlag,
    Fetch,
    Held,
    Overview,
    Problem,
    SdkOverview,
    WorkerOverview,
)
from gateway.text import ProblemText, amount, iso, printable, redact

if TYPE_CHECKING:
    from gateway.console.facade import Facade
    from gateway.telemetry import Caller
    from gateway.upstream import CheckedConfig, HeldConfig, Sdk

FAILING_SHOWN: Final = 100  # flags; a broken publication may break all of them
PROBLEMS_SHOWN: Final = 100
TEXT_LIMIT: Final = 300  # characters of a problem, as on the status page


def overview(facade: Facade, caller: Caller) -> Overview:
    """Return the current state, and what ``caller`` may do."""
    now = facade.wall()
    problems = [_problem(each, facade.diag_url) for each in islice(facade.problems(), PROBLEMS_SHOWN)]
    readiness = facade.readiness.check()
    streams = facade.server.stream_count
    return Overview(
        access=Access(caller.user, caller.role),
        summary=_summary(facade, problems, None if readiness.ready else str(readiness.body["reason"])),
        health=facade.status.root,
        ready=readiness.ready,
        version=facade.process.version,
        uptime_seconds=max(0, int(now - facade.process.started)),
        streams=streams,
        sdks=[found for sdk in facade.registry.sdks if (found := _sdk(facade, sdk, now)) is not None],
        problems=problems,
        workers=[
            WorkerOverview(each.number, each.pid, each.listening, each.responding, each.streams, each.uptime)
            for each in facade.server.workers()
        ],
        cluster=None
        if facade.status.cluster is None
        else describe_cluster(facade.status.cluster(), facade.status.outbox()),
    )


def _summary(facade: Facade, problems: list[Problem], not_ready: str | None) -> str:
    """Return the health in one sentence."""
    sdks, streams = len(facade.registry.sdks), facade.server.stream_count
    serving = f"{amount(sdks, 'SDK')} with {amount(streams, 'open stream')}"
    if not_ready is not None:
        return f"Not ready: {not_ready}."
    if problems:
        more = f", and {amount(len(problems) - 1, 'more problem')}" if len(problems) > 1 else ""
        return f"Serving {serving}, but {_without_command(problems[0])}{more}."
    if facade.status.root != "healthy":
        return f"Serving {serving}; the health is {facade.status.root}."
    return f"All is well: serving {serving}."


def _without_command(problem: Problem) -> str:
    """Return the text of a problem without the part that names its command, which is shown beside it."""
    start, _, last = problem.text.rpartition("; ")
    return start if start and problem.command and last.endswith(problem.command) else problem.text


def _problem(text: str, diag_url: str) -> Problem:
    command = text.command.replace("{diag}", diag_url) if isinstance(text, ProblemText) else ""
    return Problem(printable(redact(text))[:TEXT_LIMIT], command or None)


def _sdk(facade: Facade, sdk: Sdk, now: float) -> SdkOverview | None:
    shown = facade.status.sdk(sdk.id)
    if shown is None:  # removed a moment ago
        return None
    current = sdk.guard.current
    faults = {} if current is None else current.faults
    return SdkOverview(
        id=sdk.id,
        key=shown.key,
        source=shown.source,
        health=shown.health,
        last_fetch=None if shown.at is None else Fetch(iso(shown.at), shown.ok, shown.text),
        config=None if current is None else _config(current, now, stale=facade.status.stale_age(sdk.id) is not None),
        flags=0 if current is None else len(current.snapshot.keys),
        failing_flags=len(faults),
        failing=[FailingFlag(key, reason) for key, reason in islice(faults.items(), FAILING_SHOWN)],
        held=None if sdk.guard.held is None else _held(sdk.guard.held),
        pinned=pinned_config(sdk),
        streams=facade.metrics.open_streams(sdk.id),
    )


def _config(config: CheckedConfig, now: float, *, stale: bool) -> ConfigInUse:
    snapshot = config.snapshot
    age = max(0.0, round(now - config.at, 3))
    return ConfigInUse(snapshot.tag, snapshot.etag, iso(config.at), age, stale, len(snapshot.body))


def _held(held: HeldConfig) -> Held:
    shown = held.describe("")
    return Held(
        held.reason,
        iso(held.config.at),
        shown["flags"],
        shown["added"],
        shown["removed"],
        shown["changed"],
        shown["failing"],
        shown["etag"],
    )
