"""``flaggateway deliveries``: what was told to whom, what waits, and another try; on a running or a stopped gateway.

It reads and writes the outbox's file itself; a running gateway sees what it left within a second.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.outbound.queries import Delivery

_STATES = ("pending", "delivered", "failed", "skipped")
_STYLE = {"pending": "yellow", "delivered": "green", "failed": "red", "skipped": "dim"}
BUSY_SECONDS = 10.0  # how long a command waits for a transaction of the gateway


@click.group(short_help="List, show, retry, test and purge what was told.")
@click.option("-c", "--config", "config", metavar="FILE", help="Settings file of the gateway.")
@click.option(
    "--database", type=click.Path(dir_okay=False, path_type=Path), help="Outbox file; by default as the settings say."
)
@click.pass_context
def deliveries(context: click.Context, config: str | None, database: Path | None) -> None:
    """Look into the outbox: messages to web hooks, delivered or not."""
    context.obj = (config, database)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def _date(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("not a date such as 2026-05-01 or 2026-05-01T12:00+02:00") from None
    return (moment if moment.tzinfo is not None else moment.astimezone()).timestamp()


@deliveries.command("list", short_help="List deliveries, the newest first.")
@click.option("--endpoint", help="Only those to this endpoint.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--since", callback=_date, metavar="DATE", help="Only those made since then.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@_json_option
@click.pass_obj
def list_(
    place: tuple[str | None, Path | None],
    endpoint: str | None,
    state: str | None,
    since: float | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List deliveries, the newest first."""
    from gateway.outbound import queries

    with _outbox(place) as connection:
        found = queries.deliveries(connection, endpoint=endpoint, state=state, since=since or 0.0, limit=limit)
    if as_json:
        _print_json([_plain(each) for each in found])
        return
    _table(found)


@deliveries.command(short_help="Show one message and its attempts.")
@click.argument("message_id", metavar="ID")
@_json_option
@click.pass_obj
def show(place: tuple[str | None, Path | None], message_id: str, *, as_json: bool) -> None:
    """Show the message ID: its body, and each attempt with the first 1 KiB of the answer."""
    import attrs

    from gateway.outbound import queries

    with _outbox(place) as connection:
        found = queries.full(connection, message_id)
    if not found:
        raise click.ClickException(f"the outbox holds no message {message_id}")
    if as_json:
        whole = [
            _plain(each.delivery) | {"body": each.body, "attempts": [attrs.asdict(one) for one in each.attempts]}
            for each in found
        ]
        _print_json(whole)
        return
    for each in found:
        for name, value in _plain(each.delivery).items():
            click.echo(f"{name + ':':<10} {'' if value is None else value}")
        click.echo(f"body:      {each.body}")
        for one in each.attempts:
            click.echo(f"attempt {one.number}: {_when(one.at)}, {one.duration:.3f} s, {one.outcome}")
            if one.answer:
                click.echo(f"           {one.answer}")


@deliveries.command(short_help="Try again what failed or was skipped.")
@click.argument("message_id", metavar="ID", required=False)
@click.option("--failed", is_flag=True, help="Every message that was given up.")
@_json_option
@click.pass_obj
def retry(place: tuple[str | None, Path | None], message_id: str | None, *, failed: bool, as_json: bool) -> None:
    """Make the message ID, or with --failed every one that was given up, due now and for its full time."""
    from gateway.outbound import queries

    if (message_id is None) == (not failed):
        raise click.UsageError("say which: an ID, or --failed")
    with _outbox(place) as connection:
        count = _in_transaction(connection, lambda: queries.retry(connection, message_id, _now()))
    if message_id is not None and not count:
        raise click.ClickException(f"the outbox holds no message {message_id} that is not delivered")
    _done(count, "made due again", as_json=as_json)


@deliveries.command(short_help="Send a test message to an endpoint.")
@click.argument("name")
@_json_option
@click.pass_obj
def test(place: tuple[str | None, Path | None], name: str, *, as_json: bool) -> None:
    """Have the running gateway, or the next one that starts, send a WEBHOOK_TEST to the endpoint NAME."""
    from gateway.outbound import queries

    known = [endpoint.name for endpoint in _settings(place[0]).webhooks] if place[0] or place[1] is None else [name]
    if name not in known:
        names = ", ".join(known) or "none"
        raise click.ClickException(f"the settings have no web hook '{name}'; there are: {names}")
    with _outbox(place) as connection:
        _in_transaction(connection, lambda: queries.wake(connection, "test", name))
    _done(1, f"asked for, see: flaggateway deliveries list --endpoint {name}", as_json=as_json)


@deliveries.command(short_help="Delete finished deliveries.")
@click.option("--before", callback=_date, required=True, metavar="DATE", help="Those that were finished before.")
@_json_option
@click.pass_obj
def purge(place: tuple[str | None, Path | None], before: float, *, as_json: bool) -> None:
    """Delete deliveries and changes that were finished before a date; what waits is never deleted."""
    from gateway.outbound import ledger

    total = 0
    with _outbox(place) as connection:
        # In steps, so that a running gateway never waits long for the database.
        while gone := _in_transaction(connection, lambda: ledger.purge(connection, before)):
            total += gone
        while _in_transaction(connection, lambda: ledger.purge_changes(connection, before)):
            pass
    _done(total, "deleted", as_json=as_json)


@contextmanager
def _outbox(place: tuple[str | None, Path | None]) -> Iterator[sqlite3.Connection]:
    """Open the outbox, as its owner; ends the command with one line when that cannot be done."""
    from gateway.outbound import outbox_path
    from gateway.outbound.migrate import VERSION

    config, database = place
    path = database or outbox_path(_settings(config).outbox.path, os.environ, Path.home())
    if not path.exists():
        raise click.ClickException(f"no outbox at {path}; a gateway with web hooks makes one when it starts")
    _become_owner(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise click.ClickException(f"{path} has schema {version}, this command knows {VERSION}")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise click.ClickException(f"{path}: {error}") from None


def _become_owner(path: Path) -> None:
    """Act as the file's owner when called by root: SQLite makes files beside it, and the gateway must own them."""
    owner = path.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def _settings(config: str | None) -> Any:
    from gateway import settings

    file = settings.SettingsFile(config, os.environ)
    loaded = file.read()
    if loaded.settings is None:
        raise click.ClickException("the settings are not usable; see: flaggateway check")
    return loaded.settings


def _in_transaction(connection: sqlite3.Connection, work: Callable[[], Any]) -> Any:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


def _plain(delivery: Delivery) -> dict[str, Any]:
    import attrs

    return attrs.asdict(delivery)


def _table(found: list[Delivery]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("created", "endpoint", "seq", "type", "subject", "state", "tries", "id"):
        table.add_column(heading, no_wrap=heading == "id")
    for each in found:
        state = Text(each.state, style=_STYLE[each.state])
        if each.reason:
            state.append(f": {each.reason}")
        row = (_when(each.created), each.endpoint, str(each.sequence), each.type, each.subject)
        table.add_row(*(Text(cell) for cell in row), state, Text(str(each.tries)), Text(each.id))
    # A file or a pipe gets whole lines, however wide.
    Console(width=None if sys.stdout.isatty() else 250).print(table)


def _done(count: int, what: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({"count": count})
    else:
        click.echo(f"{count} {what}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _now() -> float:
    return datetime.now(UTC).timestamp()
