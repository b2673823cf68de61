"""``flaggateway files``: the example settings, the unit and the schemas that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.output import ScriptCommand, print_columns

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

DESCRIPTIONS: Final = {
    "flaggateway.yml": "every option with its default, commented out",
    "flaggateway.service": "unit for systemd",
    "grafana-dashboard.json": "dashboard for Grafana",
    "prometheus-rules.yml": "alert rules for Prometheus",
    "demo-config.json": "config JSON with 30 flags",
    "settings.schema.json": "JSON Schema of the settings file",
    "ofrep.schema.json": "JSON Schema of OFREP's answers",
    "exporter.schema.json": "JSON Schema of evaluation batches",
}
# Copies of files of the project; a wheel can only contain what is in the package.
ORIGINALS: Final = {
    "flaggateway.yml": "etc/flaggateway.yml",
    "flaggateway.service": "etc/systemd/flaggateway.service",
    "grafana-dashboard.json": "etc/grafana/flaggateway.json",
    "prometheus-rules.yml": "etc/prometheus/rules.yml",
    "demo-config.json": "etc/demo/config.json",
}
_MESSAGES: Final = "JSON Schema of webhooks of the format {}"


@click.command(cls=ScriptCommand, short_help="List or write the files that come with the package.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the files to.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
def files(names: tuple[str, ...], output: Path | None, *, force: bool) -> None:
    """List the files that come with the package, or print those with a NAME, or write them to a folder."""
    from importlib.resources import files as resources

    folder = resources("gateway.cli").joinpath("files")
    present = {item.name: item for item in sorted(folder.iterdir(), key=lambda item: item.name)}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise click.ClickException(f"no file is called {unknown[0]}; flaggateway files lists them")
    chosen = {name: present[name] for name in names or present}
    if output is not None:
        _write(chosen, output, force=force)
    elif names:
        for item in chosen.values():
            click.echo(item.read_text("utf-8"), nl=False)
    else:
        print_columns([(name, describe(name)) for name in present])


def describe(name: str) -> str:
    """Return what a file is."""
    return DESCRIPTIONS.get(name) or _MESSAGES.format(name.removesuffix(".schema.json"))


def copy_originals(root: Path) -> list[Path]:
    """Renew the copies in the package from the files of a checkout that are there; return what was written."""
    target = root / "gateway/cli/files"
    target.mkdir(parents=True, exist_ok=True)
    sources = {name: root / path for name, path in ORIGINALS.items() if (root / path).is_file()}
    sources |= {path.name: path for path in sorted((root / "docs/schemas").glob("*.json"))}
    for name, source in sources.items():
        (target / name).write_bytes(source.read_bytes())
    return [target / name for name in sources]


def _write(chosen: dict[str, Traversable], output: Path, *, force: bool) -> None:
    """Write the files; none if one of them exists already."""
    existing = [name for name in chosen if (output / name).exists()]
    if existing and not force:
        raise click.ClickException(f"{output / existing[0]} exists; choose another folder, or replace it with --force")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, item in chosen.items():
            (output / name).write_bytes(item.read_bytes())
            click.echo(f"wrote {output / name}", err=True)
    except OSError as error:
        raise click.FileError(str(error.filename), error.strerror or type(error).__name__) from None
