"""``flaggateway files``: the example settings, the unit and the schemas that come with the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from gateway.cli.output import ScriptCommand, print_columns

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
RUNBOOK_URL: Final = "https://docs.example.com/flaggateway/operations.html"
"""The page that the links of the alert rules begin with, until it is replaced."""
RULES: Final = "prometheus-rules.yml"
_PAGE: Final = re.compile(r"https?://[^\s#\"]+")
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
@click.option(
    "--runbook-url",
    metavar="URL",
    help="Address of your copy of docs/operations.md, for the links of the alert rules.",
)
def files(names: tuple[str, ...], output: Path | None, runbook_url: str | None, *, force: bool) -> None:
    """List the files that come with the package, or print those with a NAME, or write them to a folder."""
    from importlib.resources import files as resources

    folder = resources("gateway.cli").joinpath("files")
    present = {item.name: item for item in sorted(folder.iterdir(), key=lambda item: item.name)}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise click.ClickException(f"no file is called {unknown[0]}; flaggateway files lists them")
    chosen = {name: present[name] for name in names or present}
    contents = {name: item.read_text("utf-8") for name, item in chosen.items()}
    if runbook_url is not None:
        if not _PAGE.fullmatch(runbook_url):
            raise click.ClickException("--runbook-url must begin with http:// or https:// and have no part behind a #")
        if RULES not in contents or not (names or output):
            raise click.ClickException(f"--runbook-url is for {RULES}: name this file, or a folder for all files")
        contents[RULES] = contents[RULES].replace(RUNBOOK_URL, runbook_url)
    if output is not None:
        _write(contents, output, force=force)
    elif names:
        for content in contents.values():
            click.echo(content, nl=False)
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


def _write(contents: dict[str, str], output: Path, *, force: bool) -> None:
    """Write the files; none if one of them exists already."""
    existing = [name for name in contents if (output / name).exists()]
    if existing and not force:
        raise click.ClickException(f"{output / existing[0]} exists; choose another folder, or replace it with --force")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (output / name).write_text(content, "utf-8", newline="")
            click.echo(f"wrote {output / name}", err=True)
    except OSError as error:
        raise click.FileError(str(error.filename), error.strerror or type(error).__name__) from None
