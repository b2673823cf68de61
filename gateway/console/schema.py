"""The bodies of requests and answers; ``openapi.json`` is generated from these structs.

Times are ISO 8601 in UTC; durations are in seconds, and their names end with ``_seconds``.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.flags import Difference, Explanation

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


Attributes = Annotated[dict[str, Any], Meta(description="Attributes of a user: texts, numbers and lists of texts.")]
At = Annotated[str, Meta(description="A time in ISO 8601, or the id of a change; the live config if it is missing.")]


class OtherSide(Struct, frozen=True, forbid_unknown_fields=True):
    """What to compare with: another user, another moment or both; what is missing is as in the request."""

    user: Attributes | None = None
    at: At | None = None


class ExplainBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which flags to explain, for which user; either ``key`` or ``keys``."""

    sdk: str
    key: str | None = None
    keys: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    user: Attributes | None = None
    at: At | None = None
    compare: OtherSide | None = None


class Explained(Struct, frozen=True):
    """One flag for one user; ``text`` is what ``flaggateway explain`` prints, ``tree`` the same as values."""

    key: str
    value: bool | str | int | float | None
    variation_id: str
    decided_by: str
    error: str | None
    text: str
    tree: Explanation


class Compared(Struct, frozen=True):
    """The same flag on the other side, and the first decision that differs; null if there is none."""

    other: Explained
    difference: Difference | None


class ExplainAnswer(Struct, frozen=True):
    """The explanation of each flag, in the order of the request; ``compared`` is empty without ``compare``."""

    sdk: str
    config: Annotated[str, Meta(description="The tag of the config.")]
    explained: list[Explained]
    other_config: str | None
    compared: list[Compared]
