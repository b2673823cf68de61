"""The ``Host`` of a request: whether it can name a host at all."""

import re
from ipaddress import AddressValueError, IPv6Address

# RFC 3986, 3.2.2: a registered name, which an IPv4 address is too and which may be empty; or an IPv6 address in
# brackets, with a zone (RFC 6874).  RFC 9110, 7.2: then a port, which may be empty.
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*|\[([0-9A-Fa-f:.]+)(?:%25[A-Za-z0-9._~%-]+)?\])(?::([0-9]*))?"
)
_PORT_DIGITS = 5
_LAST_PORT = 65_535


def is_host(value: bytes) -> bool:
    """Return whether ``value`` is a host and optional port as the field ``Host`` has them (RFC 9110, 7.2)."""
    found = _HOST.fullmatch(value)
    if found is None:
        return False
    address, port = found[1], (found[2] or b"0").lstrip(b"0") or b"0"
    if len(port) > _PORT_DIGITS or int(port) > _LAST_PORT:
        return False
    if address is None:
        return True
    try:
        IPv6Address(address.decode("ascii"))
    except AddressValueError:
        return False
    return True
