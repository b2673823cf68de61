"""YAML text that is invalid, hostile or unusual."""

from __future__ import annotations

import re

import pytest

from gateway.settings import load
from gateway.settings.parsing.nodes import ListNode, MappingNode, Node, ScalarNode
from gateway.settings.parsing.yaml_text import ENTRY_LIMIT, TEXT_LIMIT, read_yaml


def plain(node: Node | None) -> object:
    match node:
        case MappingNode():
            return {key: plain(value) for key, value in node.entries.items()}
        case ListNode():
            return [plain(item) for item in node.items]
        case ScalarNode():
            return node.value
    return None


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key already exists in line 1"),
        ("http: {port: 1, port: 2}", 1, 17, "the key already exists in line 1"),
        ("a: *hunter2", 1, 4, "an alias (*) without its anchor (&)"),
        ("a: !hunter2 x", 1, 4, "a tag (!) that is not allowed"),
        ("a: !!python/object:os.system {}", 1, 4, "a tag (!) that is not allowed"),
        ("a: !!binary aGk=", 1, 4, "a tag (!) that is not allowed"),
        ("a: {b: 1", 2, 1, "did not find expected ',' or '}'"),
        ("a: 1\n---\nb: 2", 2, 1, "more than one document"),
        ("a: 1\nb: \x07", 2, 4, "a control character is not allowed"),
        ("? [a]\n: 1", 1, 3, "a key must be text"),
        ("a: &x [*x]", 1, 8, "an alias (*) without its anchor (&)"),
        ("a: {<<: 1}", 1, 9, "<< must be followed by a mapping or a list of mappings"),
        ("[" * 100, 1, 33, "nested more than 32 levels deep"),
        ("a: \ud800", None, None, "not valid Unicode: it contains a lone surrogate"),
    ],
)
def test_invalid_yaml_gives_one_problem_with_its_position(text, line, column, words):
    """The problem has line and column and quotes nothing of the text."""
    (problem,) = load(text, {}, path="/etc/x.yml").problems
    assert (line, column) == (problem.line, problem.column)
    assert problem.text.startswith(f"failed to parse YAML from config file /etc/x.yml: {words}")
    assert "hunter2" not in repr(problem)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000], ids=["lists", "mappings"])
def test_any_depth_is_one_problem(text):
    """Deep nesting gives one problem and no crash; newer versions of libyaml have a limit of their own."""
    (problem,) = load(text, {}, path="/etc/x.yml").problems
    assert 1 == problem.line
    assert re.search("nested more than 32 levels deep|exceeded maximum nesting depth", problem.text)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "~", "---\n"])
def test_an_empty_file_sets_nothing(text):
    """With an empty file the settings come from the environment."""
    assert () == load(text, {"CONFIGCAT_SDKS": '{"a":"k"}'}).problems


def test_a_file_that_is_no_mapping_is_a_problem():
    """A list at the top level is refused."""
    (problem,) = load("[a]", {"CONFIGCAT_SDKS": '{"a":"k"}'}).problems
    assert ("not a mapping", "a list", 1, 1) == (problem.text, problem.found, problem.line, problem.column)


def test_merges_and_aliases_work():
    """Explicit keys have priority over merged ones, and earlier sources over later ones."""
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {b: 9, <<: [*y, *x]}\nw: *x\n"
    assert {"b": 9, "a": 1, "c": 4} == plain(read_yaml(text).entries["z"])  # type: ignore[union-attr]
    assert {"a": 1, "b": 2} == plain(read_yaml(text).entries["w"])  # type: ignore[union-attr]


def test_explicit_tags_of_plain_types_work():
    """A tag of a plain type sets the type of a value."""
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
def test_unquoted_values_follow_yaml_1_2(written, value):
    """Only numbers, booleans and null of YAML 1.2 are not text."""
    assert {"a": value} == plain(read_yaml(f"a: {written}"))


def test_multiplying_merges_are_refused():
    """Merges cannot expand a small file beyond the limit."""
    mapping = ", ".join(f"k{index}: 1" for index in range(1000))
    text = f"x: &x {{{mapping}}}\n" + "".join(f"m{index}: {{<<: *x}}\n" for index in range(300))
    (problem,) = load(text, {}).problems
    assert f"more than {ENTRY_LIMIT} keys and values" in problem.text


def test_an_oversized_text_is_refused():
    """A file above the limit is not parsed."""
    (problem,) = load("#" * (TEXT_LIMIT + 1), {}).problems
    assert "longer than" in problem.text
