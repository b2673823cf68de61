"""The answer about clients; see ``schema``."""

from typing import Annotated

from msgspec import Meta, Struct


class Agent(Struct, frozen=True):
    """A kind of client."""

    user_agent: Annotated[str, Meta(description="The header `User-Agent`, at most 200 bytes; empty without one.")]
    sdk: Annotated[str, Meta(description="The header `X-ConfigCat-UserAgent`: a ConfigCat SDK with its version.")]
    sampled_requests: Annotated[int, Meta(description="Of a sample: at most 100 requests a second of each process.")]
    last_seen: str


class RouteUse(Struct, frozen=True):
    """The requests of one route, or of `[NONE]` where none matched, since the start."""

    route: str
    requests: int
    client_errors: Annotated[int, Meta(description="Answers with a status from 400 to 499.")]
    server_errors: Annotated[int, Meta(description="Answers with a status from 500 on.")]
    error_rate: Annotated[float, Meta(description="The share of both, from 0 to 1.")]


class UnknownFlag(Struct, frozen=True):
    """A flag that requests named although the config did not have it."""

    sdk: str
    key: str
    requests: int
    last_seen: str


class UnaskedFlags(Struct, frozen=True):
    """Flags of the live config that no request and no stream of a single flag has named since the start."""

    sdk: str
    flags: Annotated[list[str], Meta(description="The first 500 of them.")]
    count: int


class KeyUse(Struct, frozen=True):
    """A key in `http.auth.keys` that was used since the start."""

    caller: Annotated[str, Meta(description="The name of the key.")]
    second: Annotated[bool, Meta(description="Whether it is the one of `second_hash`.")]
    requests: int
    last_used: str


class ClientsAnswer(Struct, frozen=True):
    """The clients, since the start of the processes."""

    agents: Annotated[list[Agent], Meta(description="The latest seen first, at most 200.")]
    routes: Annotated[list[RouteUse], Meta(description="The routes with the most requests first.")]
    unknown_flags: Annotated[list[UnknownFlag], Meta(description="The latest seen first, at most 500.")]
    unasked_flags: list[UnaskedFlags]
    keys: Annotated[list[KeyUse], Meta(description="The latest used first.")]
    all_flags_requests: Annotated[
        int,
        Meta(description="Requests for all flags or a whole config, which name none."),
    ]
    missing_workers: int
