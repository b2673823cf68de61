"""The ``flaggateway`` command; one module per sub-command."""

from gateway.cli.command import main

__all__ = ("main",)
