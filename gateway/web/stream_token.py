"""Tokens for OFREP event streams: a browser's ``EventSource`` sends no headers, so its path holds the user.

    token = seal(effective context as JSON; with a proof [context, end of the stream, caller])

The seal's key is derived from the SDK (its key, id and default attributes), ``http.sse.url_secret`` and the headers
that OFREP's own routes require.  A token is therefore equal in every process and after every restart, was given only to
a client that had the headers, and becomes invalid when one of these changes.  It does not expire: the validators of
bulk answers contain it, and a web provider keeps it as long as its page is open.  That of a verified user ends with
the user's own token, and has a key of its own, see ``stream_url``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from attrs import define, field

from gateway.flags import InvalidAttribute, User, attributes_from_json
from gateway.web.stream_seal import CONTENT_LIMIT, SdkSeals, context_bytes, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.web.ports import Sdk

PATH = "/ofrep/v1/streams/"
DOMAIN = b"flaggateway/ofrep-stream/2"
PROVED_DOMAIN = b"flaggateway/proved-ofrep-stream/1"


@define
class StreamTokens:
    """Issues and checks tokens under one state of the settings."""

    _seals: SdkSeals = field(repr=False)
    _proved: bool = False

    @classmethod
    def from_settings(
        cls, auth_headers: Mapping[str, str], url_secret: str = "", proof: tuple[bytes, ...] | None = None
    ) -> StreamTokens:
        """Return the tokens of clients that send the ``auth_headers``.

        Where users are signed or callers need keys, ``proof`` is used instead of the ``url_secret``.
        """
        lines = sorted((name.lower(), value) for name, value in auth_headers.items())
        headers = joined(part.encode() for line in lines for part in line)
        if proof is not None:
            return cls(SdkSeals(PROVED_DOMAIN, (headers, *proof), of_defaults=True), proved=True)
        return cls(SdkSeals(DOMAIN, (headers, url_secret.encode()), of_defaults=True))

    def stream_path(self, sdk: Sdk, user: User | None, ends: float = 0.0, caller: str = "") -> bytes | None:
        """Return the path of the stream for ``user``, an effective context; None for one that is too large.

        The stream of a verified user ends at ``ends``, Unix seconds; ``caller`` is the one who gets it, with a key.
        """
        content = context_bytes(user)
        if self._proved:
            content = b"[%b,%b]" % (content, msgspec.json.encode((ends, caller))[1:-1])
        if len(content) > CONTENT_LIMIT:
            return None
        return f"{PATH}{quote(sdk.id, safe='')}/".encode() + self._seals.of(sdk).close(content)

    def read(self, sdk: Sdk, token: str) -> tuple[User | None, float, str]:
        """Return the effective context in ``token``, when its stream ends (0: not by itself), and the caller or ``""``.

        :raises ValueError: when the token was not issued for this SDK under these settings.
        """
        value, ends, caller = msgspec.json.decode(self._seals.of(sdk).open(token)), 0.0, ""
        if self._proved:
            value, ends, caller = value
        try:
            return None if value is None else User(attributes_from_json(value)), ends, caller
        except InvalidAttribute as error:
            raise ValueError(str(error)) from None
