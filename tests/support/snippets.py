"""The marked code blocks of a page of the documentation: ``<!-- MARK -->`` on the line above a block."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from attrs import frozen

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^([ \t]*)<!-- ([^\n]+?) -->\n\1```[a-z]+\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_ANY = re.compile(r"^([ \t]*)```([a-z]+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


@frozen
class Snippet:
    """One block: its mark, and its text without the indentation of the list that it is in."""

    mark: str
    text: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with the output that is shown below it."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def snippets(page: str) -> list[Snippet]:
    """Return the marked blocks of a page below docs."""
    text = (DOCS / page).read_text("utf-8")
    return [Snippet(mark, textwrap.dedent(block)) for _, mark, block in _BLOCK.findall(text)]


def snippet(page: str, mark: str) -> str:
    """Return the text of the one block with this mark."""
    (found,) = (each.text for each in snippets(page) if each.mark == mark)
    return found


def blocks(page: str, language: str) -> list[str]:
    """Return the text of all blocks of a language, marked or not."""
    text = (DOCS / page).read_text("utf-8")
    return [textwrap.dedent(block) for _, found, block in _ANY.findall(text) if found == language]
