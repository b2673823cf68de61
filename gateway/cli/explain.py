"""``flaggateway explain``: show how a flag of a config JSON file is decided for a user; needs no gateway."""

import json
from difflib import get_close_matches
from pathlib import Path

import click


@click.command(short_help="Explain why a user gets a flag's value.")
@click.option(
    "--config-json",
    "config_json",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Config JSON file, as the CDN serves it.",
)
@click.option("--user", "user", metavar="JSON", help='The user\'s attributes: \'{"Identifier": "42"}\'.')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.argument("flag")
def explain(config_json: Path, user: str | None, flag: str, *, as_json: bool) -> None:
    """Show which rule decides FLAG for a user, and why the other rules do not."""
    from gateway import flags

    try:
        attributes = None if user is None else flags.attributes_from_json(_json(user))
        snapshot = flags.load(_content(config_json), "")
    except flags.InvalidAttribute as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    except flags.ConfigError as error:
        raise click.ClickException(f"{config_json} is not a usable config JSON: {error}") from None
    try:
        explanation = flags.explain(snapshot, flag, flags.effective_user(attributes))
    except KeyError:
        near = get_close_matches(flag, snapshot.keys, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise click.ClickException(f"{config_json} has no flag '{flag}'{meant}") from None
    click.echo(json.dumps(explanation.as_dict(), indent=2, ensure_ascii=False) if as_json else explanation.text())


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise click.BadParameter(f"not valid JSON{where}", param_hint="--user") from None


def _content(file: Path) -> bytes:
    from gateway.text import without_bom

    try:
        return without_bom(file.read_bytes())
    except OSError as error:
        raise click.FileError(str(file), error.strerror or type(error).__name__) from None
