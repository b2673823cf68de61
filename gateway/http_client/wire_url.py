"""URLs of the settings in the form in which they are requested."""

from base64 import b64encode
from typing import cast
from urllib.parse import unquote

from hyperlink import EncodedURL


class WireUrl(EncodedURL):
    """A URL that is already in the form of the wire: treq's conversion for each request takes five times as long."""

    def to_uri(self) -> EncodedURL:
        """See ``EncodedURL``."""
        return self


def wire_form(url: str) -> tuple[WireUrl, str]:
    """Return ``url`` as it is requested, and the user and password in it as Basic credentials; raises ValueError.

    A host in ASCII stays as it is: IDNA refuses the colons of IPv6 and the underscores of container names.
    """
    given = EncodedURL.from_text(url)
    host = given.host
    plain = given.replace(userinfo="", fragment="")
    uri = plain.replace(host="x").to_uri().replace(host=host) if host.isascii() else plain.to_uri()
    credentials = _basic(given.userinfo) if given.userinfo else ""
    return cast("WireUrl", WireUrl.from_text(uri.to_text())), credentials


def _basic(userinfo: str) -> str:
    name, _, password = userinfo.partition(":")
    return f"Basic {b64encode(f'{unquote(name)}:{unquote(password)}'.encode()).decode()}"
