"""Waiting, for a moment, for a config that the caller has seen already: from another process, before this one has it.

So nobody is shown an old value after a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.web.values import Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.streams import KnownConfigs
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import Answered, Outcome

WAIT_SECONDS = 1.0  # processes of one gateway differ by milliseconds, nodes behind one webhook by less than this
WAITING_LIMIT = 1_000  # answers that wait at one time, some 2 KB each; beyond it they are given at once


def patiently(context: Context, sdk: Sdk, name: str, go: Callable[[], Outcome]) -> Outcome:
    """Return ``go()``, at once unless ``name`` is of a config that this process has never had.

    Then when it comes, or after ``WAIT_SECONDS``. ``name`` is a tag or an ETag; empty waits for nothing.
    """
    hub = context.hubs.get(sdk.id) if name else None
    if hub is None or hub.snapshot is None or name in hub.known_configs or context.state.waiting >= WAITING_LIMIT:
        return go()
    return _later(context, hub.known_configs, name, go)


async def _later(context: Context, known_configs: KnownConfigs, name: str, go: Callable[[], Outcome]) -> Answered:
    done: Deferred[None] = Deferred()

    def end() -> None:
        if not done.called:
            done.callback(None)

    forget = known_configs.wait_for(name, end)
    done.addTimeout(WAIT_SECONDS, context.clock, lambda _result, _seconds: None)
    context.state.waiting += 1
    try:
        await done
    finally:
        context.state.waiting -= 1
        forget()
    outcome = go()
    return outcome if isinstance(outcome, (Reply, StreamReply)) else await outcome
