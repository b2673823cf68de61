"""The official SDKs for Go, JavaScript and Python as evaluators: a config and users in, the result of every flag out.

The SDKs for Go and JavaScript run in child processes that answer each line with one line:

    {"config": {...}, "users": [{"Email": "a@example.com"}, null]}
    {"results": [{"flag": [value, "variation ID", matched, error]}, ...]}    or    {"refused": "reason"}

``matched`` is true if a targeting rule or a percentage option chose the value; ``error`` is null or a text.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, Self

import attrs
from configcatclient.config import fixup_config_salt_and_segments
from configcatclient.rolloutevaluator import RolloutEvaluator
from configcatclient.user import User as PythonUser

E2E = Path(__file__).resolve().parent.parent / "e2e"
GO_PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin"
UNSAFE = 2**53 - 1  # larger integers are no integers in JavaScript

Json = Mapping[str, Any]


@attrs.frozen
class Answer:
    """The result of one flag for one user; ``refused`` if the SDK did not accept the whole config."""

    value: Any
    variation_id: str
    matched: bool
    error: str | None
    refused: bool = False


class Unavailable(Exception):
    """An SDK cannot run here; ``expected`` if its language is installed, so that this is a fault of the setup."""

    def __init__(self, reason: str, *, expected: bool) -> None:
        super().__init__(reason)
        self.expected = expected


class OfficialSdk(Protocol):
    """One of the SDKs; a context manager."""

    name: str

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(self, *_: object) -> None:
        """End it."""

    def evaluate(self, config: Json, users: Sequence[Json | None]) -> list[dict[str, Answer]]:
        """Return the answers of each user by flag key."""


class ChildSdk:
    """An SDK in a child process, which starts with ``__enter__`` and serves any number of configs."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Take the command that starts it."""
        self.name = name
        self._command = command

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(
            self._command, cwd=E2E / "clients", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def evaluate(self, config: Json, users: Sequence[Json | None]) -> list[dict[str, Answer]]:
        """Return the answers of each user by flag key."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"config": config, "users": users}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line.endswith(b"\n"), f"the {self.name} SDK ended: {self._process.wait()}"
        answer = json.loads(line)
        if "refused" in answer:
            refused = Answer(None, "", False, answer["refused"], refused=True)
            return [dict.fromkeys(config["f"], refused) for _ in users]
        return [{key: Answer(*found) for key, found in one.items()} for one in answer["results"]]


class JavaScriptSdk(ChildSdk):
    """The JavaScript SDK; it refuses configs with integers beyond 2**53, so these are replaced by others for it."""

    def evaluate(self, config: Json, users: Sequence[Json | None]) -> list[dict[str, Answer]]:
        """Return the answers of each user by flag key."""
        originals: dict[int, int] = {}
        answers = super().evaluate(_with_safe_integers(config, originals), users)
        return [{key: _restored(answer, originals) for key, answer in one.items()} for one in answers]


def _with_safe_integers(part: Any, originals: dict[int, int]) -> Any:
    if isinstance(part, dict):
        return {name: _with_safe_integers(inner, originals) for name, inner in part.items()}
    if isinstance(part, list):
        return [_with_safe_integers(inner, originals) for inner in part]
    if isinstance(part, int) and abs(part) > UNSAFE:
        stand_in = 10**15 + part % 10**9
        assert originals.setdefault(stand_in, part) == part
        return stand_in
    return part


def _restored(answer: Answer, originals: Mapping[int, int]) -> Answer:
    if type(answer.value) is int and answer.value in originals:
        return attrs.evolve(answer, value=originals[answer.value])
    return answer


class _Silence:
    """A logger for the Python SDK."""

    def warning(self, *args: object, **kwargs: object) -> None:
        pass

    error = info = warning


class PythonSdk:
    """The Python SDK, in this process."""

    name = "python"

    def __enter__(self) -> Self:
        """Start it."""
        self._evaluator = RolloutEvaluator(_Silence())
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""

    def evaluate(self, config: Json, users: Sequence[Json | None]) -> list[dict[str, Answer]]:
        """Return the answers of each user by flag key."""
        config = copy.deepcopy(dict(config))
        fixup_config_salt_and_segments(config)
        return [{key: self._evaluate(key, user, config) for key in config["f"]} for user in map(_python_user, users)]

    def _evaluate(self, key: str, user: PythonUser | None, config: Json) -> Answer:
        value, variation, rule, option, error = self._evaluator.evaluate(key, user, None, "", config, None)
        return Answer(value, variation or "", rule is not None or option is not None, error)


def _python_user(attributes: Json | None) -> PythonUser | None:
    if attributes is None:
        return None
    own = {name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()}
    named = [own.pop(name, None) for name in ("Identifier", "Email", "Country")]
    return PythonUser(named[0], email=named[1], country=named[2], custom=own)


def go_sdk() -> OfficialSdk:
    """Return the Go SDK, compiled with the ``go`` command.

    :raises Unavailable: without ``go``, or if the SDK's module cannot be fetched
    """
    go = shutil.which("go", path=GO_PLACES)
    if go is None:
        raise Unavailable("the Go SDK, because go is not installed", expected=False)
    return ChildSdk("go", [_build(go)])


@cache
def _build(go: str) -> str:
    folder = TemporaryDirectory(prefix="flaggateway-go-sdk-")
    _folders.append(folder)
    command = [go, "build", "-o", folder.name, "."]
    built = subprocess.run(command, cwd=E2E / "clients/go_sdk", capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise Unavailable(f"the Go SDK, because `go build` failed: {built.stderr.strip()}", expected=True)
    return str(Path(folder.name) / "go_sdk")


_folders: list[TemporaryDirectory[str]] = []  # deleted when this process ends


def javascript_sdk() -> OfficialSdk:
    """Return the JavaScript SDK, run by Node.

    :raises Unavailable: without Node or its packages
    """
    node = shutil.which("node")
    if node is None:
        raise Unavailable("the JavaScript SDK, because node is not installed", expected=True)
    if not (E2E / "node_modules/@configcat/sdk").is_dir():
        raise Unavailable("the JavaScript SDK, because the packages of tests/e2e are not installed", expected=True)
    return JavaScriptSdk("javascript", [node, "js_sdk.mjs"])


def python_sdk() -> OfficialSdk:
    """Return the Python SDK, a dependency of the tests."""
    return PythonSdk()


MAKERS = (go_sdk, javascript_sdk, python_sdk)


def available_sdks() -> tuple[list[OfficialSdk], list[Unavailable]]:
    """Return the SDKs that can run here, not yet started, and why the others cannot."""
    found: list[OfficialSdk] = []
    lacking: list[Unavailable] = []
    for make in MAKERS:
        try:
            found.append(make())
        except Unavailable as error:
            lacking.append(error)
    return found, lacking
