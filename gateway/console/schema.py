"""The bodies of requests and answers; ``openapi.json`` is generated from these structs.

Times are ISO 8601 in UTC; durations are in seconds, and their names end with ``_seconds``.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, field

from gateway.console.cluster import Cluster
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


class PinnedConfig(Struct, frozen=True):
    """A config that is served until an operator releases it."""

    config: str
    since: str
    waiting: Annotated[str | None, Meta(description="Id of the config that the source has, if it is another one.")]


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
    pinned: PinnedConfig | None
    streams: int


class WorkerOverview(Struct, frozen=True):
    """A worker process."""

    number: int
    pid: int
    listening: bool
    responding: bool
    streams: int
    uptime_seconds: float


class Access(Struct, frozen=True):
    """Who sent the request, and what this caller may do."""

    user: Annotated[str | None, Meta(description="Name of `diag.users`; null for a caller without a login.")]
    role: Literal["view", "operate"]


class Overview(Struct, frozen=True):
    """The state of the gateway."""

    access: Access
    summary: Annotated[str, Meta(description="The health in one sentence.")]
    health: Health
    ready: bool
    version: str
    uptime_seconds: int
    streams: int
    sdks: list[SdkOverview]
    problems: list[Problem]
    workers: Annotated[list[WorkerOverview], Meta(description="Empty if one process serves.")]
    cluster: Annotated[Cluster | None, Meta(description="Absent without a cache that several gateways share.")] = None


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


Value = bool | str | int | float | None


class Explained(Struct, frozen=True):
    """One flag for one user; ``text`` is what ``flaggateway explain`` prints, ``tree`` the same as values."""

    key: str
    value: Value
    variation_id: Annotated[str, Meta(description="Empty if the variation has none.")] = field(name="variationId")
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


class CandidateFlag(Struct, frozen=True, forbid_unknown_fields=True):
    """Another definition of one flag of the live config, as in a config JSON; null deletes the flag."""

    key: str
    definition: Annotated[Raw, Meta(description="An object as in the member `f` of a config JSON, or null.")]


class ImpactBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate: a whole config JSON, or one flag of the live config; without both, with ``at``, the live config.

    ``at`` is the moment of the config that it is compared with, the live one if it is missing.
    """

    sdk: str
    config: Annotated[Raw, Meta(description="A config JSON as the CDN serves it.")] = field(
        default_factory=Raw
    )  # missing
    flag: CandidateFlag | None = None
    at: At | None = None


class Served(Struct, frozen=True):
    """A flag's value for a user; null for a flag that fails."""

    value: Value
    variation_id: str = field(name="variationId")


class ValueChange(Struct, frozen=True):
    """A change of a flag's value; null for a flag that does not exist. Both are equal if only the reason differs."""

    before: Served | None
    after: Served | None
    users: int


class FlagImpact(Struct, frozen=True):
    """What a candidate changes of one flag; the most frequent changes of values first, at most 20."""

    key: str
    users: int
    changes: list[ValueChange]


class ExampleChange(Struct, frozen=True):
    """A flag of an example."""

    key: str
    before: Served | None
    after: Served | None


class ExampleUser(Struct, frozen=True):
    """A user who would see something else; ``attributes`` are those that the changed flags read.

    Texts that name the user are masked unless they are to be revealed, which also shows all attributes.
    """

    identifier: str | None
    attributes: dict[str, Any]
    changes: Annotated[list[ExampleChange], Meta(description="The first 10 of them.")]


class Audience(Struct, frozen=True):
    """Some users, and how many of them would see something else.

    ``examined`` is below ``total`` if the time was over; ``changed`` counts the examined ones only.
    """

    total: int
    examined: int
    changed: int
    flags: Annotated[list[FlagImpact], Meta(description="The flags with the most users first, at most 200.")]
    examples: list[ExampleUser]


class Connected(Audience, frozen=True):
    """The users with open streams; a user counts once, and each stream of the user under ``streams``."""

    streams: int
    changed_streams: int


class ImpactAnswer(Struct, frozen=True):
    """What a candidate would change."""

    sdk: str
    config: Annotated[str, Meta(description="The tag of the config that it is compared with, as a rule the live one.")]
    candidate: Annotated[str, Meta(description="The tag of the candidate.")]
    added: list[str]
    removed: list[str]
    changed: Annotated[list[str], Meta(description="Flags with another definition, or that depend on one.")]
    connected: Connected
    sample: Audience
    missing_workers: Annotated[int, Meta(description="Worker processes that did not answer; their users are missing.")]


