"""`flaggateway explain`."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main

CONFIG = """{"p":{"s":"salt"},"s":[],"f":{"theFlag":{"t":0,"v":{"b":false},"i":"v0","r":[
  {"c":[{"u":{"a":"Country","c":0,"l":["DE"]}}],"s":{"v":{"b":true},"i":"v1"}}]}}}"""


@pytest.fixture
def explain(runner, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(CONFIG)
    return lambda *more: runner.invoke(main, ["explain", "--config-json", str(file), *more])


@pytest.mark.parametrize(("country", "value"), [("DE", True), ("FR", False)])
def test_the_deciding_rule_is_named(explain, country, value):
    """The value depends on the user; text and JSON name the rule."""
    user = json.dumps({"Country": country})
    shown, plain = explain("--user", user, "theFlag"), explain("--user", user, "--json", "theFlag")
    assert (0, 0, value) == (shown.exit_code, plain.exit_code, json.loads(plain.stdout)["value"])
    assert f"theFlag = {str(value).lower()}" in shown.stdout
    assert "Country" in shown.stdout


def test_a_byte_order_mark_is_ignored(runner, tmp_path):
    """A file as an editor on Windows writes it."""
    (tmp_path / "config.json").write_text("\ufeff" + CONFIG, "utf-8")
    shown = runner.invoke(main, ["explain", "--config-json", str(tmp_path / "config.json"), "--json", "theFlag"])
    assert json.loads(shown.stdout)["value"] is False


def test_a_user_is_optional(explain):
    """Without a user the default is served."""
    assert json.loads(explain("--json", "theFlag").stdout)["value"] is False


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["theFlg"], 1, "has no flag 'theFlg'; did you mean 'theFlag'?"),
        (["qqq"], 1, "has no flag 'qqq'\n"),
        (["--user", "{", "theFlag"], 1, "--user: not valid JSON at column 2"),
        (["--user", "[" * 100_000, "theFlag"], 1, "--user: not valid JSON"),
        (["--user", '{"a": {}}', "theFlag"], 1, "--user: 'a' has an invalid type"),
        (["--user", "7", "theFlag"], 1, "--user: "),
    ],
)
def test_wrong_input_gets_one_line(explain, arguments, status, words):
    """Wrong input gives a message and a status, and no traceback."""
    result = explain(*arguments)
    assert (status, True) == (result.exit_code, words in result.stderr)
    assert isinstance(result.exception, SystemExit)


def test_a_file_that_is_no_config_json_is_named(runner, tmp_path):
    """The message names the file, whether it is missing or not a config JSON."""
    file = tmp_path / "x.json"
    missing = runner.invoke(main, ["explain", "--config-json", str(file), "f"])
    file.write_text("nonsense")
    broken = runner.invoke(main, ["explain", "--config-json", str(file), "f"])
    assert (1, 1) == (missing.exit_code, broken.exit_code)
    assert f"Could not open file '{file}': No such file or directory" in missing.stderr
    assert f"{file} is not a usable config JSON: " in broken.stderr


def test_default_attributes_of_named_settings_are_used(explain, tmp_path):
    """With ``-c`` those of the SDK and of all SDKs, as a gateway with these settings would; attributes win."""
    settings = tmp_path / "flaggateway.yml"
    sdk = f"key: configcat-sdk-1/{'a' * 22}/{'b' * 22}, default_user_attributes: {{Country: DE}}"
    settings.write_text(f"sdks: {{one: {{{sdk}}}}}\ndefault_user_attributes: {{Country: FR}}\n")
    given = ("-c", str(settings), "--json", "theFlag")
    assert True is json.loads(explain(*given).stdout)["value"]
    assert False is json.loads(explain(*given, "--user", '{"Country": "FR"}').stdout)["value"]
    wrong = explain(*given, "--sdk", "two")
    assert (1, True) == (wrong.exit_code, "name the SDK with --sdk: one" in wrong.stderr)


def test_moments_need_a_gateway(explain):
    """A file has one moment."""
    result = explain("--at", "2026-05-01", "theFlag")
    assert (1, True) == (result.exit_code, "need a running gateway" in result.stderr)
