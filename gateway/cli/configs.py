"""``flaggateway configs``: list, accept and reject configs that a running gateway holds, by its diagnostics port."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import frozen

from gateway.cli.options import settings_options, settings_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT: Final = 10.0  # seconds for an answer
ANSWER_LIMIT: Final = 16 * 1024 * 1024  # bytes; a held config takes some 300
_HEADINGS: Final = ("SDK", "SINCE", "ADDED", "REMOVED", "CHANGED", "FAILING", "REASON")
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing is bound here


@frozen
class DiagnosticsPort:
    """The diagnostics port that the command line names, else that of the settings."""

    url: str | None

    def request(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Return the answer.

        :raises click.ClickException: if there is none, or it is an error
        """
        import urllib.error
        import urllib.request

        base, headers = self._target()
        try:
            request = urllib.request.Request(base + path, method=method, headers=dict(headers))  # noqa: S310 - below
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=TIMEOUT) as answer:
                found: dict[str, Any] = json.loads(answer.read(ANSWER_LIMIT))
        except urllib.error.HTTPError as error:
            with error:
                text = _error_text(error.read(ANSWER_LIMIT)) or f"answered {error.code}"
            raise click.ClickException(f"{base}: {text}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(f"{base}: {reason}; is the gateway running? --url names its port") from None
        except ValueError:
            raise click.ClickException(f"{base} is not the diagnostics port of a flaggateway") from None
        return found

    def _target(self) -> tuple[str, Mapping[str, str]]:
        """Return the base URL and the headers to send; settings that cannot be used are no problem with ``--url``."""
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise click.ClickException("--url is not an http or https URL")
        settings = settings_sources().file().read().settings
        if settings is None:
            if self.url is None:
                raise click.ClickException("the settings cannot be used, see: flaggateway check; or use --url")
            return self.url.rstrip("/"), {}
        bind = settings.diag.bind
        host = _EVERYWHERE.get(bind) or (f"[{bind}]" if ":" in bind else bind)
        return (self.url or f"http://{host}:{settings.diag.port}").rstrip("/"), settings.diag.auth_headers


def _error_text(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


@click.group(short_help="List, accept and reject configs that are held.")
@settings_options
@click.option("--url", help="Base URL of the diagnostics port; by default that of the settings.")
@click.pass_context
def configs(context: click.Context, url: str | None) -> None:
    """List, accept and reject configs that a running gateway holds, because they would remove or break too many flags.

    The last good config is served until a held one is accepted, or the upstream has a good one.
    """
    context.obj = DiagnosticsPort(url)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@configs.command(short_help="List the held configs.")
@_json_option
@settings_options
@click.pass_obj
def held(port: DiagnosticsPort, *, as_json: bool) -> None:
    """List the held configs: how many flags each would add, remove and change, and how many of its flags fail."""
    found = port.request("/configs")["held"]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _print_table([_HEADINGS, *map(_row, found)])
    else:
        click.echo("no config is held", err=True)


@configs.command(short_help="Use the held config of an SDK.")
@click.argument("sdk", metavar="SDK")
@_json_option
@settings_options
@click.pass_obj
def accept(port: DiagnosticsPort, sdk: str, *, as_json: bool) -> None:
    """Use the held config of the SDK; the exit status is 1 if none is held."""
    _decide(port, sdk, "accept", as_json=as_json)


@configs.command(short_help="Drop the held config of an SDK.")
@click.argument("sdk", metavar="SDK")
@_json_option
@settings_options
@click.pass_obj
def reject(port: DiagnosticsPort, sdk: str, *, as_json: bool) -> None:
    """Drop the held config of the SDK until its upstream has another one; the exit status is 1 if none is held."""
    _decide(port, sdk, "reject", as_json=as_json)


def _decide(port: DiagnosticsPort, sdk: str, act: str, *, as_json: bool) -> None:
    from urllib.parse import quote

    decided = port.request(f"/configs/{quote(sdk, safe='')}/{act}", "POST")[f"{act}ed"]
    if as_json:
        click.echo(json.dumps(decided, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{act}ed the held config of SDK {sdk}: {decided['reason']}")


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    since = datetime.fromtimestamp(each["since"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    counts = (str(each[name]) for name in ("added", "removed", "changed", "failing"))
    return (each["sdk_id"], since, *counts, each["reason"])


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
