"""Short URLs of streams: ``/sse/{sdkId}/streams/{token}``, which ``POST /sse/{sdkId}/streams`` issues.

    token = seal(expiry, 8 bytes | [key, user] as JSON; with a proof [key, user, end of the stream, caller])

The seal's key is derived from the SDK (its key and id) and ``http.sse.url_secret``: any process and any node with the
same settings opens the URL, and nothing is stored.  The user is the request's; default attributes are added when the
stream opens, as those of ``/sse/{sdkId}/eval/{data}``.

Where users are signed or callers need keys, URLs are sealed by a key of their own: one that was issued without a proof
is not valid there.  Its secret is never the SDK key alone, with which any client could make a URL.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from attrs import define, field, frozen

from gateway.flags import InvalidAttribute, attributes_from_json
from gateway.web.stream_seal import CONTENT_LIMIT, SdkSeals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags import Attribute
    from gateway.web.ports import Sdk

DOMAIN = b"flaggateway/stream-url/1"
PROVED_DOMAIN = b"flaggateway/proved-stream-url/1"
EXPIRY_BYTES = 8

_Open = tuple[str | None, dict[str, object] | None]
_Proved = tuple[str | None, dict[str, object] | None, float, str]


class Expired(Exception):
    """A URL was valid until its expiry."""


@frozen
class Target:
    """What the stream of a URL contains: one flag, or all (``key`` is None), for ``user`` (None when absent).

    The stream ends at ``ends``, Unix seconds; 0: not by itself.  ``caller`` is who requested the URL, if it had a key.
    """

    key: str | None
    user: Mapping[str, Attribute] | None
    ends: float = 0.0
    caller: str = ""


@define
class StreamUrls:
    """Issues and reads short URLs under one state of the settings."""

    _seals: SdkSeals = field(repr=False)
    _lifetime: float  # seconds
    _proved: bool = False

    @classmethod
    def from_settings(
        cls, url_secret: str = "", lifetime: float = 86_400, proof: tuple[bytes, ...] | None = None
    ) -> StreamUrls:
        """Return the URLs that the options ``http.sse.url_secret`` and ``http.sse.url_lifetime`` describe.

        Where users are signed or callers need keys, ``proof`` is used instead of the secret.
        """
        if proof is not None:
            return cls(SdkSeals(PROVED_DOMAIN, proof), lifetime, proved=True)
        return cls(SdkSeals(DOMAIN, (url_secret.encode(),)), lifetime)

    def issue(self, sdk: Sdk, target: Target, now: float) -> tuple[bytes, int] | None:
        """Return the path for ``target``, and when it expires, in Unix seconds as ``now``; None if it is too large.

        It expires no later than its stream ends.
        """
        proved = (target.key, target.user, target.ends, target.caller)
        content = msgspec.json.encode(proved if self._proved else proved[:2])
        if len(content) + EXPIRY_BYTES > CONTENT_LIMIT:
            return None
        expiry = math.ceil(now + self._lifetime)
        if target.ends:
            expiry = min(expiry, math.floor(target.ends))
        token = self._seals.of(sdk).close(expiry.to_bytes(EXPIRY_BYTES, "big") + content)
        return b"/sse/%b/streams/%b" % (quote(sdk.id, safe="").encode(), token), expiry

    def read(self, sdk: Sdk, token: str, now: float) -> Target:
        """Return what the stream of ``token`` contains.

        :raises Expired: at its expiry and later.
        :raises ValueError: when it was not issued for this SDK under these secrets.
        """
        content = self._seals.of(sdk).open(token)
        if now >= int.from_bytes(content[:EXPIRY_BYTES], "big"):
            raise Expired
        key, user, *proof = msgspec.json.decode(content[EXPIRY_BYTES:], type=_Proved if self._proved else _Open)
        try:
            return Target(key, None if user is None else attributes_from_json(user), *proof)
        except InvalidAttribute as error:
            raise ValueError(str(error)) from None
