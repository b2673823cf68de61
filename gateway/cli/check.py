"""``flaggateway check``: print the effective settings and every problem in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from gateway.cli.options import settings_options, settings_sources
from gateway.cli.output import print_json
from gateway.cli.start_checks import start_problems, start_warnings
from gateway.text import amount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from gateway.settings import Loaded, Problem


@click.command(short_help="Validate the settings and print the effective ones.")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--strict", is_flag=True, help="Exit with status 1 if there is a warning.")
def check(*, as_json: bool, strict: bool) -> None:
    """Validate the settings and print the effective ones, with secrets masked.

    Tries what a start needs: certificates, ports, the outbox, the files that the settings name.  Nothing is started
    or created.  The exit status is 1 if the gateway would refuse to start.  A note is about what any client may do by
    default; it ends when the option is set, be it to its default.
    """
    sources = settings_sources()
    loaded = sources.file().read()
    if loaded.settings is not None:
        problems = tuple(start_problems(loaded.settings, sources.environ()))
        warnings = (*loaded.warnings, *start_warnings(loaded.settings, sources.environ()))
        loaded = attrs.evolve(loaded, problems=problems, warnings=warnings)
    if as_json:
        print_json(_plain(loaded))
    else:
        _print(loaded)
    if loaded.problems or (strict and loaded.warnings):
        raise SystemExit(1)


def _plain(loaded: Loaded) -> dict[str, object]:
    from gateway.settings import masked

    return {
        "file": loaded.path or None,
        "settings": masked(loaded.settings) if loaded.settings else None,
        "problems": [problem.as_dict() for problem in loaded.problems],
        "warnings": [warning.as_dict() for warning in loaded.warnings],
        "notes": [note.as_dict() for note in loaded.notes],
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
        console.print(f"{amount(many, 'error')}: the gateway would not start", style="bold red")
    else:
        _print_findings(console, "# note", "cyan", loaded.notes)
        console.print("# the settings are valid", style="green")


def _print_findings(console: Console, word: str, style: str, findings: Iterable[Problem]) -> None:
    from rich.text import Text

    for finding in findings:
        console.print(Text.assemble((f"{word}: ", style), str(finding)))
