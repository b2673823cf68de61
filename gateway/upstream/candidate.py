"""Compiling a config that may never be used, between requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import load_in_steps
from gateway.slices import LARGE_BYTES, compile_in_slices, in_turns

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot


async def compile_candidate(clock: IReactorTime, body: bytes, previous: Snapshot) -> Snapshot:
    """Compile a config, whatever its size in slices; cancelling ends it.

    :raises ConfigError: if it cannot be used
    """
    steps = load_in_steps(body, "", previous)
    return await (compile_in_slices(clock, steps) if len(body) > LARGE_BYTES else in_turns(clock, steps))
