"""``flaggateway healthcheck``: whether a running gateway is ready, for container engines and scripts."""

from __future__ import annotations

import click

from gateway.cli.diagnostics_port import DiagnosticsPort
from gateway.cli.options import settings_options
from gateway.cli.output import ScriptCommand


@click.command(cls=ScriptCommand, short_help="Test whether a running gateway is ready for traffic.")
@settings_options
@click.option("--url", help="Base URL of the diagnostics port; by default that of the settings.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1, max=60), default=5.0, show_default=True, help="Seconds for the answer."
)
def healthcheck(url: str | None, timeout: float) -> None:
    """Test whether a running gateway is ready for traffic, as its page /readyz states.

    The exit status is 0 if it is ready, 1 if it is not, or does not answer; the reason is printed.
    """
    DiagnosticsPort(url).request("/readyz", timeout=timeout)
    click.echo("ready")
