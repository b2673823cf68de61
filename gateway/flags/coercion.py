"""Read an attribute as text, number, version or list of texts by the rules of the Go SDK, byte for byte.

Each function returns None for a value that it cannot read; none raises.
"""

import json
import math
import re

from semver import Version

# White space of Go; ``str.strip`` without an argument also removes the ASCII separators U+001C to U+001F.
SPACES = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# Each part matches in one way only, so that a megabyte that is no number is rejected in one pass.
_DIGITS = "[0-9]+(?:_[0-9]+)*"
_HEX_DIGITS = "[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(rf"[+-]?0[xX](?:_?{_HEX_DIGITS}(?:\.(?:{_HEX_DIGITS})?)?|\.{_HEX_DIGITS})[pP][+-]?{_DIGITS}")
_WORDS = {
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
    "nan": math.nan,
}
# Most versions are three short numbers; this is five times as fast as the full grammar.
_PLAIN_VERSION = re.compile(r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})")
_LARGEST_VERSION_NUMBER = 2**64 - 1  # ConfigCat Proxy keeps version numbers in unsigned 64-bit fields
_VERSION_DIGITS = 20  # digits of that number; longer ones are not parsed, since Python refuses thousands of digits

VersionKey = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
_RELEASE: tuple[tuple[int, int, str], ...] = ((2, 0, ""),)  # sorts after every pre-release


def well_formed(text: str) -> str:
    """Return ``text`` with each lone surrogate replaced by U+FFFD, so that it can be encoded."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def number_text(number: float) -> str:
    """Return a number as text for text rules: 16 significant digits, an exponent below 1e-4 and from 1e16 on."""
    return f"{number + 0.0:.16g}"  # adding zero turns -0.0 into 0.0, so that equal users have equal texts


def list_text(items: tuple[str, ...]) -> str:
    """Return a list of texts as text for text rules: compact JSON without HTML escapes."""
    encoded = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    return encoded.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def parse_number(text: str) -> float | None:
    """Return the number in ``text``; a comma counts as a decimal point, a number that is too large as no number.

    An underscore may stand between two digits, as in Go literals, which ConfigCat Proxy accepts.
    """
    trimmed = text.strip(SPACES).replace(",", ".")
    if _DECIMAL.fullmatch(trimmed):
        number = float(trimmed)
    elif _HEXADECIMAL.fullmatch(trimmed):
        number = _from_hexadecimal(trimmed.replace("_", ""))
    else:
        return _WORDS.get(trimmed.lower())
    return None if math.isinf(number) else number


def _from_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return math.inf


def parse_version(text: str) -> VersionKey | None:
    """Return a sort key in the order of semantic versions (build metadata is ignored), or None."""
    trimmed = text.strip(SPACES)
    plain = _PLAIN_VERSION.fullmatch(trimmed)
    if plain is not None:
        return (int(plain[1]), int(plain[2]), int(plain[3]), _RELEASE)
    if not trimmed.isascii():
        return None
    try:
        version = Version.parse(trimmed)
    except ValueError:  # also raised by int() for thousands of digits
        return None
    numbers = (version.major, version.minor, version.patch)
    prerelease = _RELEASE
    if version.prerelease:
        parts = version.prerelease.split(".")
        if any(part.isdigit() and len(part) > _VERSION_DIGITS for part in parts):
            return None
        prerelease = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    if max(*numbers, *(part[1] for part in prerelease)) > _LARGEST_VERSION_NUMBER:
        return None
    return (*numbers, prerelease)


def parse_list(text: str) -> tuple[str, ...] | None:
    """Return the items of a JSON list of strings; ``null`` reads as an empty list and as an empty item, as in Go."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if value is None:
        return ()
    if not isinstance(value, list) or not all(item is None or isinstance(item, str) for item in value):
        return None
    return tuple("" if item is None else well_formed(item) for item in value)
