"""What a token proves, and why it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.flags import Attribute  # noqa: TC001  (msgspec reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Mapping


class InvalidToken(Exception):
    """A token proves nothing.  The text is fixed: nothing in it comes from the token, so that it may be shown."""


class UnknownKey(InvalidToken):
    """No key is known that the token may have been signed with; an issuer may have a new one."""


class Identity(Struct, frozen=True):
    """A user who has shown a valid token."""

    attributes: dict[str, Attribute]  # shared by all requests with the token: not to be changed
    ends: float  # Unix seconds: when the token ends, the permitted difference of clocks included
    open_attributes: frozenset[str] = frozenset()

    def attributes_with(self, sent: Mapping[str, Attribute] | None) -> Mapping[str, Attribute]:
        """Return the attributes of the token, and of ``sent`` the open ones that the token does not have."""
        if not self.open_attributes or not sent:
            return self.attributes
        return {name: value for name, value in sent.items() if name in self.open_attributes} | self.attributes


class TokenVerifier(Protocol):
    """Verifies tokens; see ``gateway.identity.verifier.Verifier``, whose library is not imported for this type."""

    @property
    def incomplete(self) -> bool:
        """Whether a key set has never been fetched, so that a token of its issuer is refused for the time being."""

    def verify(self, token: bytes, now: float) -> Identity:
        """Return the user that ``token`` proves at ``now``, Unix seconds.

        :raises UnknownKey: when it may have been signed with a key that the issuer has and this process has not.
        :raises InvalidToken: when it is not valid.
        """
