"""``flaggateway streams``: the open streams of a running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.diagnostics_port import gateway_options
from gateway.cli.output import ScriptCommand, duration, json_option, print_columns, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

_HEADINGS: Final = ("SDK", "FLAG", "MODE", "WORKER", "OPEN", "USERS", "PAUSED", "LONGEST PAUSE")


@click.command(cls=ScriptCommand, short_help="Count the open streams by SDK, flag, mode and worker.")
@json_option
@gateway_options("--user")
def streams(port: DiagnosticsPort, *, as_json: bool) -> None:
    """Count the open streams by SDK, flag, mode and worker: how many users, and how many clients do not read."""
    found = port.request("/api/v1/streams")
    if as_json:
        print_json(found)
        return
    if found["streams"]:
        print_columns([_HEADINGS, *map(_row, found["streams"])])
    else:
        click.echo("no stream is open", err=True)
    if found["missing_workers"]:
        click.echo(f"{found['missing_workers']} workers have not answered; their streams are missing", err=True)


def _row(group: Mapping[str, Any]) -> tuple[str, ...]:
    pause = duration(group["longest_pause_seconds"]) if group["paused"] else "-"
    counts = (str(group[name]) for name in ("worker", "open", "users", "paused"))
    return (group["sdk"], "(all)" if group["flag"] is None else group["flag"], group["mode"], *counts, pause)
