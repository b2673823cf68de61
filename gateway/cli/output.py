"""What the commands print: tables, JSON, and the exit status of a finding."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FINDING: Final = 2  # exit status: the answer is there, and it is one that a script should stop at

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


class WrongUse(click.UsageError):
    """A wrong option or argument of a ``ScriptCommand``."""

    exit_code = 1


class ScriptCommand(click.Command):
    """A command whose status 2 is a finding: a wrong option or argument is status 1, as every other error."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            raise WrongUse(error.format_message(), error.ctx) from None

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except click.UsageError as error:
            raise WrongUse(error.format_message(), error.ctx) from None


def stop_at_finding() -> NoReturn:
    """End the command with the status of a finding."""
    raise SystemExit(FINDING)


def print_json(document: object) -> None:
    """Print a document as JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of texts as a table."""
    from gateway.text import printable

    shown = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def short_time(text: str) -> str:
    """Return a time of the API, in UTC, without its fraction."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Return a duration in its largest whole unit: ``3 d``, ``12 min``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def write_private(file: Path, text: str, *, force: bool) -> None:
    """Write a file that only its owner can read.

    :raises click.ClickException: if it exists and ``force`` is false, or cannot be written
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(file, flags, 0o600), "w", encoding="utf-8") as opened:  # noqa: PTH123 - a descriptor
            opened.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} exists; choose another name, or replace it with --force") from None
    except OSError as error:
        raise click.FileError(str(file), error.strerror or type(error).__name__) from None
