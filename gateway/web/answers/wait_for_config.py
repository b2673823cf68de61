"""Waiting briefly for a config that a client already has from another process of the service, or from another node.

A config that is unknown here is a reason to fetch.  A client therefore never gets an old value after a new one, and one
that comes with an older config after a restart waits for no more than that fetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.web.values import Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.streams import KnownConfigs
    from gateway.upstream import Refreshed
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import AnyReply, EventualReply

WAIT_SECONDS = 1.0  # for which a fetch is awaited: processes of one gateway differ by milliseconds, nodes by a fetch
CUT_OFF_SECONDS = 5.0  # the same where changes of other nodes do not arrive: the client has what this node has missed
WAITING_LIMIT = 1_000  # answers that wait at one time, some 2 KB each; further ones are given at once


def wait_for_config(context: Context, sdk: Sdk, name: str, answer: Callable[[], EventualReply]) -> EventualReply:
    """Return ``answer()``, at once unless this process never had the config ``name``.

    Then it fetches, and returns once that config is there, the fetch has ended well, or a second is over; five of them
    while the node is cut off from the others.  After that it returns what this process has.
    ``name`` is a tag or an ETag; an empty one is not waited for.  All who wait share one fetch a second.
    """
    hub = context.hubs.get(sdk.id) if name else None
    if hub is None or hub.snapshot is None or name in hub.known_configs or context.state.waiting >= WAITING_LIMIT:
        return answer()
    return _when_known(context, sdk, hub.known_configs, name, answer)


async def _when_known(
    context: Context, sdk: Sdk, known_configs: KnownConfigs, name: str, answer: Callable[[], EventualReply]
) -> AnyReply:
    done: Deferred[None] = Deferred()

    def end() -> None:
        if not done.called:
            done.callback(None)

    began = context.clock.seconds()
    late = context.clock.callLater(CUT_OFF_SECONDS if sdk.cut_off else WAIT_SECONDS, end)

    def fetched(result: Refreshed) -> None:
        if result.error is None:  # whatever the client has, the upstream has nothing newer than this process
            end()
        elif result.cut_off and late.active():  # as a worker learns it
            late.reset(max(began + CUT_OFF_SECONDS - context.clock.seconds(), 0.0))

    forget = known_configs.wait_for(name, end)
    context.state.waiting += 1
    sdk.refresh(limited=True).addCallback(fetched)
    try:
        await done
    finally:
        context.state.waiting -= 1
        forget()
        if late.active():
            late.cancel()
    outcome = answer()
    return outcome if isinstance(outcome, (Reply, StreamReply)) else await outcome
