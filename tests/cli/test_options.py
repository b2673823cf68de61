"""The settings file and the environment file of every command."""

import json
import sqlite3

import pytest

from gateway.cli import main, options
from outbox_memory import DirectStore

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
SETTINGS = "http: {port: 9050}\n"


@pytest.fixture
def unit(tmp_path, monkeypatch):
    """The files of a systemd unit: settings without an SDK, whose key is only in the environment file."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "flaggateway.yml").write_text(SETTINGS)
    (folder / "environment").write_text(f"CONFIGCAT_SDKS='{json.dumps({'shop': KEY})}'\nCONFIGCAT_DIAG_PORT=9051\n")
    monkeypatch.setattr(options, "UNIT_FOLDER", folder)
    monkeypatch.setattr(options, "UNIT_ENVIRONMENT", folder / "environment")
    return folder


def checked(runner, *arguments):
    """Return the settings that ``check`` prints."""
    result = runner.invoke(main, [*arguments, "--json"])
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)["settings"]


def test_the_environment_file_of_the_unit_is_read_with_its_settings(runner, unit):
    """The runbook's check works although the keys are only in the unit's environment file."""
    settings = checked(runner, "check", "-c", str(unit / "flaggateway.yml"))
    assert ["shop"] == list(settings["sdks"])
    assert (9050, 9051) == (settings["http"]["port"], settings["diag"]["port"])


def test_other_settings_do_not_take_the_variables_of_the_unit(runner, unit, tmp_path):
    """A file elsewhere is another gateway."""
    other = tmp_path / "other.yml"
    other.write_text(SETTINGS)
    result = runner.invoke(main, ["check", "-c", str(other)])
    assert 1 == result.exit_code
    assert "at least 1 SDK" in result.output


def test_an_environment_file_can_be_named(runner, unit, tmp_path):
    """For a unit with files of its own; variables of the process have priority."""
    other = tmp_path / "other.yml"
    other.write_text(SETTINGS)
    arguments = ["check", "-c", str(other), "--environment-file", str(unit / "environment")]
    assert 9051 == checked(runner, *arguments)["diag"]["port"]
    runner.env["CONFIGCAT_DIAG_PORT"] = "9052"
    assert 9052 == checked(runner, *arguments)["diag"]["port"]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("A='x", "line 1: a quote is not closed"), ("x", "NAME=value")]
)
def test_a_named_environment_file_must_be_usable(runner, tmp_path, content, reason):
    """One line says why it is not."""
    path = tmp_path / "environment"
    if content is not None:
        path.write_text(content)
    result = runner.invoke(main, ["check", "--environment-file", str(path)])
    assert 1 == result.exit_code
    assert reason in result.output
    assert 1 == result.output.count("\n")


def test_a_unit_file_that_may_not_be_read_gives_a_warning(runner, unit, monkeypatch):
    """The command goes on, and says which variables are missing; root, who runs the tests, may read every file."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(options, "read_environment", refuse)
    result = runner.invoke(main, ["check", "-c", str(unit / "flaggateway.yml")])
    assert "run the command as root" in result.output
    assert "at least 1 SDK" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "FILE", "deliveries", "list"],
        ["deliveries", "-c", "FILE", "list"],
        ["deliveries", "list", "-c", "FILE"],
        ["-c", "/nowhere.yml", "deliveries", "list", "-c", "FILE"],
    ],
)
def test_the_settings_file_may_be_named_before_and_after_the_sub_command(runner, tmp_path, arguments):
    """The option closest to the end counts."""
    outbox = tmp_path / "outbox.sqlite3"
    DirectStore(str(outbox)).connection.close()
    settings = tmp_path / "flaggateway.yml"
    settings.write_text(f"sdks: {{shop: {{key: {KEY}}}}}\noutbox: {{path: {outbox}}}\n")
    result = runner.invoke(main, [str(settings) if each == "FILE" else each for each in arguments])
    assert (0, "no deliveries\n") == (result.exit_code, result.output)
    assert sqlite3.connect(outbox).execute("SELECT count(*) FROM messages").fetchone() == (0,)


@pytest.mark.parametrize(
    "text", ["", "sdks: {shop: {}}\n", "http: {port: text}\n", "webhooks: [{name: ops, url: x, ca_file: /nowhere}]\n"]
)
def test_deliveries_needs_only_the_settings_that_it_uses(runner, tmp_path, text):
    """The gateway would not start with these settings, but its outbox can be read."""
    outbox = tmp_path / "outbox.sqlite3"
    DirectStore(str(outbox)).connection.close()
    settings = tmp_path / "flaggateway.yml"
    settings.write_text(f"{text}outbox: {{path: {outbox}}}\n")
    assert 1 == runner.invoke(main, ["check", "-c", str(settings)]).exit_code
    result = runner.invoke(main, ["deliveries", "-c", str(settings), "list", "--json"])
    assert (0, "[]\n") == (result.exit_code, result.output)


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        ("outbox: {path: [a]}\n", ["list"], "outbox.path (line 1, column 16): wrong type"),
        ("webhooks: ops\noutbox: {path: OUTBOX}\n", ["test", "ops"], "webhooks (line 1, column 11): wrong type"),
        ("a: [\n", ["list"], "failed to parse YAML"),
        (None, ["list"], "does not exist"),
    ],
)
def test_deliveries_names_the_setting_that_stops_it(runner, tmp_path, text, arguments, reason):
    """Only problems of the settings that the command uses are shown."""
    outbox = tmp_path / "outbox.sqlite3"
    DirectStore(str(outbox)).connection.close()
    settings = tmp_path / "flaggateway.yml"
    if text is not None:
        settings.write_text(text.replace("OUTBOX", str(outbox)))
    result = runner.invoke(main, ["deliveries", "-c", str(settings), *arguments])
    assert 1 == result.exit_code
    assert reason in result.output
    assert "at least 1 SDK" not in result.output
    assert "--database" in result.output
