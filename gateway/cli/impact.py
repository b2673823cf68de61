"""``flaggateway impact``: what a candidate config would change for users, before it is published."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Final

import click

from gateway.cli.diagnostics_port import choose_sdk, gateway_options
from gateway.cli.output import ScriptCommand, json_option, print_columns, print_json, stop_at_finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

TIMEOUT: Final = 90.0  # seconds; the gateway itself stops after 20, and waits 30 for its workers
_HEADINGS: Final = ("FLAG", "USERS", "FROM", "TO")


@click.command(cls=ScriptCommand, short_help="Show what a candidate config would change for users.")
@click.argument("candidate", metavar="FILE", type=click.File("rb"))
@click.option("--sdk", metavar="SDK", help="SDK id; not needed if the gateway has one SDK.")
@click.option("--flag", metavar="KEY", help="FILE has the definition of this flag only, or null to delete it.")
@click.option(
    "--max-percent", type=click.FloatRange(0, 100), help="End with status 2 if more of the users would be concerned."
)
@click.option("--reveal", is_flag=True, help="Show all attributes of example users; needs the role operate.")
@json_option
@gateway_options("--user")
def impact(
    port: DiagnosticsPort,
    candidate: IO[bytes],
    sdk: str | None,
    flag: str | None,
    max_percent: float | None,
    *,
    reveal: bool,
    as_json: bool,
) -> None:
    """Show what the config JSON in FILE (- for standard input) would change for which users, before it is published.

    The users are those connected now; while none is, those who were evaluated recently.  With --max-percent the exit
    status is 2 if more of them would see something else, and 1 if there are no users to judge by,
    or a worker has not answered.
    """
    content = _json(candidate)
    body: dict[str, Any] = {"sdk": choose_sdk(port, sdk)}
    body |= {"config": content} if flag is None else {"flag": {"key": flag, "definition": content}}
    path = "/api/v1/impact?reveal=1" if reveal else "/api/v1/impact"
    found = port.request(path, "POST", body, timeout=TIMEOUT)
    who, share = _share(found)
    if as_json:
        print_json(found)
    else:
        _print(found)
    missing = found["missing_workers"]
    if missing:
        click.echo(f"{missing} workers have not answered; their users are missing", err=True)
    if max_percent is None:
        return
    if share is not None and share > max_percent:
        click.echo(f"{share:.1f} % of the {who} users are above the limit of {max_percent:g} %", err=True)
        stop_at_finding()
    if share is None or missing:
        users = "some users are missing" if missing else "no user is connected, and none was evaluated recently"
        raise click.ClickException(f"{users}: whether the candidate stays below --max-percent is unknown")


def _json(file: IO[bytes]) -> Any:
    from gateway.text import without_bom

    try:
        return json.loads(without_bom(file.read()))
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise click.ClickException(f"{file.name} is not valid JSON{where}") from None


def _share(found: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return which users the share is of, and their percentage that would see something else."""
    for who, audience in (("connected", found["connected"]), ("recently evaluated", found["sample"])):
        if audience["examined"]:
            return who, 100 * audience["changed"] / audience["examined"]
    return "connected", None


def _print(found: Mapping[str, Any]) -> None:
    from gateway.text import printable

    connected, sample = found["connected"], found["sample"]
    streams = f"{connected['changed_streams']} of {connected['streams']} streams"
    click.echo(f"connected users: {_counted(connected)} would see something else ({streams})")
    click.echo(f"recently evaluated users: {_counted(sample)} would see something else")
    for name in ("added", "removed", "changed"):
        if found[name]:
            click.echo(f"flags {name}: {printable(', '.join(found[name]))}")
    for title, audience in (("connected", connected), ("recently evaluated", sample)):
        rows = [_row(flag["key"], change) for flag in audience["flags"] for change in flag["changes"]]
        if rows:
            click.echo(f"\n{title}:")
            print_columns([_HEADINGS, *rows])
    if connected["examples"] or sample["examples"]:
        click.echo("\nexamples:")
    for example in connected["examples"] or sample["examples"]:
        keys = ", ".join(change["key"] for change in example["changes"])
        click.echo(
            printable(f"  {example['identifier']} {json.dumps(example['attributes'], ensure_ascii=False)}: {keys}")
        )


def _counted(audience: Mapping[str, Any]) -> str:
    total, examined, changed = audience["total"], audience["examined"], audience["changed"]
    percent = f" ({100 * changed / examined:.1f} %)" if examined else ""
    return f"{changed} of {examined}{percent}" + (f", {total - examined} not examined," if examined < total else "")


def _row(key: str, change: Mapping[str, Any]) -> tuple[str, ...]:
    return (key, str(change["users"]), _value(change["before"]), _value(change["after"]))


def _value(served: Mapping[str, Any] | None) -> str:
    if served is None:
        return "(no flag)"
    return "(fails)" if served["value"] is None else json.dumps(served["value"], ensure_ascii=False)
