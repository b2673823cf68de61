"""YAML text that is broken, hostile or merely unusual."""

from __future__ import annotations

import re

import pytest

from gateway.settings import load
from gateway.settings.parsing.raw import Entries, Items, Raw, Scalar
from gateway.settings.parsing.yaml_text import ENTRY_LIMIT, TEXT_LIMIT, read_yaml

SDK = "sdks: {a: {key: k}}\n"


def plain(raw: Raw | None) -> object:
    match raw:
        case Entries():
            return {key: plain(value) for key, value in raw.entries.items()}
        case Items():
            return [plain(item) for item in raw.items]
        case Scalar():
            return raw.value
    return None


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the same key as in line 1 once more"),
        ("http: {port: 1, port: 2}", 1, 17, "the same key as in line 1 once more"),
        ("a: *hunter2", 1, 4, "an alias (*) without its anchor (&)"),
        ("a: !hunter2 x", 1, 4, "a tag (!) that is not allowed"),
        ("a: !!python/object:os.system {}", 1, 4, "a tag (!) that is not allowed"),
        ("a: !!binary aGk=", 1, 4, "a tag (!) that is not allowed"),
        ("a: {b: 1", 2, 1, "did not find expected ',' or '}'"),
        ("a: 1\n---\nb: 2", 2, 1, "more than one document"),
        ("a: 1\nb: \x07", 2, 4, "a control character is not allowed"),
        ("? [a]\n: 1", 1, 3, "a key must be text"),
        ("a: &x [*x]", 1, 8, "an alias (*) without its anchor (&)"),
        ("a: {<<: 1}", 1, 9, "<< takes a mapping or a list of mappings"),
        ("[" * 100, 1, 33, "nested more than 32 levels deep"),
        ("a: \ud800", None, None, "not valid text: a lone surrogate"),
    ],
)
def test_an_unreadable_text_gives_one_problem_with_its_place(text, line, column, words):
    """The problem names line and column, and repeats nothing of the text."""
    (problem,) = load(text, {}, path="/etc/x.yml").problems
    assert (line, column) == (problem.line, problem.column)
    assert problem.text.startswith(f"failed to parse YAML from config file /etc/x.yml: {words}")
    assert "hunter2" not in repr(problem)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000], ids=["lists", "mappings"])
def test_any_depth_is_one_problem(text):
    """However deep a text is nested, there is one problem and no crash; newer libyaml finds it before we do."""
    (problem,) = load(text, {}, path="/etc/x.yml").problems
    assert 1 == problem.line
    assert re.search("nested more than 32 levels deep|exceeded maximum nesting depth", problem.text)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "~", "---\n"])
def test_an_empty_file_says_nothing(text):
    """A file without content leaves the environment in charge."""
    assert () == load(text, {"CONFIGCAT_SDKS": '{"a":"k"}'}).problems


def test_a_file_that_is_no_mapping_is_told():
    """A list at the top level is not settings."""
    (problem,) = load("[a]", {"CONFIGCAT_SDKS": '{"a":"k"}'}).problems
    assert ("not a mapping", "a list", 1, 1) == (problem.text, problem.found, problem.line, problem.column)


def test_merges_and_aliases_work():
    """Operators may share mappings; what is written out wins, and of several sources the first."""
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {b: 9, <<: [*y, *x]}\nw: *x\n"
    assert {"b": 9, "a": 1, "c": 4} == plain(read_yaml(text).entries["z"])  # type: ignore[union-attr]
    assert {"a": 1, "b": 2} == plain(read_yaml(text).entries["w"])  # type: ignore[union-attr]


def test_explicit_tags_of_plain_types_work():
    """A tag may say what a value is."""
    assert {"a": "1", "b": 1, "c": "x"} == plain(read_yaml("a: !!str 1\nb: !!int '1'\nc: ! x"))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("+1", 1),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("Null", None),
        ("TRUE", True),
        ("2024-01-01", "2024-01-01"),
        ("9" * 5000, "9" * 5000),
        ("-.inf", float("-inf")),
    ],
)
def test_unquoted_values_follow_the_newer_rules(written, value):
    """Only what YAML 1.2 calls a number or a truth value is one."""
    assert {"a": value} == plain(read_yaml(f"a: {written}"))


def test_multiplying_merges_are_stopped():
    """A small file cannot grow into a large one."""
    mapping = ", ".join(f"k{index}: 1" for index in range(1000))
    text = f"x: &x {{{mapping}}}\n" + "".join(f"m{index}: {{<<: *x}}\n" for index in range(300))
    (problem,) = load(text, {}).problems
    assert f"more than {ENTRY_LIMIT} keys and values" in problem.text


def test_an_oversized_text_is_refused():
    """Nobody parses megabytes of settings."""
    (problem,) = load("#" * (TEXT_LIMIT + 1), {}).problems
    assert "longer than" in problem.text


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "[1,", "\ud800", '{"a":NaN}', "[" * 40 + "]" * 40])
def test_unreadable_json_of_a_variable_is_told(value):
    """Broken JSON names the variable and does not show it."""
    loaded = load(SDK, {"CONFIGCAT_HTTP_API_HEADERS": value})
    assert ["CONFIGCAT_HTTP_API_HEADERS"] == [problem.variable for problem in loaded.problems]
