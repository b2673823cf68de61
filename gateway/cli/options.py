"""Options shared by several commands."""

from __future__ import annotations

import click

config_option = click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    help="Settings file; without it /etc/flaggateway/flaggateway.yml is read, if it exists.",
)
