"""Hashes of passwords, as text for a settings file: scrypt (RFC 7914) with its parameters, in the PHC string format.

    $scrypt$ln=15,r=8,p=3$<salt>$<hash>

``ln`` is the binary logarithm of N; salt and hash are Base64 without padding. passlib reads and writes the same form.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from typing import Final
from unicodedata import normalize

from attrs import frozen

LOG_N: Final = 15  # with r and p one of the parameter sets that OWASP's Password Storage Cheat Sheet calls equal
BLOCK: Final = 8
PARALLEL: Final = 3
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
PASSWORD_BYTES: Final = 1024  # UTF-8; a header field of the diagnostics port has room for ten times as much
MEMORY_LIMIT: Final = 128 * 1024 * 1024  # bytes of one computation; each login costs so much
WORK_LIMIT: Final = 16  # times the work of the parameters above; a login may not take seconds
_FORM: Final = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)
_WORK: Final = (BLOCK << LOG_N) * PARALLEL


class UnknownHash(ValueError):
    """A text is not such a hash, or its parameters are beyond the limits; the message does not contain the text."""


@frozen
class PasswordHash:
    """A hash with what is needed to compute it again."""

    log_n: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        """Return whether it is the hash of ``password``; takes a tenth of a second or more, without the GIL."""
        computed = _computed(password, self.salt, self.log_n, self.block, self.parallel, len(self.digest))
        return hmac.compare_digest(computed, self.digest)


def hash_password(password: str, salt: bytes) -> str:
    """Return the hash of ``password`` as text; ``salt`` is ``SALT_BYTES`` random bytes."""
    digest = _computed(password, salt, LOG_N, BLOCK, PARALLEL, HASH_BYTES)
    return f"$scrypt$ln={LOG_N},r={BLOCK},p={PARALLEL}${_encoded(salt)}${_encoded(digest)}"


def read_password_hash(text: str) -> PasswordHash:
    """Return the hash that ``text`` describes.

    :raises UnknownHash: for any other text, and for parameters that cost too little or too much
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UnknownHash("not a password hash of the form $scrypt$ln=…,r=…,p=…$<salt>$<hash>")
    log_n, block, parallel = (int(match[number]) for number in (1, 2, 3))
    try:
        salt, digest = (_decoded(match[number]) for number in (4, 5))
    except binascii.Error:
        raise UnknownHash("salt and hash of the password hash are not Base64 without padding") from None
    work = (block << log_n) * parallel
    if 128 * block << log_n > MEMORY_LIMIT or work > WORK_LIMIT * _WORK:
        raise UnknownHash("the password hash costs too much memory or time: each login would need it")
    if not (log_n and block and parallel) or work * 8 < _WORK:
        raise UnknownHash(f"the password hash is too cheap to compute; usual are ln={LOG_N},r={BLOCK},p={PARALLEL}")
    return PasswordHash(log_n, block, parallel, salt, digest)


def _computed(password: str, salt: bytes, log_n: int, block: int, parallel: int, length: int) -> bytes:
    # NFC: the same characters are the same bytes on every keyboard (RFC 7617, 2.1).
    data = normalize("NFC", password).encode("utf-8", "surrogatepass")
    memory = 128 * block * ((1 << log_n) + parallel + 2)
    return hashlib.scrypt(data, salt=salt, n=1 << log_n, r=block, p=parallel, maxmem=memory + 1024 * 1024, dklen=length)


def _encoded(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
