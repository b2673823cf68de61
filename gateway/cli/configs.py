"""``flaggateway configs``: earlier configs, and decisions about what a running gateway serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.config_history import add_history_commands
from gateway.cli.diagnostics_port import gateway_options
from gateway.cli.options import settings_options
from gateway.cli.output import json_option, print_columns, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

_HEADINGS: Final = ("SDK", "SINCE", "ADDED", "REMOVED", "CHANGED", "FAILING", "REASON")


@click.group(short_help="List, compare and serve earlier configs; accept and reject held ones.")
@gateway_options("--user")
@click.pass_context
def configs(context: click.Context, port: DiagnosticsPort) -> None:
    """List, compare and serve earlier configs, and decide about configs that are held.

    A config is held if it would remove or break too many flags: the last good one is served until it is accepted, or
    the upstream has a good one.
    """
    context.obj = port


@configs.command(short_help="List the held configs.")
@json_option
@settings_options
@click.pass_obj
def held(port: DiagnosticsPort, *, as_json: bool) -> None:
    """List the held configs: how many flags each would add, remove and change, and how many of its flags fail."""
    found = port.request("/configs")["held"]
    if as_json:
        print_json(found)
    elif found:
        print_columns([_HEADINGS, *map(_row, found)])
    else:
        click.echo("no config is held", err=True)


@configs.command(short_help="Use the held config of an SDK.")
@click.argument("sdk", metavar="SDK")
@json_option
@settings_options
@click.pass_obj
def accept(port: DiagnosticsPort, sdk: str, *, as_json: bool) -> None:
    """Use the held config of the SDK; the exit status is 1 if none is held."""
    _decide(port, sdk, "accept", as_json=as_json)


@configs.command(short_help="Drop the held config of an SDK.")
@click.argument("sdk", metavar="SDK")
@json_option
@settings_options
@click.pass_obj
def reject(port: DiagnosticsPort, sdk: str, *, as_json: bool) -> None:
    """Drop the held config of the SDK until its upstream has another one; the exit status is 1 if none is held."""
    _decide(port, sdk, "reject", as_json=as_json)


add_history_commands(configs)


def _decide(port: DiagnosticsPort, sdk: str, act: str, *, as_json: bool) -> None:
    from urllib.parse import quote

    decided = port.request(f"/configs/{quote(sdk, safe='')}/{act}", "POST")[f"{act}ed"]
    if as_json:
        print_json(decided)
    else:
        click.echo(f"{act}ed the held config of SDK {sdk}: {decided['reason']}")


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    since = datetime.fromtimestamp(each["since"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    counts = (str(each[name]) for name in ("added", "removed", "changed", "failing"))
    return (each["sdk_id"], since, *counts, each["reason"])
