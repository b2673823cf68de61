"""The files that are generated from the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import documents, load
from gateway.settings.fields import options
from gateway.settings.reference import REGENERATE, sample

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(documents()))
def test_no_document_is_stale(name):
    """The committed files equal what the schema generates."""
    written = (ROOT / name).read_text(encoding="utf-8")
    assert documents()[name] == written, f"stale: run `{REGENERATE}`"


def uncommented() -> str:
    lines = sample().splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith(("##", "# ")))


def test_the_sample_changes_nothing_as_it_is():
    """All of the sample is commented out."""
    assert (
        load(None, {"CONFIGCAT_SDKS": '{"a":"k"}'}).settings == load(sample(), {"CONFIGCAT_SDKS": '{"a":"k"}'}).settings
    )


def test_the_uncommented_sample_equals_the_defaults():
    """The uncommented sample has every option with its default."""
    environ = {"CONFIGCAT_SDKS": '{"my-sdk":"k"}'}
    loaded = load(uncommented(), environ)
    assert () == loaded.problems
    assert load(None, environ).settings == loaded.settings
    assert not any("unknown" in warning.text for warning in loaded.warnings)


def test_the_examples_of_the_sample_are_valid():
    """Every example is a valid value of its option."""
    for option in options():
        example = option.field.info.example
        if not example:
            continue
        *sections, name = [str(part).replace("<id>", "my-sdk") for part in option.path]
        text = f"{name}: {example}"
        for section in reversed(sections):
            text = f"{section}: {{{text}}}"
        paths = {problem.path for problem in load(text, {}).problems}
        assert not any(path.startswith(".".join([*sections, name])) for path in paths), text
