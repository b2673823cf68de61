"""The comparison of validators (RFC 9110, 8.8.3 and 13.1.2), for every route whose reply has an ``ETag``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.web.values import Call

# One member of the list and the comma after it; empty members are allowed (5.6.1).
MEMBER = re.compile(rb'[ \t]*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")?[ \t]*(?:,|\Z)')


def client_has(call: Call, etag: bytes, otherwise: bytes = b"") -> bool:
    """Return whether ``If-None-Match`` names ``etag``, the validator of the reply, so that the reply is 304.

    The comparison is weak, because proxies that compress make validators weak. ``*`` names every validator.
    ``otherwise`` is the field's value if the request has no such field, or an empty one; a list that is not valid names
    nothing after its first fault.
    """
    values = call.headers.get(b"if-none-match")
    field = b", ".join(values) if values else b""
    field = field or otherwise
    if not field:
        return False
    # The first comparison also serves validators of upstreams that send no quotes.
    return field == etag or field.strip() == b"*" or _listed(field, etag.removeprefix(b"W/"))


def _listed(field: bytes, opaque: bytes) -> bool:
    position = 0
    while position < len(field):
        found = MEMBER.match(field, position)
        if found is None:
            return False
        if found[1] == opaque:
            return True
        position = found.end()
    return False
