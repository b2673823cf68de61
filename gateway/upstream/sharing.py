"""Agreeing with the other nodes on a config before it is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.upstream.outcome import Failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.flags import Snapshot
    from gateway.upstream.outcome import Outcome
    from gateway.upstream.source import SharingSource


async def agree(
    source: SharingSource,
    outcome: Outcome,
    began: float,
    newest: Callable[[], Snapshot | None],
    compile_fetched: Callable[[Outcome], Awaitable[tuple[Outcome, bool]]],
    *,
    changed: bool,
) -> tuple[Outcome, bool]:
    """Store the newest config for the other nodes; return the outcome that counts, and whether there is a new config.

    If another node was faster, that is the config of the other one: ``compile_fetched`` makes it the newest.
    ``newest`` returns None once the SDK has no config to share, or another source.
    """
    while not isinstance(outcome, Failed) and (config := newest()) is not None:
        if await source.share(config.body, config.etag, config.tag, began) or newest() is None:
            break
        again = await source.fetch()
        if isinstance(again, Failed) or newest() is None:
            break
        outcome, also = await compile_fetched(again)
        changed = changed or also
    return outcome, changed
