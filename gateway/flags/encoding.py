"""Encode flag values as JSON with the escapes and number forms of ConfigCat Proxy, but for whole decimals: ``3.0``.

Responses and events are joined from these fragments, so two results are equal exactly if their bytes are.
"""

import math

from gateway.text import json_string

Value = bool | str | int | float
"""What a flag can serve; the type is part of the value: ``1``, ``1.0`` and ``True`` are three."""

_SMALLEST_PLAIN = 1e-6  # smaller numbers have an exponent
_SMALLEST_EXPONENT = 1e21  # numbers from here on have an exponent


def encode_number(number: float) -> bytes:
    """Return the shortest text that parses to the same finite float: ``3``, ``0.1``, ``1e+21``, ``1e-7``."""
    size = abs(number)
    if size == 0:
        return b"-0" if math.copysign(1.0, number) < 0 else b"0"
    digits = repr(number)
    if size < _SMALLEST_PLAIN or size >= _SMALLEST_EXPONENT:
        return digits.replace("e-0", "e-").encode()
    if "e" in digits:
        digits = _without_exponent(digits)
    return digits.removesuffix(".0").encode()


def _without_exponent(digits: str) -> str:
    mantissa, _, exponent = digits.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    point = len(whole) + int(exponent)
    digits = whole + fraction
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits:0<{point}}"


def encode_value(value: Value | None) -> bytes:
    """Return a flag's value as JSON; an ``int`` keeps all digits, a ``float`` has its shortest form with a point.

    JSON has one type of numbers, but some clients read ``3`` as an integer and refuse it where they expect a decimal
    (OpenFeature's Python provider: TYPE_MISMATCH). A number with an exponent is a decimal to them.
    """
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, int):
        return str(value).encode()
    text = encode_number(value)
    return text if b"." in text or b"e" in text else text + b".0"
