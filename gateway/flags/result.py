"""The possible results of a flag, each encoded once and shared by all users that get it."""

from __future__ import annotations

from typing import Final

from gateway.flags.digests import sha256
from gateway.flags.encoding import Value, encode_value
from gateway.text import json_string

FINGERPRINT_BYTES = 8  # bytes; enough to compare what a subscriber was sent with what it would be sent now
FINGERPRINT_MASK = (1 << 8 * FINGERPRINT_BYTES) - 1
FAILURES_SHARED = 100  # failures of one flag over all configs; beyond it the next config starts with an empty table


def fingerprint_of(item: bytes) -> int:
    """Return the first 64 bits of the item's SHA-256.

    The fingerprint of a set is the sum of those of its items modulo 2**64: independent of the order, and updated by one
    subtraction and one addition. Equal sets have equal fingerprints on every node.
    """
    return int.from_bytes(sha256(item).digest()[:FINGERPRINT_BYTES], "big")


def fingerprint_text(fingerprint: int) -> str:
    """Return a fingerprint, or a sum of any size and sign, as 16 hexadecimal digits."""
    return f"{fingerprint & FINGERPRINT_MASK:016x}"


class Result:
    """A result of the flag ``key``.

    Equal results of one flag are one object, as long as each Snapshot was loaded with the one before it as
    ``previous``; otherwise compare ``json``.

    ``value`` is None exactly if the evaluation failed with ``error``; ``variation_id`` is then ``""``.
    ``matched`` is true if a targeting rule or a percentage option decided.
    ``json`` is ``{"value":…,"variationId":"…"}``, ``entry`` the same after ``"key":``, ``ofrep`` the item of OFREP.
    ``number`` is the fingerprint of ``entry``, ``ofrep_fingerprint`` that of ``ofrep``.
    """

    __slots__ = (
        "entry", "error", "fingerprint", "json", "key", "matched", "ofrep", "ofrep_fingerprint", "value",
        "variation_id",
    )  # fmt: skip

    def __init__(
        self, key: str, value: Value | None, variation_id: str, *, matched: bool = False, error: str | None = None
    ) -> None:
        self.key: Final = key
        self.value: Final = value
        self.variation_id: Final = variation_id
        self.matched: Final = matched
        self.error: Final = error
        name, shown, variant = json_string(key), encode_value(value), json_string(variation_id)
        self.json: Final = b'{"value":%b,"variationId":%b}' % (shown, variant)
        self.entry: Final = b"%b:%b" % (name, self.json)
        reason = b"TARGETING_MATCH" if matched else b"DEFAULT"
        self.ofrep: Final = (
            b'{"key":%b,"reason":"%b","variant":%b,"value":%b}' % (name, reason, variant, shown)
            if error is None
            else b'{"key":%b,"errorCode":"GENERAL","errorDetails":%b}' % (name, json_string(error))
        )
        self.fingerprint: Final = fingerprint_of(self.entry)
        self.ofrep_fingerprint: Final = fingerprint_of(self.ofrep)

    def __repr__(self) -> str:
        outcome = f"error={self.error!r}" if self.error is not None else f"{self.value!r}, {self.variation_id!r}"
        return f"<Result {self.key!r}: {outcome}>"


class ResultTable:
    """All results of one flag so far, each made once; those of ``earlier`` are reused.

    All configs of a flag share ``failures``, by text: a failure is made when it occurs, which may be in an earlier
    config after a later one was compiled.
    ``widest`` is the length of the longest ``entry`` or ``ofrep`` in bytes.
    ``coded`` lists the results that have a code, which is the position there, and ``entries`` their entries;
    ``codes`` maps results to codes.
    """

    __slots__ = ("_earlier", "_key", "_made", "coded", "codes", "entries", "failures", "widest")

    def __init__(self, key: str, earlier: ResultTable | None = None) -> None:
        self._key = key
        self._earlier = {} if earlier is None else {_identity(result): result for result in earlier.all()}
        shared = earlier is not None and len(earlier.failures) < FAILURES_SHARED
        self.failures: dict[str, Result] = earlier.failures if earlier is not None and shared else {}
        self._made: dict[tuple[object, ...], Result] = {}
        self.codes: dict[Result, int] = {}
        self.coded: list[Result] = []
        self.entries: list[bytes] = []
        self.widest = 0

    def serve(self, value: Value, variation_id: str, *, matched: bool) -> Result:
        """Return the Result of this value; ``1``, ``1.0`` and ``True`` have different ones."""
        return self._intern(Result(self._key, value, variation_id, matched=matched))

    def fail(self, error: str) -> Result:
        """Return the Result of this failure."""
        known = self.failures.get(error)
        if known is None:
            known = self.failures[error] = Result(self._key, None, "", error=error)
        return self._intern(known)

    def all(self) -> tuple[Result, ...]:
        """Return every result made so far, oldest first."""
        return tuple(self._made.values())

    def code(self, result: Result) -> int:
        """Return the small number of one of these results, constant while this object exists."""
        code = self.codes.get(result)
        if code is None:
            code = self.codes[result] = len(self.coded)
            self.coded.append(result)
            self.entries.append(result.entry)
        return code

    def _intern(self, result: Result) -> Result:
        identity = _identity(result)
        made = self._made.get(identity)
        if made is None:
            made = self._made[identity] = self._earlier.get(identity, result)
            self.widest = max(self.widest, len(made.entry), len(made.ofrep))
        return made


def _identity(result: Result) -> tuple[object, ...]:
    return type(result.value), encode_value(result.value), result.variation_id, result.matched, result.error
