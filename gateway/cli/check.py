"""``flaggateway check``: print the effective settings and every problem in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import click

from gateway.cli.options import settings_options, settings_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from gateway.settings import Loaded, Problem, Settings


@click.command(short_help="Validate the settings and print the effective ones.")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def check(*, as_json: bool) -> None:
    """Validate the settings and print the effective ones, with secrets masked.

    Reads the file, the environment and the certificates as the gateway does at its start; starts nothing.
    The exit status is 1 if the gateway would refuse to start.
    """
    loaded = settings_sources().file().read()
    if loaded.settings is not None:
        loaded = attrs.evolve(loaded, problems=tuple(_unusable_files(loaded.settings)))
    if as_json:
        click.echo(json.dumps(_plain(loaded), indent=2, ensure_ascii=False))
    else:
        _print(loaded)
    if loaded.problems:
        raise SystemExit(1)


def _unusable_files(settings: Settings) -> Iterator[Problem]:
    """Yield the problems of the certificate files that the settings name; the outbox and ports are not tried."""
    from gateway.http_client import TrustError, load_trust
    from gateway.settings import Problem
    from gateway.web.server import TlsError, build_context

    ca_files = {"upstream.ca_file": settings.upstream.ca_file, "exporter.ca_file": settings.exporter.ca_file}
    for option, path in ca_files.items():
        try:
            load_trust(path, option)
        except TrustError as error:
            yield Problem(path="", text=str(error))
    try:
        if settings.http.enabled and settings.tls.enabled:
            build_context(settings.tls)
    except TlsError as error:
        yield Problem(path="", text=str(error))


def _plain(loaded: Loaded) -> dict[str, object]:
    from gateway.settings import masked

    return {
        "file": loaded.path or None,
        "settings": masked(loaded.settings) if loaded.settings else None,
        "problems": [problem.as_dict() for problem in loaded.problems],
        "warnings": [warning.as_dict() for warning in loaded.warnings],
    }


def _print(loaded: Loaded) -> None:
    import yaml
    from rich.console import Console

    from gateway.settings import masked

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(f"# {loaded.path or 'no settings file: defaults and environment only'}", style="dim")
    if loaded.settings:
        text = yaml.safe_dump(masked(loaded.settings), sort_keys=False, allow_unicode=True)
        console.print(text.rstrip())
    _print_findings(console, "warning", "yellow", loaded.warnings)
    _print_findings(console, "error", "bold red", loaded.problems)
    if loaded.problems:
        many = len(loaded.problems)
        console.print(f"{many} {'error' if many == 1 else 'errors'}: the gateway would not start", style="bold red")
    else:
        console.print("# the settings are valid", style="green")


def _print_findings(console: Console, word: str, style: str, findings: Iterable[Problem]) -> None:
    from rich.text import Text

    for finding in findings:
        console.print(Text.assemble((f"{word}: ", style), str(finding)))
