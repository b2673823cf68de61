"""``flaggateway deliveries move``: bring the outbox file of a stopped gateway to PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from gateway.cli import delivery_views as views
from gateway.cli.options import settings_options
from gateway.cli.outbox_file import OutboxFile, become_owner, in_transaction, opened_file

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".moved"


@click.command("move", short_help="Move the outbox file to PostgreSQL.")
@click.option("--to", "url", required=True, metavar="URL", help="Database, as for outbox.url.")
@click.option("--schema", default="flaggateway", show_default=True, help="Schema, as for outbox.schema.")
@settings_options
@click.pass_obj
def move(file: OutboxFile, url: str, schema: str) -> None:
    """Copy messages, changes and numbers from the outbox file to an empty outbox on PostgreSQL.

    Stop the gateway first, and start it with outbox.url afterwards.  The file is renamed to FILE.moved, unless it holds
    evaluations that are not exported yet: those stay in it, and the gateway goes on with them.
    """
    from gateway.storage import (
        LockFile,
        LockTaken,
        NotEmpty,
        OutboxUnusable,
        StoreError,
        connect_shared,
        copy_outbox,
        rows_to_copy,
    )

    path = file.path()
    become_owner(path)  # before anything is created beside the file
    try:
        with LockFile(path), opened_file(path) as source, closing(connect_shared(url, schema)) as target:
            with views.progress("moving", rows_to_copy(source), shown=True) as advance:
                counts = in_transaction(target, lambda: copy_outbox(source, target, advance))
            left = source.execute("SELECT count FROM spooled").fetchone()[0]
    except LockTaken as error:
        raise click.ClickException(f"{path} is in use ({error}); stop the gateway first") from None
    except NotEmpty as error:
        text = f"the outbox on PostgreSQL is not empty: it has {error}; name another --schema, or delete this one"
        raise click.ClickException(text) from None
    except (OutboxUnusable, StoreError) as error:
        raise click.ClickException(f"nothing was moved: {error}") from None
    click.echo(f"moved {counts['messages']} messages, {counts['changes']} changes and {counts['numbers']} numbers")
    _set_aside(path, left)


def _set_aside(path: Path, left: int) -> None:
    if left:
        click.echo(f"{path} stays in use: {left} evaluations in it wait for the exporter")
        return
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)  # empty since the last connection was closed
    path.rename(path.with_name(path.name + SUFFIX))
    click.echo(f"the file is {path}{SUFFIX} now")
