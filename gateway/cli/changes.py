"""``flaggateway changes``: what changed, when, by whose hand, and how many streams and users it reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import click

from gateway.cli.diagnostics_port import gateway_options
from gateway.cli.output import ScriptCommand, json_option, print_columns, print_json, short_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

_HEADINGS: Final = ("ID", "AT", "SDK", "BY", "REACHED", "LAST", "WHAT")
_PAGE: Final = 100  # changes of one request
_WIDTH: Final = 100  # characters of the last column
_UNKNOWN: Final = "-"


@click.command(cls=ScriptCommand, short_help="List the changes of configs, or show one.")
@click.argument("change", metavar="[ID]", required=False)
@click.option("--sdk", metavar="SDK", help="Only changes of this SDK.")
@click.option("--since", metavar="TIME", help="Only changes since then: ISO 8601, or seconds since 1970.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Maximum number.")
@json_option
@gateway_options("--user")
def changes(
    port: DiagnosticsPort, change: str | None, sdk: str | None, since: str | None, limit: int, *, as_json: bool
) -> None:
    """List the changes of configs, the newest first, or show the one with this ID; times are in UTC.

    REACHED is the number of streams that got an event, LAST the time until the last client had it; both are known for
    changes since the start of the gateway.
    """
    if change is not None:
        from urllib.parse import quote

        found = port.request(f"/api/v1/changes/{quote(change, safe='')}")
        if as_json:
            print_json(found)
        else:
            _print_one(found)
        return
    listed = _listed(port, sdk, since, limit)
    if as_json:
        print_json(listed)
    elif listed:
        print_columns([_HEADINGS, *map(_row, listed)])
    else:
        click.echo("no change is kept", err=True)


def _listed(port: DiagnosticsPort, sdk: str | None, since: str | None, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {name: value for name, value in (("sdk", sdk), ("since", since)) if value is not None}
    page: dict[str, Any] = {"next": ""}
    while len(found) < limit and page["next"] is not None:
        more = {"limit": str(min(_PAGE, limit - len(found)))} | ({"before": str(page["next"])} if found else {})
        page = port.request(f"/api/v1/changes?{urlencode(query | more)}")
        found += page["changes"]
    return found


def _row(change: Mapping[str, Any]) -> tuple[str, ...]:
    reach = change["reach"]
    reached = _UNKNOWN if reach is None else f"{reach['streams'] + reach['paced_streams']} of {reach['open_streams']}"
    last = _UNKNOWN if reach is None else _milliseconds(reach["last_seconds"])
    what = "; ".join(_lines(change))
    what = what if len(what) <= _WIDTH else f"{what[: _WIDTH - 1]}…"
    return (str(change["id"]), short_time(change["at"]), change["sdk"], change["author"] or "", reached, last, what)


def _lines(change: Mapping[str, Any]) -> list[str]:
    """Return what changed, a line per flag; the list of changes has the first flags only."""
    lines = [f"{flag['act']} {flag['key']}: {flag['text']}" for flag in change["flags"]]
    more = change["flag_count"] - len(change["flags"])
    lines += [f"{more} more flags"] if more > 0 else []
    lines += [f"segment {name}" for name in change["segments"]]
    lines += ["the salt changed"] if change["salt_changed"] else []
    lines += ["the preferences changed"] if change["preferences_changed"] and not change["salt_changed"] else []
    return lines


def _print_one(change: Mapping[str, Any]) -> None:
    from gateway.text import printable

    author = f" by {change['author']}" if change["author"] else ""
    click.echo(printable(f"change {change['id']} of SDK {change['sdk']}, {short_time(change['at'])}{author}"))
    click.echo(f"config {change['before']} -> {change['config']} ({change['source']})")
    if change["notes"]:
        click.echo(printable(change["notes"]))
    for line in _lines(change):
        click.echo(printable(f"  {line}"))
    reach = change["reach"]
    if reach is not None:
        paced = f" and {reach['paced_streams']} paced ones" if reach["paced_streams"] else ""
        streams = f"{reach['streams']}{paced} of {reach['open_streams']} open streams"
        click.echo(f"reached: {streams}, {reach['users']} users")
        names = ("first", "p50", "p99", "last")
        if reach["last_seconds"] is not None:
            times = ", ".join(f"{name} {_milliseconds(reach[f'{name}_seconds'])}" for name in names)
            click.echo(f"time to a client: {times}")
    for each in change["deliveries"] or []:
        states = ", ".join(
            f"{each[name]} {name}" for name in ("delivered", "pending", "failed", "skipped") if each[name]
        )
        click.echo(printable(f"endpoint {each['endpoint']}: {states or 'no message'}"))


def _milliseconds(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else f"{seconds * 1000:.1f} ms"
