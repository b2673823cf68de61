"""``flaggateway init``: write a commented settings file to start from."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.output import ScriptCommand


@click.command(cls=ScriptCommand, short_help="Write a commented settings file to start from.")
@click.argument("file", default="flaggateway.yml", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(file: Path, *, force: bool) -> None:
    """Write a commented settings file to start from; by default `flaggateway.yml`, `-` is standard output.

    It is readable for its owner only, since SDK keys will be in it.
    """
    from importlib.resources import files

    text = files("gateway.cli").joinpath("starter.yml").read_text("utf-8")
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(file, flags, 0o600), "w", encoding="utf-8") as opened:  # noqa: PTH123 - a descriptor
            opened.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} exists; choose another name, or replace it with --force") from None
    except OSError as error:
        raise click.FileError(str(file), error.strerror or type(error).__name__) from None
    click.echo(f"wrote {file}; put your SDK key into it, then:", err=True)
    click.echo(f"  flaggateway check -c {file}\n  flaggateway run -c {file}", err=True)
