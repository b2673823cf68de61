"""Keys of callers and their hashes: a key has 256 random bits, so that one round of SHA-256 suffices."""

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

KEY_BYTES: Final = 32  # random ones
_PREFIX: Final = "fgk_"  # by which scanners for leaked secrets can find keys
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")


class UnknownKeyHash(ValueError):
    """A text is not the hash of a key; it is not in the message, because it may be the key itself."""


def make_caller_key(random: bytes) -> str:
    """Return the key that consists of ``KEY_BYTES`` random bytes."""
    return _PREFIX + urlsafe_b64encode(random).rstrip(b"=").decode()


def hash_caller_key(key: bytes) -> str:
    """Return the hash of a key, as it is in the settings."""
    return "sha256:" + sha256(key).hexdigest()


def read_key_hash(text: str) -> bytes:
    """Return the digest in a hash.

    :raises UnknownKeyHash: when the text is not a hash.
    """
    found = _HASH.fullmatch(text)
    if found is None:
        raise UnknownKeyHash("not the hash of a key")
    return bytes.fromhex(found[1])
