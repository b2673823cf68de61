"""Verifies tokens: signature, then times, issuer and audience, then attributes.  Pure: the time is an argument.

Rule 1: the algorithm is the key's; that of the token's header only excludes keys.
Rule 2: the key id of a token is compared with those of the known keys, and used for nothing else.
Rule 3: no text of a token is in an error.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.jwt import JWTClaimsRegistry

from gateway.flags import Attribute, InvalidAttribute, attributes_from_json
from gateway.identity.identity import Identity, InvalidToken, UnknownKey
from gateway.identity.keys import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from joserfc.jws import CompactSignature

    from gateway.identity.issuer_keys import IssuerKeys
    from gateway.identity.keys import VerificationKey

TOKEN_BYTES: Final = 8192  # of the longest token; a head has 16 KiB, and the tokens of large issuers have 4
TRIED_KEYS: Final = 8  # for a token that names no key; each costs up to 0.2 ms
CACHE_LIMIT: Final = 10_000  # verified tokens that are kept: 20 MB; when full, the oldest is dropped
CACHED_BYTES: Final = 2048  # of the longest token whose result is kept, which its attributes cannot exceed
LATEST: Final = 2.0**53  # Unix seconds; the end of a token that is valid for ever

_SIZES: Final = JWSRegistry()
_SIZES.max_header_length = HEADER_BYTES
_SIZES.max_payload_length = TOKEN_BYTES

NOT_A_TOKEN: Final = "the token is not a signed JWT"  # noqa: S105  (the text of a refusal)
NO_KEY: Final = "the token is not signed with a key of this gateway"
BAD_SIGNATURE: Final = "the signature of the token is not valid"
_BY_CLAIM: Final = {
    "nbf": "the token is not valid yet",
    "iat": "the token is not valid yet",
    "iss": "the token is from another issuer",
    "aud": "the token is for another audience",
}


class Verifier:
    """Verifies tokens by ``keys``, and by the key sets in ``issuers`` at ``urls``, each with the algorithm to use.

    ``claims`` maps claims to attributes.  Verified tokens are kept by their hash until they end, and dropped whenever
    a key set changes.
    """

    def __init__(
        self,
        keys: Sequence[VerificationKey],
        urls: Mapping[str, str | None],
        issuers: IssuerKeys,
        *,
        claims: Mapping[str, str],
        open_attributes: frozenset[str] = frozenset(),
        issuer: str = "",
        audience: str = "",
        leeway: float = 0,
    ) -> None:
        self._own = tuple(keys)
        self._urls = dict(urls)
        self._issuers = issuers
        self._claims = dict(claims)
        self._open = open_attributes
        self._leeway = leeway
        self._rules: dict[str, Any] = {"exp": {"essential": True}}
        if issuer:
            self._rules["iss"] = {"essential": True, "value": issuer}
        if audience:
            self._rules["aud"] = {"essential": True, "value": audience}
        self._version = -1
        self._fetched: tuple[VerificationKey, ...] = ()
        self._verified: dict[bytes, Identity] = {}

    @property
    def incomplete(self) -> bool:
        """Whether a key set has never been fetched, so that a token of its issuer is refused for the time being."""
        return any(self._issuers.keys(url, only) is None for url, only in self._urls.items())

    def verify(self, token: bytes, now: float) -> Identity:
        """Return the user that ``token`` proves at ``now``, Unix seconds.

        :raises UnknownKey: when it may have been signed with a key that the issuer has and this process has not.
        :raises InvalidToken: when it is not valid.
        """
        if self._version != self._issuers.version:
            self._take_keys()
        if len(token) > TOKEN_BYTES:
            raise InvalidToken(f"the token is longer than {TOKEN_BYTES} bytes")
        digest = sha256(token).digest()
        known = self._verified.get(digest)
        if known is not None:
            if now < known.ends:
                return known
            del self._verified[digest]
        identity = self._identity(self._signed_claims(token), now)
        if len(token) <= CACHED_BYTES:
            if len(self._verified) >= CACHE_LIMIT:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = identity
        return identity

    def _take_keys(self) -> None:
        self._version = self._issuers.version
        self._verified.clear()
        sets = [self._issuers.keys(url, only) or () for url, only in self._urls.items()]
        self._fetched = tuple(key for keys in sets for key in keys)

    def _signed_claims(self, text: bytes) -> dict[str, Any]:
        try:
            token = extract_compact(text, registry=_SIZES)
            header = dict(token.protected)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise InvalidToken(NOT_A_TOKEN) from None
        algorithm, kid = header.get("alg"), header.get("kid")
        # An extension that must be understood (``crit``) is none of ours; ``b64`` changes what is signed.
        if not isinstance(algorithm, str) or not isinstance(kid, str | None) or "crit" in header or "b64" in header:
            raise InvalidToken(NOT_A_TOKEN)
        self._check_signature(token, algorithm, kid)
        try:
            claims = json.loads(token.payload or b"")
        except (ValueError, RecursionError):
            raise InvalidToken(NOT_A_TOKEN) from None
        if not isinstance(claims, dict):
            raise InvalidToken(NOT_A_TOKEN)
        return claims

    def _check_signature(self, token: CompactSignature, algorithm: str, kid: str | None) -> None:
        usable = [key for key in (*self._own, *self._fetched) if key.names(algorithm)]
        candidates = [key for key in usable if kid is None or key.kid in {None, kid}]
        for key in candidates[:TRIED_KEYS]:
            try:
                if key.signed(token):
                    return
            except (JoseError, ValueError, TypeError):
                raise InvalidToken(NOT_A_TOKEN) from None
        if self._urls and not any(key.kid == kid for key in candidates):
            raise UnknownKey(NO_KEY)
        raise InvalidToken(BAD_SIGNATURE if candidates else NO_KEY)

    def _identity(self, claims: dict[str, Any], now: float) -> Identity:
        try:
            JWTClaimsRegistry(int(now), self._leeway, **self._rules).validate(claims)  # type: ignore[arg-type]  # a float does as well
        except ExpiredTokenError:
            raise InvalidToken("the token has expired") from None
        except MissingClaimError:
            raise InvalidToken("the token lacks a claim that is required: exp, or iss or aud") from None
        except InvalidClaimError as error:
            claim = str(error.claim)
            raise InvalidToken(_BY_CLAIM.get(claim, "a claim of the token is not valid")) from None
        ends = min(claims["exp"], LATEST) + self._leeway
        return Identity(self._attributes(claims), ends, self._open)

    def _attributes(self, claims: Mapping[str, object]) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        for claim, attribute in self._claims.items():
            value = claims.get(claim)
            if isinstance(value, bool):
                value = "true" if value else "false"
            try:
                found |= attributes_from_json({attribute: value})
            except InvalidAttribute:
                continue  # absent, null or an object: the user does not have the attribute
        return found
