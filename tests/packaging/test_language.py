"""The project's words: terms that the glossary replaced do not come back."""

from __future__ import annotations

import re

import pytest

from tracked import ROOT, tracked_files

# Instead: webhook; ConfigCat Proxy; notified, sent or logged; a plain relative clause.
REPLACED = re.compile(
    r"web hooks?|\bthe peer\b|\btold\b|\bwhom\b|\bwhoever\b|\banew\b|\bby and by\b|that there (is|are)\b", re.IGNORECASE
)
KEPT = re.compile(r"--kill-whom|\bminute, told\b|\btold +BLOB")  # an option of systemctl; a column of a database
PLACES = ("gateway", "docs", "README.md")


@pytest.mark.parametrize("place", PLACES)
def test_replaced_terms_are_not_used(place):
    """No line of the code or of the documentation uses a term that the glossary replaced."""
    found = []
    for name in tracked_files():
        if name.parts[0] == place and name.suffix not in {".svg", ".webp"}:
            for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1):
                found += [f"{name}:{number}: {line.strip()}"] if REPLACED.search(KEPT.sub("", line)) else []
    assert [] == found


def test_the_check_finds_each_term():
    """The pattern matches what it is for, in any case, and leaves longer words alone."""
    samples = [
        "a web hook",
        "Web hooks",
        "the peer",
        "was told",
        "whom",
        "whoever",
        "anew",
        "by and by",
        "that there is",
    ]
    assert samples == [text for text in samples if REPLACED.search(text)]
    assert [] == [text for text in ["webhook", "the peers", "toldo", "whomever", "newanew"] if REPLACED.search(text)]
