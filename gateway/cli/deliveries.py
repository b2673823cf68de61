"""``flaggateway deliveries``: list, show, retry, test and purge webhook messages.

The commands read and write the outbox directly: the file, or the database of ``outbox.url``.  A running gateway reads
their requests once a second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast

import click

from gateway.cli import delivery_views as views
from gateway.cli.move_outbox import move
from gateway.cli.options import settings_options
from gateway.cli.outbox_file import OutboxFile, in_transaction, opened
from gateway.cli.output import json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.storage import CommandConnection, MessageState
    from gateway.webhooks.store import DeliveryDetails

_STATES = ("pending", "delivered", "failed", "skipped")  # ``MessageState``, whose import takes longer than ``--help``
ACCEPT_SECONDS = 4.0  # a running gateway reads requests every second; one left after this has no gateway
TEST_SECONDS = 15.0  # wait for a test message; an attempt may take 10 s
_POLL_SECONDS = 0.1


@click.group(short_help="List, show, retry, test, purge and move webhook messages.")
@settings_options
@click.option(
    "--database", type=click.Path(dir_okay=False, path_type=Path), help="Outbox file; by default that of the settings."
)
@click.pass_context
def deliveries(context: click.Context, database: Path | None) -> None:
    """List, show and resend webhook messages from the outbox, delivered or not.

    Works on the file of a running or a stopped gateway; a running one reads requests within a second.
    Called by root, it creates files only as the owner of the outbox file.
    """
    context.obj = OutboxFile(database)


deliveries.add_command(move)


def _date(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is not None else moment.astimezone()).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter("not a date such as 2026-05-01 or 2026-05-01T12:00+02:00") from None


@deliveries.command("list", short_help="List messages, newest first.")
@click.option("--endpoint", help="Only messages to this endpoint.")
@click.option("--state", type=click.Choice(_STATES), help="Only messages in this state.")
@click.option("--since", callback=_date, metavar="DATE", help="Only messages created since then.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number.")
@json_option
@settings_options
@click.pass_obj
def list_(
    file: OutboxFile, endpoint: str | None, state: str | None, since: float | None, limit: int, *, as_json: bool
) -> None:
    """List messages, newest first.

    A DATE without a time zone is local time; times are printed in UTC.
    """
    from gateway.webhooks import store

    with opened(file) as connection:
        listed = store.list_deliveries(
            connection, endpoint=endpoint, state=cast("MessageState | None", state), since=since or 0.0, limit=limit
        )
    if as_json:
        views.print_json([views.delivery_dict(each) for each in listed.found])
        return
    if not listed.found:
        click.echo("no deliveries", err=True)
        return
    views.print_table(listed.found, _now())
    if listed.next is not None:
        click.echo(f"these are the newest {limit}; for others use --limit, --endpoint, --state or --since", err=True)


@deliveries.command(short_help="Show one message and its attempts.")
@click.argument("message_id", metavar="ID")
@json_option
@settings_options
@click.pass_obj
def show(file: OutboxFile, message_id: str, *, as_json: bool) -> None:
    """Show the message ID: its body, and each attempt with the first 1 KiB of the answer.

    Endpoints with the same format get a change under the same ID; all of these messages are shown.
    """
    from gateway.webhooks import store

    with opened(file) as connection:
        found = store.delivery_details(connection, message_id)
    if not found:
        raise click.ClickException(f"the outbox holds no message {message_id}")
    if as_json:
        views.print_json([views.details_dict(each) for each in found])
        return
    for number, each in enumerate(found):
        if number:
            click.echo()
        views.print_details(each, _now())


@deliveries.command(short_help="Send failed or skipped messages again.")
@click.argument("message_id", metavar="ID", required=False)
@click.option("--failed", is_flag=True, help="Every failed message.")
@json_option
@settings_options
@click.pass_obj
def retry(file: OutboxFile, message_id: str | None, *, failed: bool, as_json: bool) -> None:
    """Send the message ID again, or with --failed every failed message, with the full retry schedule.

    Delivered messages are not sent again.
    """
    from gateway.webhooks import store

    if (message_id is None) == (not failed):
        raise click.UsageError("give either an ID or --failed")
    names = file.endpoints()
    with opened(file) as connection:
        if message_id is None:
            total = connection.execute("SELECT count(*) FROM messages WHERE state = 'failed'").fetchone()[0]
            count = _in_steps(
                connection,
                lambda: store.retry_failed(connection, _now(), names),
                ("scheduling", total),
                shown=not as_json,
            )
        else:
            retried = in_transaction(connection, lambda: store.retry(connection, message_id, _now(), names))
            if retried is None:
                raise click.ClickException(f"the outbox holds no message {message_id}")
            if not retried.count:
                raise click.ClickException(f"not sent again: {'; '.join(retried.refused)}")
            count = retried.count
    _done(count, "scheduled again", as_json=as_json)


@deliveries.command(short_help="Send a test message to an endpoint.")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Do not wait for the first attempt.")
@json_option
@settings_options
@click.pass_obj
def test(file: OutboxFile, name: str, *, no_wait: bool, as_json: bool) -> None:
    """Make the running gateway, or the next one that starts, send a WEBHOOK_TEST to the endpoint NAME.

    Waits for the first attempt; the exit status is 1 if it failed.
    """
    from gateway.webhooks import store

    known = file.endpoints()
    if known is not None and name not in known:
        names = ", ".join(known) or "none"
        raise click.ClickException(f"the settings have no webhook '{name}'; they have: {names}")
    with opened(file) as connection:
        last = connection.execute("SELECT coalesce(max(row), 0) FROM messages").fetchone()[0]
        in_transaction(connection, lambda: store.add_request(connection, "test", name))
        found = None if no_wait else _await_test(connection, name, last)
    if found is None:
        _done(1, f"requested; for the result: flaggateway deliveries list --endpoint {name}", as_json=as_json)
        return
    if as_json:
        views.print_json(views.details_dict(found))
    else:
        views.print_details(found, _now())
    if found.delivery.state != "delivered":
        raise SystemExit(1)


def _await_test(connection: CommandConnection, name: str, last: int) -> DeliveryDetails | None:
    """Return the test message made after row ``last`` once an attempt has ended; None if that takes too long."""
    from threading import Event

    from gateway.webhooks import store

    request = "SELECT 1 FROM wakes WHERE act = 'test' AND argument = ? LIMIT 1"
    made = "SELECT id FROM messages WHERE row > ? AND endpoint = ? AND type = 'WEBHOOK_TEST' AND tries > 0"
    began = monotonic()
    while (passed := monotonic() - began) < TEST_SECONDS:
        row = connection.execute(made, (last, name)).fetchone()
        if row is not None:
            return store.delivery_details(connection, row[0])[0]
        if passed > ACCEPT_SECONDS and connection.execute(request, (name,)).fetchone() is not None:
            click.echo("no gateway is running with this outbox; the next one that starts sends the test", err=True)
            return None
        Event().wait(_POLL_SECONDS)
    click.echo(f"no attempt has ended within {TEST_SECONDS:.0f} s", err=True)
    return None


@deliveries.command(short_help="Delete finished messages.")
@click.option("--before", callback=_date, required=True, metavar="DATE", help="Finished before this date.")
@json_option
@settings_options
@click.pass_obj
def purge(file: OutboxFile, before: float, *, as_json: bool) -> None:
    """Delete messages and changes that were finished before a date; pending messages are never deleted.

    A gateway deletes what was finished longer ago than outbox.keep on its own.
    """
    from gateway.webhooks import store

    finished = "SELECT count(*) FROM messages WHERE state <> 'pending' AND finished < ?"
    with opened(file) as connection:
        total = connection.execute(finished, (before,)).fetchone()[0]
        step = partial(store.purge, connection, before)
        count = _in_steps(connection, step, ("deleting", total), shown=not as_json)
        while in_transaction(connection, lambda: store.purge_changes(connection, before)):
            pass
    _done(count, "deleted", as_json=as_json)


def _in_steps(connection: CommandConnection, step: Callable[[], int], work: tuple[str, int], *, shown: bool) -> int:
    """Run ``step`` in short transactions until it returns 0, and return the sum; a running gateway waits briefly."""
    done = 0
    with views.progress(*work, shown=shown) as advance:
        while count := in_transaction(connection, step):
            done += count
            advance(count)
    return done


def _done(count: int, what: str, *, as_json: bool) -> None:
    if as_json:
        views.print_json({"count": count})
    else:
        click.echo(f"{count} {what}")


def _now() -> float:
    return datetime.now(UTC).timestamp()
