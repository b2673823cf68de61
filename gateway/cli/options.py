"""Options that several commands take."""

from __future__ import annotations

import click

config_option = click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    help="Settings file; without it /etc/flaggateway/flaggateway.yml is read, where it exists.",
)
