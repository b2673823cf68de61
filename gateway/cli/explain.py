"""``flaggateway explain``: show how a flag is decided for a user, by a running gateway or from a config JSON file."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.diagnostics_port import NotReached, choose_sdk, gateway_options
from gateway.cli.options import settings_sources
from gateway.cli.output import ScriptCommand, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort


@click.command(cls=ScriptCommand, short_help="Explain why a user gets a flag's value.")
@click.option(
    "--config-json",
    "config_json",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Config JSON file, as the CDN serves it; without it a running gateway is called.",
)
@click.option("--sdk", metavar="SDK", help="SDK id; not needed if there is one SDK.")
@click.option("--user", "user", metavar="JSON", help='The user\'s attributes: \'{"Identifier": "42"}\'.')
@click.option("--at", metavar="TIME", help="As of then: a time in ISO 8601, or the number of a change.")
@click.option("--compare-user", metavar="JSON", help="Also for this user, and where the two part.")
@click.option("--compare-at", metavar="TIME", help="Also at this moment, and where the two part.")
@json_option
@click.argument("flag")
@gateway_options()
def explain(  # noqa: PLR0913 - one per option
    port: DiagnosticsPort,
    *,
    flag: str,
    config_json: Path | None,
    sdk: str | None,
    user: str | None,
    at: str | None,
    compare_user: str | None,
    compare_at: str | None,
    as_json: bool,
) -> None:
    """Show which rule decides FLAG for a user, and why the other rules do not.

    A running gateway uses its live config, or an earlier one with --at, and the default attributes of the settings.
    With --config-json no gateway is needed; the default attributes are used if -c names the settings.
    """
    attributes = None if user is None else _json(user, "--user")
    if config_json is not None:
        if at or compare_user or compare_at:
            raise click.UsageError("--at, --compare-user and --compare-at need a running gateway, not --config-json")
        _from_file(config_json, flag, attributes, sdk, as_json=as_json)
        return
    other = {} if compare_user is None else {"user": _json(compare_user, "--compare-user")}
    other |= {} if compare_at is None else {"at": compare_at}
    try:
        body = {"sdk": choose_sdk(port, sdk), "key": flag, "user": attributes, "at": at, "compare": other or None}
        found = port.request("/api/v1/explain", "POST", body)
    except NotReached as error:
        raise click.ClickException(f"{error.message}; --config-json FILE needs no gateway") from None
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: Mapping[str, Any]) -> None:
    (explained,) = found["explained"]
    click.echo(explained["text"])
    for compared in found["compared"]:
        click.echo(f"\ncompared with:\n{compared['other']['text']}")
        difference = compared["difference"]
        if difference is None:
            click.echo("\nall decisions are the same")
        else:
            sides = (difference["first"] or "(does not get there)", difference["second"] or "(does not get there)")
            click.echo(f"\nthe first difference, at {', '.join(difference['place'])}:\n  {sides[0]}\n  {sides[1]}")


def _from_file(file: Path, flag: str, attributes: Any, sdk: str | None, *, as_json: bool) -> None:
    from gateway import flags

    defaults = _default_attributes(sdk)
    try:
        user = None if attributes is None else flags.attributes_from_json(attributes)
        effective = flags.effective_user(user, flags.attributes_from_json(defaults, bounded=False))
        snapshot = flags.load(_content(file), "")
    except flags.InvalidAttribute as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    except flags.ConfigError as error:
        raise click.ClickException(f"{file} is not a usable config JSON: {error}") from None
    try:
        explanation = flags.explain(snapshot, flag, effective)
    except KeyError:
        near = get_close_matches(flag, snapshot.keys, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise click.ClickException(f"{file} has no flag '{flag}'{meant}") from None
    if as_json:
        print_json(explanation.as_dict())
    else:
        click.echo(explanation.text())


def _default_attributes(sdk_id: str | None) -> Mapping[str, Any]:
    """Return the default attributes of the settings that the command line names; nothing if it names none."""
    sources = settings_sources()
    if sources.config is None:
        return {}
    settings = sources.file().read().settings
    if settings is None:
        raise click.ClickException("the settings cannot be used, see: flaggateway check")
    if sdk_id is None and len(settings.sdks) == 1:
        sdk_id = next(iter(settings.sdks))
    if sdk_id is None or sdk_id not in settings.sdks:
        raise click.ClickException(f"name the SDK with --sdk: {', '.join(settings.sdks)}")
    return {**settings.default_user_attributes, **settings.sdks[sdk_id].default_user_attributes}


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise click.BadParameter(f"not valid JSON{where}", param_hint=option) from None


def _content(file: Path) -> bytes:
    from gateway.text import without_bom

    try:
        return without_bom(file.read_bytes())
    except OSError as error:
        raise click.FileError(str(file), error.strerror or type(error).__name__) from None