class Queue(Struct, frozen=True):
    """Messages that wait for an endpoint."""

    pending: int
    oldest_seconds: float


class ChangeMark(Struct, frozen=True):
    """A config that came into use."""

    at: str
    sdk: str
    config: Annotated[str, Meta(description="The tag of the config.")]


class Point(Struct, frozen=True):
    """The state at a moment, and what happened since the point before."""

    at: str
    streams: int
    requests_per_second: float
    push_seconds: Annotated[float | None, Meta(description="The longest push to the last client; null without one.")]
    lag_seconds: Annotated[float, Meta(description="The longest lag of an event loop of a process.")]
    endpoints: Annotated[dict[str, Queue], Meta(description="By name of the endpoint, at most 20.")]
    exporter_backlog: Annotated[int, Meta(description="Evaluation events on disk that have not arrived.")]
    memory_bytes: Annotated[int, Meta(description="Resident memory of all processes.")]
    processor: Annotated[float, Meta(description="Processors in use by all processes; 1 is one whole processor.")]


class SeriesAnswer(Struct, frozen=True):
    """The last hour, the oldest point first."""

    interval_seconds: float
    points: list[Point]
    changes: Annotated[list[ChangeMark], Meta(description="Of the same time, at most 500.")]


class Streams(Struct, frozen=True):
    """Open streams of one SDK, flag, mode and process."""

    sdk: str
    flag: Annotated[str | None, Meta(description="Null for streams of all flags; `[OTHER]` for flags of no config.")]
    mode: Annotated[str, Meta(description="`plain`, `delta` or `ofrep`.")]
    worker: Annotated[int, Meta(description="Number of the worker; 0 if one process serves.")]
    open: int
    paused: Annotated[int, Meta(description="Streams whose client does not read.")]
    longest_pause_seconds: float
    users: Annotated[int, Meta(description="Different users: streams of equal users share one encoded event.")]


class StreamsAnswer(Struct, frozen=True):
    """The open streams."""

    open: int
    paused: int
    streams: list[Streams]
    missing_workers: int


class UserStreamBody(Struct, frozen=True, forbid_unknown_fields=True):
    """For which user a test stream is opened; of one flag, or of all flags without ``key``."""

    sdk: str
    key: str | None = None
    user: Attributes | None = None


class SeenValue(Struct, frozen=True):
    """What a user gets, and what decided it."""

    value: Value
    variation_id: str = field(name="variationId")
    decided_by: str
    error: str | None


class ConfigUse(Struct, frozen=True):
    """A config that came into use."""

    config: Annotated[str, Meta(description="Its id, 16 hex digits; a digest of the config JSON.")]
    at: str
    source: Annotated[
        str, Meta(description="How it came: `remote`, `file`, `cache`, `accepted`, `served` or `released`.")
    ]
    author: str | None
    notes: str | None
    change: Annotated[int | None, Meta(description="Number of the recorded change, if there are webhooks.")]
    etag: str
    flags: int
    bytes: int


class ConfigList(Struct, frozen=True):
    """What was in use, the newest first."""

    configs: list[ConfigUse]
    next: Annotated[int | None, Meta(description="Continues the list as `before`.")]
    pinned: PinnedConfig | None


class ConfigAnswer(Struct, frozen=True):
    """A config JSON and its last use."""

    use: ConfigUse
    config: Annotated[dict[str, Any], Meta(description="The config JSON as it was served.")]


class FlagText(Struct, frozen=True):
    """What changed in a flag, in words."""

    key: str
    act: Literal["updated", "created", "deleted"]
    text: str


class ConfigDiffAnswer(Struct, frozen=True):
    """What changed from one config to another."""

    first: Annotated[str, Meta(description="Id of the earlier config.")]
    second: Annotated[str, Meta(description="Id of the later config.")]
    flags: list[FlagText]
    segments: Annotated[list[str], Meta(description="Names of segments that were added, removed or changed.")]
    salt_changed: bool
    preferences_changed: bool


class ServeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which config to serve."""

    id: Annotated[str, Meta(description="The id, or the beginning of it that no other config has.")]


class PinAnswer(Struct, frozen=True):
    """A config that was pinned or released."""

    config: str
    since: str
    stored: Annotated[bool, Meta(description="Whether a restart keeps to it; false while the disk is full.")]


class Decided(Struct, frozen=True):
    """A held config that was accepted or rejected."""

    reason: str
    etag: str
    flags: int
