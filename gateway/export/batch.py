"""Many events as one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def batch_head(meta: Mapping[str, str]) -> bytes:
    """Return how a batch begins."""
    return b'{"meta":%b,"events":[' % msgspec.json.encode(dict(meta))


def encode_batch(head: bytes, events: Iterable[bytes]) -> bytes:
    """Return ``{"meta":…,"events":[…]}``; ``events`` are one or several in each, a comma between two.

    Equal arguments must give equal bodies in every version: a batch that was sent and did not arrive is put together
    again.
    """
    return b"%b%b]}" % (head, b",".join(events))
