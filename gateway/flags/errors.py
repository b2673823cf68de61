"""What can go wrong in this room."""

from __future__ import annotations


class ConfigError(Exception):
    """A config JSON cannot be used at all; ``reason`` says why in one line and quotes nothing of the config."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidAttribute(ValueError):
    """A user attribute has a type or value that no rule can read; the text is fit for the caller."""


class EvaluationFailure(Exception):
    """One flag cannot be evaluated; never leaves this room: it becomes the ``error`` of a Result.

    The message is made of the config alone, never of the user.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
