"""From settings to a verifier: key files are read, and every key is checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from gateway.identity.issuer_keys import IssuerKeys
    from gateway.identity.verifier import Verifier
    from gateway.settings import Identity, IdentityKey

FILE_LIMIT: Final = 64 * 1024  # bytes of a key file; keys have less than one
_SHORTEST: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes of a secret; RFC 7518, 3.2


class IdentityError(ValueError):
    """A key cannot be used; the text names the option, and contains no key."""


def with_file_contents(identity: Identity) -> Identity:
    """Return the settings with the content of each key file in place of its name; may block on the disk.

    :raises IdentityError: when a file cannot be read.
    """
    return replace(identity, keys=[_read(f"identity.keys[{index}]", key) for index, key in enumerate(identity.keys)])


def open_verifier(identity: Identity, issuers: IssuerKeys) -> Verifier | None:
    """Return the verifier of the tokens that ``identity`` describes; None without keys.

    :raises IdentityError: when a file cannot be read, or a key cannot be used.
    """
    if not identity.keys:
        return None
    from gateway.identity.keys import UnusableKey, make_key
    from gateway.identity.verifier import Verifier

    keys = []
    identity = with_file_contents(identity)
    for index, key in enumerate(identity.keys):
        try:
            if not key.jwks_url:
                keys.append(make_key(key))
        except UnusableKey as error:
            raise IdentityError(f"identity.keys[{index}]: {error}") from None
    return Verifier(
        keys,
        {key.jwks_url: key.alg for key in identity.keys if key.jwks_url},
        issuers,
        claims=identity.attributes,
        open_attributes=frozenset(identity.open_attributes),
        issuer=identity.issuer,
        audience=identity.audience,
        leeway=identity.leeway,
    )


def _read(option: str, key: IdentityKey) -> IdentityKey:
    if key.secret_file:
        secret = _content(f"{option}.secret_file", key.secret_file)
        shortest = _SHORTEST.get(key.alg or "", 0)
        if len(secret.encode()) < shortest:
            raise IdentityError(f"{option}.secret_file: the secret has less than {shortest} bytes, as {key.alg} needs")
        return replace(key, secret=secret, secret_file="")
    if key.public_key_file:
        public_key = _content(f"{option}.public_key_file", key.public_key_file)
        return replace(key, public_key=public_key, public_key_file="")
    return key


def _content(option: str, name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        if len(content) <= FILE_LIMIT:
            return content.decode().strip()
        reason = f"larger than {FILE_LIMIT} bytes"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    raise IdentityError(f"{option}: {name} cannot be used: {reason}")
