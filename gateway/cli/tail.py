"""``flaggateway tail``: what one user is sent, live, and why."""

from __future__ import annotations

import json
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.diagnostics_port import NotReached, choose_sdk, gateway_options
from gateway.cli.output import ScriptCommand, json_option, short_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

AGAIN_SECONDS: Final = 2.0  # until the next try after a lost connection


@click.command(cls=ScriptCommand, short_help="Show what one user is sent, live, and why.")
@click.argument("user")
@click.option("--sdk", metavar="SDK", help="SDK id; not needed if the gateway has one SDK.")
@click.option("--flag", metavar="KEY", help="Only streams of this flag.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events with changes.")
@json_option
@gateway_options("--user")
def tail(
    port: DiagnosticsPort, user: str, sdk: str | None, flag: str | None, count: int | None, *, as_json: bool
) -> None:
    """Show what the streams of USER are sent, live: each value before and after, and what decided it.

    USER is an Identifier, or a JSON object of attributes: all users that have each of them are followed.  Ctrl-C ends
    the command; a lost connection is opened again.  With --json each event is a line.
    """
    body = {"sdk": choose_sdk(port, sdk), "user": _attributes(user), "key": flag}
    seen = 0
    for name, event in _events(port, body):
        if as_json:
            click.echo(json.dumps({"event": name, **event}, ensure_ascii=False))
        else:
            _print(name, event)
        seen += name == "changes"
        if seen == count:
            return


def _events(port: DiagnosticsPort, body: object) -> Iterator[tuple[str, Any]]:
    """Yield the events of one connection after the other; the first one has to succeed."""
    reached = False
    while True:
        try:
            for event in port.events("/api/v1/streams/tail", "POST", body):
                reached = True
                yield event
            lost = "the gateway has ended the tail"
        except NotReached as error:
            if not reached:
                raise
            lost = error.message
        click.echo(f"{lost}; trying again", err=True)
        Event().wait(AGAIN_SECONDS)


def _attributes(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {"Identifier": text}
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise click.BadParameter("not valid JSON", param_hint="USER") from None
    return found


def _print(name: str, event: Mapping[str, Any]) -> None:
    from gateway.text import printable

    at = short_time(event["at"])
    if event["missed"]:
        click.echo(f"{event['missed']} events were dropped before this one", err=True)
    if name == "open":
        click.echo(f"{at} {event['streams']} open streams")
        return
    stream = "all flags" if event["flag"] is None else event["flag"]
    what = f"values of config {event['config']}"
    if name == "changes":
        number = "" if event["change"] is None else f"change {event['change']}, "
        what = f"{number}config {event['config']}"
    click.echo(printable(f"{at} {what}, to {event['streams']} {event['mode']} streams of {stream}"))
    for flag in event["flags"]:
        click.echo(printable(f"  {_line(flag, whole=name == 'values')}"))
    if event["more"]:
        click.echo(f"  {event['more']} more flags")


def _line(flag: Mapping[str, Any], *, whole: bool) -> str:
    """Return a flag with its value, or its values, and what decided."""
    after, why = _value(flag["after"]), flag["decided_after"]
    if not whole:
        after = f"{_value(flag['before'])} -> {after}"
        why = why if why == flag["decided_before"] else f"{flag['decided_before'] or 'no flag'} -> {why or 'no flag'}"
    return f"{flag['key']}: {after} ({why})"


def _value(served: Mapping[str, Any] | None) -> str:
    if served is None:
        return "(no flag)"
    return "(fails)" if served["value"] is None else json.dumps(served["value"], ensure_ascii=False)
