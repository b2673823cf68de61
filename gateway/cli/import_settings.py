"""``flaggateway import``: the settings of another flag gateway as a settings file of this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.output import ScriptCommand, stop_at_finding, write_private

if TYPE_CHECKING:
    from gateway.migration import Neighbour

SIZE_LIMIT: Final = 4 * 1024 * 1024  # bytes of a file; the settings file of ours may have as many
_NAMES: Final = ("configcat-proxy", "goff", "unleash-edge", "ld-relay")


@click.command("import", cls=ScriptCommand, short_help="Write a settings file from those of another flag gateway.")
@click.option("--from", "neighbour", required=True, type=click.Choice(_NAMES), help="Whose settings they are.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; default: standard output."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def import_settings(neighbour: str, file: Path | None, output: Path | None, *, force: bool) -> None:
    """Write the settings of another flag gateway as settings of this one.

    FILE is options.yml of configcat-proxy, goff-proxy.yaml of goff, a file of variables of unleash-edge (without FILE
    the variables of this process), or ld-relay.conf or a file of variables of ld-relay; - is standard input.  Each
    option has the name of the setting that it comes from; settings without an equal are listed at the end, with the
    reason.

    The exit status is 2 if `flaggateway check` would refuse the result: standard error has the reasons.
    """
    from gateway.migration import NEIGHBOURS, Unreadable, convert
    from gateway.settings import load

    found = NEIGHBOURS[neighbour]
    try:
        imported = convert(found, _text(found, file))
    except Unreadable as error:
        raise click.ClickException(f"{file or 'the environment'}: {error}") from None
    if output is None:
        click.echo(imported.text, nl=False)
    else:
        write_private(output, imported.text, force=force)
        click.echo(f"wrote {output}", err=True)
    counts = f"{imported.taken} settings taken over, {imported.no_equal} have no equal, {imported.left_out} left out"
    click.echo(counts, err=True)
    loaded = load(imported.text, {}, exists=os.path.exists)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for problem in loaded.problems:
        click.echo(f"error: {problem}", err=True)
    if loaded.problems:
        stop_at_finding()


def _text(neighbour: Neighbour, file: Path | None) -> str:
    if file is None:
        if not neighbour.environment:
            raise click.UsageError(f"name the file, usually {neighbour.file}")
        names = sorted(name for name in neighbour.rules if os.environ.get(name))
        return "\n".join(f"{name}={os.environ[name]}" for name in names)
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(SIZE_LIMIT + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise click.FileError(str(file), error.strerror or type(error).__name__) from None
    if len(content) > SIZE_LIMIT:
        raise click.ClickException(f"{file}: larger than {SIZE_LIMIT} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.ClickException(f"{file}: not UTF-8") from None
