"""The pages about migration: their commands are valid, and each neighbour has one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from gateway.cli.command import main
from gateway.migration import NEIGHBOURS

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs/migration").glob("*.md"))


def commands(page: Path) -> list[list[str]]:
    """The commands of `flaggateway` on a page: in blocks and in tables."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^\s*(?:\$ )?(flaggateway .+)$", text, re.MULTILINE)
    found += re.findall(r"`(flaggateway \w+ -[^`]+)`", text)
    return [shlex.split(command)[1:] for command in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_are_valid(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option and argument exists."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.jsonl").touch()
    assert commands(page)
    for name, *arguments in commands(page):
        with main.commands[name].make_context(name, arguments) as context:
            assert context.params


def test_each_neighbour_has_a_page_with_the_same_parts() -> None:
    """Named like its option, and listed on the first page."""
    index = next(page for page in PAGES if page.stem == "README").read_text("utf-8")
    for name in NEIGHBOURS:
        page = next(page for page in PAGES if page.stem == name).read_text("utf-8")
        parts = ["What works the same", "What differs", "What is missing", "Side by side"]
        assert parts == re.findall(r"^## (.+)$", page, re.MULTILINE)
        assert f"import --from {name} " in index
        assert f"import --from {name} " in page


def test_the_users_of_the_example_are_json() -> None:
    """One object per line, as the command expects."""
    text = next(page for page in PAGES if page.stem == "README").read_text("utf-8")
    block = re.search(r"<!-- file: users.jsonl -->\n\s+```json\n(.*?)```", text, re.DOTALL)
    assert block is not None
    users = [json.loads(line) for line in block[1].split("\n") if line.strip()]
    assert ["anna", "zoe"] == [user["Identifier"] for user in users]
