"""``flaggateway schema``: print the JSON Schema of the settings file, for editors."""

from pathlib import Path

import click

from gateway.cli.output import print_json


@click.command(short_help="Print the JSON Schema of the settings file.")
@click.option(
    "--write-docs",
    "root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    hidden=True,
    help="Write the generated documents of the project into this directory.",
)
def schema(root: Path | None) -> None:
    """Print the JSON Schema of the settings file, with which editors complete and check YAML."""
    from gateway.cli.bundled_files import copy_originals
    from gateway.console import FILE, openapi_document
    from gateway.settings import documents, json_schema

    if root is None:
        print_json(json_schema())
        return
    for name, text in {**documents(), FILE: openapi_document()}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        click.echo(f"wrote {file}")
    for file in copy_originals(root):
        click.echo(f"wrote {file}")
