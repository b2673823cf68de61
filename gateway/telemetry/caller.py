"""The sender of a request to the diagnostics port, and what this sender may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from twisted.web.server import Request

Role: TypeAlias = Literal["view", "operate"]
OPERATE: Final = "operate"

CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="flaggateway", charset="UTF-8"')  # RFC 7617


@frozen
class Denial:
    """Why a request is refused: the status, a text with what is needed, and a header of the answer."""

    code: int
    text: str
    header: tuple[str, str] | None = None

    def announce(self, request: Request) -> None:
        """Set the header."""
        if self.header is not None:
            name, value = self.header
            request.responseHeaders.setRawHeaders(name, [value])


@frozen
class Caller:
    """The sender of a request; ``denial`` is why the guarded pages are refused, None for one that may use them."""

    role: Role = "view"
    user: str | None = None  # of ``diag.users``
    proven: bool = False  # by headers or a password, and not by the address alone
    denial: Denial | None = None

    @property
    def described(self) -> str:
        """The sender in a line of the log."""
        return "a request to the diagnostics port" if self.user is None else f"user {self.user}"

    @property
    def lacks_operate(self) -> str | None:
        """The text for an action that needs the role ``operate``; None for a caller that has it."""
        if self.role == OPERATE:
            return None
        return f"user {self.user} has the role view, and this needs operate: add the name to diag.operators"


LOCAL: Final = Caller("operate")
