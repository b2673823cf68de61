"""``flaggateway configs list | show | diff | serve | release``: by the running gateway, or from the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import click

from gateway.cli.diagnostics_port import NotReached
from gateway.cli.options import settings_options
from gateway.cli.output import json_option, print_columns, print_json, short_time
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

_HEADINGS: Final = ("IN USE FROM", "CONFIG", "FLAGS", "BYTES", "HOW", "CHANGE", "BY", "NOTES")
_NOTES: Final = 60  # characters of the notes in a table
_PAGE: Final = 200  # entries of one request

_sdk_option = click.option("--sdk", metavar="SDK", help="SDK id; not needed if the settings have one SDK.")


def add_history_commands(group: click.Group) -> None:
    """Add the commands to ``flaggateway configs``."""
    for command in (list_, show, diff, serve, release):
        group.add_command(command)


@click.command("list", short_help="List the configs that were in use.")
@_sdk_option
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="Maximum number.")
@json_option
@settings_options
@click.pass_obj
def list_(port: DiagnosticsPort, sdk: str | None, limit: int, *, as_json: bool) -> None:
    """List the configs that were in use, newest first; times are in UTC.

    Without a running gateway the history file is read.
    """
    found, pinned = _listed(port, _sdk(sdk), limit)
    if as_json:
        print_json({"configs": found, "pinned": pinned})
        return
    if not found:
        click.echo("the history has no config of this SDK", err=True)
        return
    marked = None if pinned is None else pinned["config"]
    print_columns([_HEADINGS, *(_row(each, pinned=each["config"] == marked) for each in found)])
    if pinned is not None:
        waiting = f"; {pinned['waiting']} of the upstream waits" if pinned["waiting"] else ""
        click.echo(f"{pinned['config']} is pinned since {short_time(pinned['since'])}{waiting}")


@click.command(short_help="Print a config JSON.")
@click.argument("config_id", metavar="ID")
@_sdk_option
@click.option("--info", is_flag=True, help="Print when and how it came into use instead.")
@settings_options
@click.pass_obj
def show(port: DiagnosticsPort, config_id: str, sdk: str | None, *, info: bool) -> None:
    """Print the config JSON with this ID, or with an ID that begins so."""
    found = _config(port, _sdk(sdk), config_id)
    print_json(found["use"] if info else found["config"])


@click.command(short_help="Show what changed between two configs.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", default="live", required=False)
@_sdk_option
@json_option
@settings_options
@click.pass_obj
def diff(port: DiagnosticsPort, first: str, second: str, sdk: str | None, *, as_json: bool) -> None:
    """Show per flag what changed from the config A to B; B is by default the one in use."""
    found = _difference(port, _sdk(sdk), first, second)
    if as_json:
        print_json(found)
        return
    lines = [f"{each['act']} {each['key']}: {each['text']}" for each in found["flags"]]
    lines += [f"segment {name} changed" for name in found["segments"]]
    if found["salt_changed"]:
        lines.append("the salt changed")
    elif found["preferences_changed"]:
        lines.append("the preferences changed")
    for line in lines or [f"no difference between {found['first']} and {found['second']}"]:
        click.echo(printable(line))


@click.command(short_help="Serve an earlier config until it is released.")
@click.argument("config_id", metavar="ID")
@_sdk_option
@json_option
@settings_options
@click.pass_obj
def serve(port: DiagnosticsPort, config_id: str, sdk: str | None, *, as_json: bool) -> None:
    """Serve the earlier config ID, and pin it: what the upstream brings waits for `configs release`.

    A restart keeps to it.  Needs a running gateway.
    """
    sdk = _sdk(sdk)
    done = port.request(f"{_path(sdk)}/serve", "POST", {"id": config_id})
    text = f"SDK {sdk} serves {done['config']}; end it with: flaggateway configs release --sdk {sdk}"
    _print_pin(done, text, as_json=as_json)


@click.command(short_help="End the serving of an earlier config.")
@_sdk_option
@json_option
@settings_options
@click.pass_obj
def release(port: DiagnosticsPort, sdk: str | None, *, as_json: bool) -> None:
    """Let the upstream decide again; the exit status is 1 if no config is pinned.  Needs a running gateway."""
    sdk = _sdk(sdk)
    done = port.request(f"{_path(sdk)}/release", "POST")
    _print_pin(done, f"SDK {sdk}: {done['config']} is released", as_json=as_json)


def _print_pin(done: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        click.echo(text)
    if not done["stored"]:
        click.echo("this could not be stored: a restart before it is would not know it", err=True)


def _sdk(given: str | None) -> str:
    """Return the SDK that is meant.

    :raises click.ClickException: if none is named, and the settings do not have exactly one
    """
    from gateway.cli.options import settings_sources

    if given is not None:
        return given
    settings = settings_sources().file().read().settings
    ids = [] if settings is None else list(settings.sdks)
    if len(ids) != 1:
        raise click.ClickException(f"name the SDK with --sdk{': ' if ids else ''}{', '.join(ids)}")
    return ids[0]


def _path(sdk: str) -> str:
    return f"/api/v1/configs/{quote(sdk, safe='')}"


def _listed(port: DiagnosticsPort, sdk: str, limit: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    try:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": ""}
        while len(found) < limit and page["next"] is not None:
            query = {"limit": str(min(_PAGE, limit - len(found)))} | ({"before": page["next"]} if found else {})
            page = port.request(f"{_path(sdk)}?{urlencode(query)}")
            found += page["configs"]
    except NotReached as error:
        from gateway.cli.history_file import open_history

        with open_history(port, error) as history:
            return history.listed(sdk, limit), history.pinned(sdk)
    return found, page.get("pinned")


def _config(port: DiagnosticsPort, sdk: str, config_id: str) -> dict[str, Any]:
    try:
        return port.request(f"{_path(sdk)}/{quote(config_id, safe='')}")
    except NotReached as error:
        from gateway.cli.history_file import open_history

        with open_history(port, error) as history:
            return history.shown(sdk, config_id)


def _difference(port: DiagnosticsPort, sdk: str, first: str, second: str) -> dict[str, Any]:
    try:
        return port.request(f"{_path(sdk)}/diff?{urlencode({'from': first, 'to': second})}")
    except NotReached as error:
        from gateway.cli.history_file import open_history

        with open_history(port, error) as history:
            return history.compared(sdk, first, second)


def _row(each: Mapping[str, Any], *, pinned: bool) -> tuple[str, ...]:
    notes = " ".join((each["notes"] or "").split())
    return (
        short_time(each["at"]), each["config"] + (" (pinned)" if pinned else ""), str(each["flags"]),
        str(each["bytes"]), each["source"], str(each["change"] or ""), each["author"] or "", notes[:_NOTES],
    )  # fmt: skip
