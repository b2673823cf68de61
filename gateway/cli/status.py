"""``flaggateway status``: the health of a running gateway, its SDKs and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.diagnostics_port import gateway_options
from gateway.cli.output import ScriptCommand, duration, json_option, print_columns, print_json, stop_at_finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.diagnostics_port import DiagnosticsPort

_SDKS: Final = ("SDK", "SOURCE", "HEALTH", "CONFIG", "AGE", "FLAGS", "FAILING", "STREAMS", "STATE")
_WORKERS: Final = ("WORKER", "PID", "STREAMS", "UP", "STATE")


@click.command(cls=ScriptCommand, short_help="Show the health of a running gateway.")
@json_option
@gateway_options("--user")
def status(port: DiagnosticsPort, *, as_json: bool) -> None:
    """Show the health of a running gateway, its SDKs, workers and problems, each with the command to type next.

    The exit status is 0 for a healthy gateway, 2 for one that has a problem or is not ready, 1 if it cannot be called.
    """
    found = port.request("/api/v1/overview")
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["health"] != "healthy" or found["problems"] or not found["ready"]:
        stop_at_finding()


def _print(found: Mapping[str, Any]) -> None:
    from gateway.text import printable

    click.echo(printable(found["summary"]))
    click.echo(f"flaggateway {found['version']}, up {duration(found['uptime_seconds'])}")
    if found["sdks"]:
        click.echo()
        print_columns([_SDKS, *map(_sdk, found["sdks"])])
    if found["workers"]:
        click.echo()
        print_columns([_WORKERS, *map(_worker, found["workers"])])
    for problem in found["problems"]:
        click.echo(f"\n{printable(problem['text'])}")
        if problem["command"]:
            click.echo(f"  {printable(problem['command'])}")


def _sdk(sdk: Mapping[str, Any]) -> tuple[str, ...]:
    config, fetch = sdk["config"], sdk["last_fetch"]
    states = [] if fetch is None or fetch["ok"] else [fetch["text"]]
    states += ["a config is held"] if sdk["held"] else []
    states += [f"{sdk['pinned']['config']} is pinned"] if sdk["pinned"] else []
    states += ["from an earlier run"] if config and config["stale"] else []
    return (
        sdk["id"], sdk["source"], sdk["health"], config["tag"] if config else "-",
        duration(config["age_seconds"]) if config else "-", str(sdk["flags"]), str(sdk["failing_flags"]),
        str(sdk["streams"]), "; ".join(states),
    )  # fmt: skip


def _worker(worker: Mapping[str, Any]) -> tuple[str, ...]:
    state = "ok" if worker["listening"] and worker["responding"] else "does not respond"
    up = duration(worker["uptime_seconds"])
    return (str(worker["number"]), str(worker["pid"] or "-"), str(worker["streams"]), up, state)
