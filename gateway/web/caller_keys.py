"""Keys of callers: which key a call has, what it may do, and how often.

    call ──► key ──► Caller ──► the route's answer, with a context of its SDKs only
               └── none, or unknown ──► 401    other routes ──► 403    too often ──► 429

Every comparison takes constant time, and all keys are compared in any case.
"""

from __future__ import annotations

import math
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen
from msgspec.structs import replace

from gateway.text import read_key_hash
from gateway.web.answers.sse import later, read_query, stream_error
from gateway.web.callers import Caller, CallerStreams
from gateway.web.values import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.settings import CallerAuth, CallerKey
    from gateway.web.context import Context
    from gateway.web.ports import Registry, Sdk
    from gateway.web.values import Call, EventualReply, Reply

    Answer = Callable[[Context, Call], EventualReply]

HEADER = b"x-flaggateway-key"
HEADER_NAME = "X-Flaggateway-Key"
KEY_LENGTH = 256  # bytes of the longest key that is hashed
NEEDED = ("api", "ofrep", "sse")  # the groups that need a key by default

NO_KEY = text(401, f"unauthorized: a key is required in the header {HEADER_NAME}")
UNKNOWN_KEY = text(401, "unauthorized: the key is not valid")
OTHER_ROUTES = text(403, "the key is not for these routes")
TOO_OFTEN = "the caller has sent too many requests"


@frozen
class OwnSdks:
    """The SDKs that a caller may use; others do not exist for it."""

    _registry: Registry
    _ids: frozenset[str]

    def by_id(self, sdk_id: str) -> Sdk | None:
        """See ``Registry``."""
        return self._registry.by_id(sdk_id) if sdk_id in self._ids else None

    def by_key(self, key: str) -> Sdk | None:
        """See ``Registry``."""
        sdk = self._registry.by_key(key)
        return sdk if sdk is not None and sdk.id in self._ids else None


@frozen
class CallerKeys:
    """The keys under one state of the settings."""

    callers: tuple[Caller, ...]
    needed: frozenset[str]  # groups of routes
    _contexts: dict[str, Context] = field(factory=dict, eq=False, repr=False)  # by the name of a caller

    @classmethod
    def from_settings(cls, auth: CallerAuth, context: Context) -> CallerKeys | None:
        """Return the keys in ``auth``; None without any.  What a caller of the same name has open stays counted."""
        if not auth.keys:
            return None
        needed = frozenset(auth.routes or NEEDED)
        return cls(tuple(_caller(key, context, needed) for key in auth.keys), needed)

    def use(self, context: Context) -> None:
        """Derive the context of each caller from ``context``, which is complete."""
        for caller in self.callers:
            registry = OwnSdks(context.registry, caller.sdks) if caller.sdks else context.registry
            self._contexts[caller.name] = evolve(context, registry=registry, caller=caller)

    def context_of(self, name: str) -> Context | None:
        """See ``gateway.web.context.Callers``."""
        return self._contexts.get(name)

    def require(self, group: str, answer: Answer) -> Answer:
        """Return ``answer`` for calls with a key for ``group`` only, in the context of the caller."""
        stream = group == "sse"

        def admitted(context: Context, call: Call) -> EventualReply:
            key = _key(call, query=stream)
            caller = self._find(context, key)
            if caller is None:
                refusal = UNKNOWN_KEY if key else NO_KEY
                return stream_error(refusal) if stream else refusal
            return self.admit(caller.name, group, call) or answer(self._contexts[caller.name], call)

        return admitted

    def admit(self, name: str, group: str, call: Call) -> Reply | None:
        """See ``gateway.web.context.Callers``."""
        context = self._contexts[name]
        caller, stream = context.caller, group == "sse"
        assert caller is not None
        if group not in caller.routes:
            return stream_error(OTHER_ROUTES) if stream else OTHER_ROUTES
        seconds = caller.wait(context.clock.seconds())
        if not seconds:
            return None
        refusal = text(429, TOO_OFTEN)
        refusal = replace(refusal, headers=(*refusal.headers, (b"Retry-After", b"%d" % math.ceil(seconds))))
        return later(context, call, refusal, TOO_OFTEN) if stream else refusal

    def _find(self, context: Context, key: bytes) -> Caller | None:
        digest = sha256(key).digest()
        found: tuple[Caller, int] | None = None
        for caller in self.callers:
            for number, known in enumerate(caller.digests):
                if compare_digest(digest, known):
                    found = caller, number
        if found is None or not key:
            return None
        context.clients.key_used(found[0].name, found[1])
        return found[0]


def _caller(key: CallerKey, context: Context, needed: Iterable[str]) -> Caller:
    states = context.state.callers
    return Caller(
        key.name,
        tuple(read_key_hash(each) for each in (key.hash, key.second_hash) if each),
        frozenset(key.sdks),
        frozenset(key.routes or needed),
        key.rate,
        key.max_streams,
        states,
        CallerStreams(context.state.streams, states, key.name),
    )


def _key(call: Call, *, query: bool) -> bytes:
    """Return the key of a call; where an EventSource may be the client, the query may contain it."""
    key = call.header(HEADER)
    if not key and query and call.query and call.method in {"GET", "HEAD"}:
        key = read_query(call).get("api_key", "").encode("utf-8", "replace")
    return key if len(key) <= KEY_LENGTH else b""
