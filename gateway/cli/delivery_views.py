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
WIDE = 250  # columns of a file or a pipe, so that lines stay whole
LEAST = 120  # columns of a table; in a narrower terminal lines break, which reads better than narrow columns
ROOMY = 160  # columns from which a table shows reasons
LONG = 2000  # entries from which a progress bar is shown


def plain(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery for JSON."""
    import attrs

    return attrs.asdict(delivery)


def whole(full: DeliveryDetails) -> dict[str, Any]:
    """Return a delivery with its body and attempts for JSON."""
    import attrs

    return plain(full.delivery) | {"body": full.body, "attempts": [attrs.asdict(one) for one in full.attempts]}


def print_json(value: object) -> None:
    """Print JSON; to a terminal in ASCII, since foreign text may hold control characters."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty()))


def print_table(found: list[Delivery], now: float) -> None:
    """Print one line for each delivery; a narrow terminal gets fewer columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=max(Console().width, LEAST) if sys.stdout.isatty() else WIDE)
    wide = console.width >= ROOMY
    table = Table(box=None, pad_edge=False)
    for heading in ("created", "endpoint", *(("seq",) if wide else ()), "type", "subject", "state", "tries", "id"):
        whole = heading in {"created", "state", "id"} and (wide or heading != "state")
        justify: Any = "right" if heading in {"seq", "tries"} else "left"
        table.add_column(heading, no_wrap=whole, justify=justify, overflow="fold")
    for each in found:
        state = Text(each.state, style=STYLES[each.state])
        state.append(printable(_detail(each, now)) if wide else "")
        row = (
            when(each.created),
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
        return f": next in {span(delivery.due - now)}"
    return f": {delivery.reason}" if delivery.reason else ""


def print_full(full: DeliveryDetails, now: float) -> None:
    """Print a delivery, its body and its attempts."""
    each = full.delivery
    state = click.style(each.state, fg=STYLES[each.state])
    _field("id", each.id)
    _field("endpoint", f"{each.endpoint} (message {each.sequence})" if each.sequence else each.endpoint)
    _field("format", f"{each.format}, {each.type}")
    _field("subject", each.subject if each.sdk_id in {None, each.subject} else f"{each.subject}, SDK {each.sdk_id}")
    _field("state", f"{state}{printable(_detail(each, now))}", raw=True)
    _field("created", when(each.created))
    if each.due is not None:
        _field("due", when(each.due))
    if each.finished is not None:
        _field("finished", when(each.finished))
    _field("body", _pretty(full.body) or "(none)", raw=True)
    for one in full.attempts:
        print_try(one)


def print_try(one: AttemptRecord) -> None:
    """Print one attempt and the beginning of its answer."""
    fine = one.status is not None and 200 <= one.status <= 299
    outcome = click.style(printable(one.outcome), fg="green" if fine else "red")
    click.echo(f"attempt {one.number}: {when(one.at)}, {one.duration:.3f} s, {outcome}")
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


def when(at: float) -> str:
    """Format Unix seconds in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """Format seconds in their largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def progress(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error if that is a terminal; yields a function that advances it."""
    if not shown or total < LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda step: bar.advance(task, step)
