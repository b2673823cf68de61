"""Sentences about problems, with the command that an operator types next."""

import shlex
from typing import Self


class ProblemText(str):
    """A sentence about a problem; it equals the plain text.

    ``command`` is a command line that shows the cause or solves the problem; empty if there is none.
    ``{diag}`` in it stands for the base URL of the diagnostics port.
    """

    __slots__ = ("command",)

    command: str

    def __new__(cls, text: str, command: str = "") -> Self:
        """Return the sentence ``text`` with its ``command``."""
        made = super().__new__(cls, text)
        made.command = command
        return made


def log_command(what: str) -> str:
    """Return the command that shows the last log lines about ``what``."""
    return f"journalctl -u flaggateway -n 20 -g {shlex.quote(what)}"
