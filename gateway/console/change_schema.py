"""The answers about changes; see ``schema``."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway.console.schema import FlagText


class Reach(Struct, frozen=True):
    """The streams and users that a change reached, measured by this run of the gateway.

    ``seconds`` count from the moment at which the config came into use, to the write of an event to a connection;
    they are null without a stream that got one.  Paced events, those of OFREP streams, are spread over some seconds by
    design: they count in ``paced_streams`` only.
    """

    open_streams: Annotated[
        int, Meta(description="Open streams of the SDK when the config came into use; of workers, up to 1 s before.")
    ]
    streams: Annotated[int, Meta(description="Streams that got an event, paced ones not included.")]
    paced_streams: int
    users: Annotated[int, Meta(description="Users with such a stream; one counts once per flag, mode and process.")]
    first_seconds: float | None
    p50_seconds: float | None
    p99_seconds: float | None
    last_seconds: float | None
    processes: Annotated[int, Meta(description="Processes that have ended their push.")]
    expected_processes: int
    replaced: Annotated[bool, Meta(description="Whether a newer config came before all processes had ended.")]


class ChangeSummary(Struct, frozen=True):
    """A config that replaced another one."""

    id: Annotated[int, Meta(description="The number of the change, for `/changes/{id}` and as `at`.")]
    sdk: str
    at: str
    source: Annotated[str, Meta(description="How it came, as in the list of configs.")]
    author: str | None
    notes: str | None
    before: Annotated[str, Meta(description="Id of the config before.")]
    config: Annotated[str, Meta(description="Id of the config.")]
    etag: str
    flags: Annotated[list[FlagText], Meta(description="What changed, in words; the first 20 flags, texts cut.")]
    flag_count: Annotated[int, Meta(description="The number of flags that changed.")]
    segments: Annotated[list[str], Meta(description="Names of segments that were added, removed or changed.")]
    salt_changed: bool
    preferences_changed: bool
    reach: Annotated[
        Reach | None, Meta(description="Null for a change of an earlier run, and beyond the newest 200 of this one.")
    ]
    record: Annotated[int | None, Meta(description="Its number in the outbox, if there are webhooks.")]


class ChangeList(Struct, frozen=True):
    """A page of changes, the newest first."""

    changes: list[ChangeSummary]
    next: Annotated[int | None, Meta(description="Continues the list as `before`.")]


class ChangedFlag(FlagText, frozen=True):
    """A flag with its definitions as in the config JSON; null where it did not exist, and beyond 4 MiB in all."""

    before: Any
    after: Any


class EndpointDeliveries(Struct, frozen=True):
    """The webhook messages to one endpoint about a change, by state."""

    endpoint: str
    messages: int
    pending: int
    delivered: int
    failed: int
    skipped: int
    watched_users: Annotated[int, Meta(description="Users of the endpoint's `users` whose values changed.")]
    tries: Annotated[int, Meta(description="Attempts of the message with the most.")]
    finished: str | None


class ChangeDetails(ChangeSummary, frozen=True):
    """A change with the definitions before and after of the first 1,000 flags, and its deliveries."""

    definitions: list[ChangedFlag]
    deliveries: Annotated[
        list[EndpointDeliveries] | None, Meta(description="Null without an open outbox, and if it cannot be read.")
    ]
