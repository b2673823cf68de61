"""``flaggateway init``: write a commented settings file to start from."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.output import ScriptCommand, write_private


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
    write_private(file, text, force=force)
    click.echo(f"wrote {file}; put your SDK key into it, then:", err=True)
    click.echo(f"  flaggateway check -c {file}\n  flaggateway run -c {file}", err=True)
