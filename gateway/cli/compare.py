"""``flaggateway compare``: evaluate all flags for some users at another gateway and at this one."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import IO, TYPE_CHECKING, Any, Final

import attrs
import click

from gateway.cli.output import ScriptCommand, json_option, print_columns, print_json, stop_at_finding
from gateway.text import amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.migration import Protocol

TIMEOUT: Final = 10.0  # seconds for an answer
ANSWER_LIMIT: Final = 64 * 1024 * 1024  # bytes
LINE_LIMIT: Final = 1024 * 1024  # bytes of a user, as of a request's body
OURS: Final = "configcat-proxy"
_PROTOCOLS: Final = (OURS, "ofrep", "unleash-edge", "ld-relay")
_HEADINGS: Final = ("USER", "FLAG", "OLD", "NEW")


def _header_mapping(_context: object, _parameter: object, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [header.partition(":") for header in given]
    if any(not colon or not name.strip() for name, colon, _ in pairs):
        raise click.BadParameter("a header has the form 'NAME: VALUE'")
    return {name.strip(): value.strip() for name, _, value in pairs}


@click.command(cls=ScriptCommand, short_help="Compare evaluations of another gateway with those of this one.")
@click.argument("old")
@click.argument("new")
@click.option("--users", required=True, type=click.File("rb"), help="File with a user per line; - is standard input.")
@click.option("--sdk", required=True, metavar="ID", help="SDK id at NEW.")
@click.option("--old-sdk", metavar="ID", help="SDK id at OLD, if it differs.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), default=OURS, show_default=True, help="Protocol of OLD.")
@click.option("--old-header", multiple=True, metavar="HEADER", callback=_header_mapping, help="'NAME: VALUE' for OLD.")
@click.option("--new-header", multiple=True, metavar="HEADER", callback=_header_mapping, help="'NAME: VALUE' for NEW.")
@json_option
def compare(*, users: IO[bytes], sdk: str, protocol: str, as_json: bool, **given: Any) -> None:
    """Evaluate all flags for each user at OLD and at NEW, base URLs of two gateways, and list the differences.

    A user is a JSON object of attributes, as for the API: {"Identifier": "zoe", "Country": "France"}.  The exit
    status is 2 if a value differs, and 1 if one of the gateways does not answer.
    """
    from gateway.migration import PROTOCOLS, differences

    old = _Side(given["old"], PROTOCOLS[protocol], given["old_sdk"] or sdk, given["old_header"])
    new = _Side(given["new"], PROTOCOLS[OURS], sdk, given["new_header"])
    found: list[dict[str, Any]] = []
    counted = 0
    for number, user in _users(users):
        found += [{"user": number, **attrs.asdict(each)} for each in differences(old.values(user), new.values(user))]
        counted += 1
    if as_json:
        print_json({"users": counted, "differences": found})
    elif found:
        print_columns([_HEADINGS, *(tuple(map(_cell, each.values())) for each in found)])
    click.echo(f"{amount(counted, 'user')} compared, {amount(len(found), 'difference')}", err=True)
    if counted == 0:
        raise click.ClickException("there is no user to compare")
    if found:
        stop_at_finding()


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _users(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the users of a file with the numbers of their lines.

    :raises click.ClickException: if a line is not a JSON object
    """
    number = 0
    while line := file.readline(LINE_LIMIT):
        number += 1
        if not line.strip():
            continue
        try:
            user = json.loads(line)
        except ValueError:
            user = None
        if not isinstance(user, dict):
            raise click.ClickException(f"line {number} of --users: not a JSON object")
        yield number, user


@attrs.frozen
class _Side:
    """One of the two gateways."""

    base: str
    protocol: Protocol
    sdk: str
    headers: Mapping[str, str]

    def values(self, user: Mapping[str, Any]) -> dict[str, object]:
        """Return the values of a user.

        :raises click.ClickException: if the gateway does not answer as expected; the text has no user attribute
        """
        import urllib.error
        import urllib.request

        from gateway.migration import NotComparable

        if not self.base.startswith(("http://", "https://")):
            raise click.ClickException(f"{self.base} is not an http or https URL")
        call = self.protocol.call(user, self.sdk)
        request = urllib.request.Request(  # noqa: S310 - http and https only, see above
            self.base.rstrip("/") + call.path, call.body, {**call.headers, **self.headers}, method=call.method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return self.protocol.values(json.loads(answer.read(ANSWER_LIMIT)))
        except urllib.error.HTTPError as error:
            error.close()
            raise click.ClickException(f"{self.base} answers {error.code}") from None
        except (OSError, HTTPException) as error:
            raise click.ClickException(f"{self.base}: {getattr(error, 'reason', error)}") from None
        except NotComparable as error:
            raise click.ClickException(f"{self.base}: {error}") from None
        except ValueError:
            raise click.ClickException(f"{self.base}: the answer is not JSON") from None
