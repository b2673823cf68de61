"""The command group, `run` and `schema`."""

from __future__ import annotations

import json
import sys

import pytest

from gateway import __version__
from gateway.cli import main
from gateway.settings import documents, json_schema

COMMANDS = [
    "changes",
    "check",
    "explain",
    "healthcheck",
    "impact",
    "init",
    "run",
    "schema",
    "status",
    "streams",
    "tail",
]


def test_help_names_every_command(runner):
    """Each command has a line that is not cut off."""
    text = runner.invoke(main, ["--help"]).stdout
    for line in (
        "changes      List the changes of configs, or show one.",
        "check        Validate the settings and print the effective ones.",
        "deliveries   List, show, retry, test, purge and move webhook messages.",
        "explain      Explain why a user gets a flag's value.",
        "healthcheck  Test whether a running gateway is ready for traffic.",
        "impact       Show what a candidate config would change for users.",
        "init         Write a commented settings file to start from.",
        "password     Print the hash of a password for diag.users.",
        "run          Run the gateway in the foreground.",
        "schema       Print the JSON Schema of the settings file.",
        "status       Show the health of a running gateway.",
        "streams      Count the open streams by SDK, flag, mode and worker.",
        "tail         Show what one user is sent, live, and why.",
    ):
        assert line in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(runner, command):
    """Every command has its usage, and shows no hidden option."""
    result = runner.invoke(main, [command, "--help"])
    assert (0, True, False) == (result.exit_code, "Usage:" in result.stdout, "write-docs" in result.stdout)


def test_version_is_that_of_the_package(runner):
    """The version comes from the package."""
    assert f"flaggateway, version {__version__}\n" == runner.invoke(main, ["--version"]).stdout


@pytest.mark.parametrize(("arguments", "more"), [([], []), (["-c", "some.yml"], ["--config", "{cwd}/some.yml"])])
def test_run_is_twistd_in_the_foreground(runner, monkeypatch, tmp_path, arguments, more):
    """No daemon, no pid file in the current directory, log to the terminal, and an absolute path."""
    from twisted.scripts import twistd

    seen: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(twistd, "run", lambda: seen.append(sys.argv[1:]))
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert 0 == runner.invoke(main, ["run", *arguments]).exit_code
    expected = ["--nodaemon", "--pidfile=", "--logfile=-", "flaggateway", *(part.format(cwd=tmp_path) for part in more)]
    assert [expected] == seen


def test_schema_prints_the_json_schema(runner):
    """Editors get the schema on standard output."""
    assert json_schema() == json.loads(runner.invoke(main, ["schema"]).stdout)


def test_schema_writes_the_documents(runner, tmp_path):
    """One command brings every generated file up to date."""
    assert 0 == runner.invoke(main, ["schema", "--write-docs", str(tmp_path)]).exit_code
    assert documents() == {name: (tmp_path / name).read_text(encoding="utf-8") for name in documents()}


def test_importing_the_command_chooses_no_reactor():
    """The command can be imported, and the help printed, before a reactor is chosen."""
    import subprocess

    code = "import sys, gateway.cli; print('twisted.internet.reactor' in sys.modules, 'klein' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False False" == done.stdout.strip()
