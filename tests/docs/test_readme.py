"""The README's settings, flags and commands are right."""

import json
import re
from pathlib import Path

import pytest

from gateway.flags import User
from gateway.flags import load as load_config
from gateway.settings import load as load_settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FILE_SETTINGS, SDK_SETTINGS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", [FILE_SETTINGS, SDK_SETTINGS], ids=["file", "sdk key"])
def test_the_settings_are_valid(text):
    """A gateway starts with each settings file of the README."""
    loaded = load_settings(text, {}, exists=lambda path: str(path) == "flags.json")
    assert () == loaded.problems
    assert ["shop"] == list(loaded.settings.sdks)


@pytest.mark.parametrize(("country", "value"), [("Germany", "sale"), ("France", "none")])
def test_the_flag_has_the_values_that_the_text_promises(country, value):
    """The flag of `flags.json` is "sale" for users in Germany and "none" for all others."""
    config = load_config(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[0].encode(), "")
    answer = json.loads(config.evaluate("banner", User({"Country": country})).json)
    assert value == answer["value"]
    assert country != "Germany" or f"\n{json.dumps(answer, separators=(',', ':'))}\n" in README


def test_the_commands_are_those_that_the_demo_prints():
    """Each command in the section about `make run` is printed by etc/demo/run, with the default port."""
    demo = (ROOT / "etc/demo/run").read_text("utf-8").replace("$port", "8050").replace("\\$", "$")
    section = README.partition("## What you will see")[2].partition("\n## ")[0]
    commands = re.findall(r"^\$ (.+)$", section, re.MULTILINE)
    assert 3 == len(commands)
    assert [] == [command for command in commands if f"   {command}\n" not in demo]


def test_the_answers_are_those_of_the_demo():
    """What the section about `make run` shows is what the gateway prints, before the edit and after it."""
    section = README.partition("## What you will see")[2].partition("\n## ")[0]
    shown = re.findall(r'\{"value":[^,{}]+,"variationId":"[^"]+"\}', section)
    demo = (ROOT / "etc/demo/config.json").read_text("utf-8")
    edited = demo.replace('"d": 39.0', '"d": 29.0')
    user = User({"Identifier": "zoe", "Country": "France"})
    before, after = (load_config(text.encode(), "").evaluate("freeShippingFrom", user).json for text in (demo, edited))
    assert [before, before, after, after] == [each.encode() for each in shown]
