"""The ``flaggateway`` command: start the gateway, check its settings, describe them, explain a flag's value."""

from gateway.cli.command import main

__all__ = ("main",)
