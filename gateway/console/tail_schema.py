"""The body and the events of a tail; see ``schema``."""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.console.schema import Attributes, Served


class TailBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The user whose streams are followed: all users that have each of these attributes, at least one."""

    sdk: str
    user: Attributes
    key: Annotated[str | None, Meta(description="Only streams of this flag.")] = None


class TailedFlag(Struct, frozen=True):
    """A flag of an event: its value before and after, and what decided it, such as `rule 2: User.Country IS ONE OF …`.

    Before is null in an event with all values, and for a flag that did not exist.
    """

    key: str
    before: Served | None
    after: Served | None
    decided_before: str | None
    decided_after: str | None


class TailMessage(Struct, frozen=True):
    """The data of an event.

    `open`: `streams` that match and are open, counted so far; once for each process.  `values`: all values, as at the
    start of a stream.  `changes`: what a change of the config gave this user.
    """

    at: str
    sdk: str
    streams: Annotated[int, Meta(description="Equal streams of one user that were sent the event.")]
    change: Annotated[int | None, Meta(description="The id of the change; null if the history does not have it.")]
    config: str | None
    flag: Annotated[str | None, Meta(description="The flag of the stream; null for streams of all flags.")]
    mode: Annotated[str | None, Meta(description="`plain`, `delta` or `ofrep`.")]
    flags: Annotated[list[TailedFlag], Meta(description="The first 50 flags of the event.")]
    more: Annotated[int, Meta(description="Further flags.")]
    missed: Annotated[int, Meta(description="Events before this one that were dropped, because a queue was full.")]
