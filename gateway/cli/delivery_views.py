"""Output of ``flaggateway deliveries``: tables and colour in a terminal, whole lines elsewhere, JSON on request.

Answers of receivers and names of flags are foreign text, so control characters are escaped before they are printed.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.webhooks.store import AttemptRecord, Delivery, DeliveryDetails

STYLES = {"pending": "yellow", "delivered": "green", "failed": "red", "skipped": "bright_black"}
PIPE_COLUMNS = 250  # columns of a file or a pipe, so that lines stay whole
MIN_COLUMNS = 120  # columns of a table; in a narrower terminal lines break, which reads better than narrow columns
REASON_COLUMNS = 160  # columns from which a table shows reasons
PROGRESS_MINIMUM = 2000  # entries from which a progress bar is shown


def delivery_dict(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery for JSON."""
    import attrs

    return attrs.asdict(delivery)


def details_dict(details: DeliveryDetails) -> dict[str, Any]:
    """Return a delivery with its body and attempts for JSON."""
    import attrs

    return delivery_dict(details.delivery) | {
        "body": details.body,
        "attempts": [attrs.asdict(one) for one in details.attempts],
    }


def print_json(value: object) -> None:
    """Print JSON; to a terminal in ASCII, since foreign text may hold control characters."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty()))


def print_table(found: list[Delivery], now: float) -> None:
    """Print one line for each delivery; a narrow terminal gets fewer columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=max(Console().width, MIN_COLUMNS) if sys.stdout.isatty() else PIPE_COLUMNS)
    wide = console.width >= REASON_COLUMNS
    table = Table(box=None, pad_edge=False)
    for heading in ("created", "endpoint", *(("seq",) if wide else ()), "type", "subject", "state", "tries", "id"):
        whole = heading in {"created", "state", "id"} and (wide or heading != "state")
        justify: Any = "right" if heading in {"seq", "tries"} else "left"
        table.add_column(heading, no_wrap=whole, justify=justify, overflow="fold")
    for each in found:
        state = Text(each.state, style=STYLES[each.state])
        state.append(printable(_detail(each, now)) if wide else "")
        row = (
            format_time(each.created),
            each.endpoint,
            *((str(each.sequence or ""),) if wide else ()),
            each.type,
            each.subject,
        )
        cells = (Text(printable(cell)) for cell in row)
        table.add_row(*cells, state, Text(str(each.tries)), Text(printable(each.id)))
    console.print(table)


def _detail(delivery: Delivery, now: float) -> str:
    """Return the next attempt or the reason, to print after the state."""
    if delivery.due is not None and delivery.due > now:
        return f": next in {format_seconds(delivery.due - now)}"
    return f": {delivery.reason}" if delivery.reason else ""


def print_details(details: DeliveryDetails, now: float) -> None:
    """Print a delivery, its body and its attempts."""
    each = details.delivery
    state = click.style(each.state, fg=STYLES[each.state])
    _field("id", each.id)
    _field("endpoint", f"{each.endpoint} (message {each.sequence})" if each.sequence else each.endpoint)
    _field("format", f"{each.format}, {each.type}")
    _field("subject", each.subject if each.sdk_id in {None, each.subject} else f"{each.subject}, SDK {each.sdk_id}")
    _field("state", f"{state}{printable(_detail(each, now))}", raw=True)
    _field("created", format_time(each.created))
    if each.due is not None:
        _field("due", format_time(each.due))
    if each.finished is not None:
        _field("finished", format_time(each.finished))
    _field("body", _pretty(details.body) or "(none)", raw=True)
    for one in details.attempts:
        print_attempt(one)


def print_attempt(one: AttemptRecord) -> None:
    """Print one attempt and the beginning of its answer."""
    succeeded = one.status is not None and 200 <= one.status <= 299
    outcome = click.style(printable(one.outcome), fg="green" if succeeded else "red")
    click.echo(f"attempt {one.number}: {format_time(one.at)}, {one.duration:.3f} s, {outcome}")
    for line in one.answer.splitlines():
        click.echo(f"           {printable(line)}")


def _field(name: str, value: str, *, raw: bool = False) -> None:
    click.echo(f"{name + ':':<10} {value if raw else printable(value)}")


def _pretty(body: str) -> str:
    """Return JSON indented for a terminal, and as it was sent elsewhere."""
    if not sys.stdout.isatty():
        return printable(body)
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return printable(body)
    return "\n           ".join(map(printable, text.splitlines()))


def format_time(at: float) -> str:
    """Format Unix seconds in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def format_seconds(seconds: float) -> str:
    """Format seconds in their largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def progress(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if that is a terminal; yields a function that advances it."""
    if not shown or total < PROGRESS_MINIMUM or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda step: bar.advance(task, step)
