"""Requests to the diagnostics port of a running gateway."""

from __future__ import annotations

import base64
import json
import os
import sys
from contextlib import contextmanager
from functools import cached_property, wraps
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, cast

import click
from attrs import define

from gateway.cli.options import Command, settings_options, settings_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from http.client import HTTPResponse

TIMEOUT: Final = 10.0  # seconds for an answer
SILENCE: Final = 60.0  # seconds without a byte of a stream; the gateway sends one every 15
EVENT_LIMIT: Final = 16 * 1024 * 1024  # bytes of a line of a stream
ANSWER_LIMIT: Final = 80 * 1024 * 1024  # bytes; an answer may contain a config of ``upstream.max_bytes``
PASSWORD: Final = "FLAGGATEWAY_PASSWORD"  # noqa: S105 - the name of a variable; an argument would be visible to others
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing is bound here


class NotReached(click.ClickException):
    """No gateway answers."""


@define(slots=False)
class DiagnosticsPort:
    """The diagnostics port that the command line names, else that of the settings; ``user`` is one of its users."""

    url: str | None
    user: str | None = None

    @cached_property
    def login(self) -> Mapping[str, str]:
        """The header of the login; empty without a user.

        :raises click.ClickException: if the environment has no password, and there is no terminal to type it
        """
        if self.user is None:
            return {}
        password = os.environ.get(PASSWORD)
        if password is None:
            if not sys.stdin.isatty():
                raise click.ClickException(f"set {PASSWORD} to the password of {self.user}")
            password = str(click.prompt(f"Password of {self.user}", hide_input=True, err=True))
        pair = f"{self.user}:{password}".encode("utf-8", "surrogateescape")
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def request(
        self, path: str, method: str = "GET", body: object = None, *, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        """Return the answer, which may take ``timeout`` seconds; ``body`` is sent as JSON.

        :raises NotReached: if there is none
        :raises click.ClickException: if it is an error
        """
        with self._opened(path, method, body, timeout) as (base, answer):
            try:
                found: dict[str, Any] = json.loads(answer.read(ANSWER_LIMIT))
            except ValueError:
                raise click.ClickException(f"{base} is not the diagnostics port of a flaggateway") from None
        return found

    def events(self, path: str, method: str = "GET", body: object = None) -> Iterator[tuple[str, Any]]:
        """Yield the name and the decoded data of each server-sent event, until the gateway ends the stream.

        :raises NotReached: if there is no gateway, and when the connection is lost
        :raises click.ClickException: if the answer is an error
        """
        with self._opened(path, method, body, SILENCE) as (_, answer):
            name, data = "message", b""
            while line := answer.readline(EVENT_LIMIT):
                field, _, value = line.rstrip(b"\r\n").partition(b":")
                if field == b"event":
                    name = value.strip().decode()
                elif field == b"data":
                    data += value.removeprefix(b" ")
                elif not line.strip() and data:
                    yield name, json.loads(data)
                    name, data = "message", b""

    @contextmanager
    def _opened(self, path: str, method: str, body: object, timeout: float) -> Iterator[tuple[str, HTTPResponse]]:
        """Send a request; give the base URL and the answer, whose status is 200."""
        import urllib.error
        import urllib.request

        base, headers = self._target()
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(base + path, data, {**headers, **self.login}, method=method)  # noqa: S310 - see _target
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=timeout) as answer:
                yield base, answer
        except urllib.error.HTTPError as error:
            with error:
                text = _error_text(error.read(ANSWER_LIMIT)) or f"answered {error.code}"
                text += f"; name one with --login, and set {PASSWORD}" if error.code == 401 and not self.user else ""
            raise click.ClickException(f"{base}: {text}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NotReached(f"{base}: {reason}; is the gateway running? --url names its port") from None
        except ValueError:
            raise click.ClickException(f"{base} is not the diagnostics port of a flaggateway") from None

    def _target(self) -> tuple[str, Mapping[str, str]]:
        """Return the base URL and the headers to send; settings that cannot be used are no problem with ``--url``."""
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise click.ClickException("--url is not an http or https URL")
        settings = settings_sources().file().read().settings
        if settings is None:
            if self.url is None:
                raise click.ClickException("the settings cannot be used, see: flaggateway check; or use --url")
            return self.url.rstrip("/"), {}
        if self.url is None and not settings.diag.enabled:
            raise click.ClickException("diag.enabled is false, so there is no diagnostics port")
        bind = settings.diag.bind
        host = _EVERYWHERE.get(bind) or (f"[{bind}]" if ":" in bind else bind)
        return (self.url or f"http://{host}:{settings.diag.port}").rstrip("/"), settings.diag.auth_headers


def gateway_options(*names: str) -> Callable[[Command], Command]:
    """Add ``--url``, ``--login`` and the options of the settings; the command gets ``port``, a ``DiagnosticsPort``.

    ``names`` are other names of ``--login``.
    """

    def decorate(command: Command) -> Command:
        @settings_options
        @click.option("--url", help="Base URL of the diagnostics port; by default that of the settings.")
        @click.option(
            "--login",
            *names,
            "login",
            metavar="NAME",
            help=f"A user of diag.users; the password is in the variable {PASSWORD}, or typed.",
        )
        @wraps(command)
        def with_port(*args: Any, url: str | None, login: str | None, **options: Any) -> Any:
            return command(*args, port=DiagnosticsPort(url, login), **options)

        return cast("Command", with_port)

    return decorate


def choose_sdk(port: DiagnosticsPort, given: str | None) -> str:
    """Return the SDK that is meant.

    :raises click.ClickException: if none is named, and the gateway does not have exactly one
    """
    if given is not None:
        return given
    ids = [str(sdk["id"]) for sdk in port.request("/api/v1/overview")["sdks"]]
    if len(ids) != 1:
        raise click.ClickException(f"name the SDK with --sdk{': ' if ids else ''}{', '.join(ids)}")
    return ids[0]


def _error_text(body: bytes) -> str:
    try:
        document = json.loads(body)
        return str(document["error"] if "error" in document else document["reason"])  # /readyz has a reason
    except (ValueError, KeyError, TypeError):
        return ""
