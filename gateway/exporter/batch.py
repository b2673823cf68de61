"""Many events as one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def encode_batch(meta: Mapping[str, str], events: Iterable[bytes]) -> bytes:
    """Return ``{"meta":…,"events":[…]}``; ``events`` are encoded already, and must not be none."""
    return b'{"meta":%b,"events":[%b]}' % (msgspec.json.encode(dict(meta)), b",".join(events))
