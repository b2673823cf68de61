"""Many events as one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def encode_batch(meta: Mapping[str, str], lines: Iterable[bytes]) -> bytes:
    r"""Return ``{"meta":…,"events":[…]}``; ``lines`` are events, one or several in each, a line feed between two.

    JSON that we write has no other line feed.
    """
    return b'{"meta":%b,"events":[%b]}' % (msgspec.json.encode(dict(meta)), b"\n".join(lines).replace(b"\n", b","))
