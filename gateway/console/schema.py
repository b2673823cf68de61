"""The bodies of requests and answers; ``openapi.json`` is generated from these structs.

Times are ISO 8601 in UTC; durations are in seconds, and their names end with ``_seconds``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Health = Literal["initializing", "healthy", "degraded", "down"]


class Error(Struct, frozen=True):
    """Why a request was not carried out."""

    error: str


class Problem(Struct, frozen=True):
    """Something that an operator should know although flags are served."""

    text: str
    command: Annotated[str | None, Meta(description="A command line that shows the cause or solves the problem.")]


class Fetch(Struct, frozen=True):
    """The end of a fetch of a config JSON."""

    at: str
    ok: bool
    text: Annotated[str, Meta(description="The outcome, with the reason of a failure.")]


class ConfigInUse(Struct, frozen=True):
    """The config that an SDK serves."""

    tag: Annotated[str, Meta(description="Digest of the config JSON, the first part of the ids of events.")]
    etag: str
    since: str
    age_seconds: float
    stale: Annotated[bool, Meta(description="Whether it is from an earlier run, and no fetch has confirmed it yet.")]
    bytes: int


class FailingFlag(Struct, frozen=True):
    """A flag that fails for some users or all of them."""

    key: str
    reason: str


class Held(Struct, frozen=True):
    """A config that is not used until an operator accepts it."""

    reason: str
    since: str
    flags: int
    added: int
    removed: int
    changed: int
    failing: int
    etag: str


class SdkOverview(Struct, frozen=True):
    """One SDK of the settings."""

    id: str
    key: Annotated[str, Meta(description="The SDK key, masked.")]
    source: Annotated[str, Meta(description="`remote` or `file`.")]
    health: Health
    last_fetch: Fetch | None
    config: ConfigInUse | None
    flags: int
    failing_flags: int
    failing: Annotated[list[FailingFlag], Meta(description="The first 100 of them.")]
    held: Held | None
    streams: int


class WorkerOverview(Struct, frozen=True):
    """A worker process."""

    number: int
    pid: int
    listening: bool
    responding: bool
    streams: int
    uptime_seconds: float


class Overview(Struct, frozen=True):
    """The state of the gateway."""

    summary: Annotated[str, Meta(description="The health in one sentence.")]
    health: Health
    ready: bool
    version: str
    uptime_seconds: int
    streams: int
    sdks: list[SdkOverview]
    problems: list[Problem]
    workers: Annotated[list[WorkerOverview], Meta(description="Empty if one process serves.")]
