"""Reading the files of neighbours: YAML, TOML, variables, and the format of Git's configuration."""

from __future__ import annotations

import re
import tomllib
from typing import Final

import yaml

from gateway.migration.neighbour import Tree, Unreadable

_SECTION: Final = re.compile(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]\s*(?:[#;].*)?')
_VARIABLE: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:[#;].*)?')
_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_ESCAPE: Final = re.compile(r"\\(.)")


def read_yaml_tree(text: str) -> Tree:
    """Return a YAML or JSON document.

    :raises Unreadable: if it is not valid, or no mapping
    """
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Unreadable(f"not valid YAML{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unreadable("not valid YAML") from None
    return _mapping(found)


def read_yaml_or_toml(text: str) -> Tree:
    """Return a YAML, JSON or TOML document.

    :raises Unreadable: if it is none of them, or no mapping
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return read_yaml_tree(text)


def _mapping(found: object) -> Tree:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unreadable("not a mapping of options")
    return {str(name): value for name, value in found.items()}


def read_git_config(text: str) -> Tree:
    """Return a file in the format of Git's configuration: ``[Section "name"]``, then ``variable = value``.

    A section with a name becomes a mapping of names; a variable that occurs several times becomes a list.

    :raises Unreadable: if a line has another form
    """
    tree: dict[str, dict[str, object]] = {}
    section: dict[str, object] | None = None
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if heading := _SECTION.fullmatch(stripped):
            section = tree.setdefault(heading[1].capitalize(), {})
            if heading[2] is not None:
                below = section.setdefault(_ESCAPE.sub(r"\1", heading[2]), {})
                assert isinstance(below, dict)
                section = below
        elif (variable := _VARIABLE.fullmatch(stripped)) and section is not None:
            name, value = variable[1], _value(variable[2])
            if name in section:
                earlier = section[name]
                section[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
            else:
                section[name] = value
        else:
            raise Unreadable(f"line {number} is neither [Section] nor variable = value")
    return tree


def _value(written: str | None) -> object:
    if written is None:
        return True  # a variable without a value is switched on
    if quoted := _QUOTED.fullmatch(written):
        return _ESCAPE.sub(r"\1", quoted[1])
    return re.split(r"\s*[#;]", written, maxsplit=1)[0].strip()


def read_variables(text_of_file: str) -> Tree:
    """Return the variables of a file, as Docker and shells read it.

    :raises Unreadable: if a line has another form
    """
    found: dict[str, object] = {}
    for number, line in enumerate(text_of_file.lstrip("\ufeff").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        assigned = _ASSIGNMENT.fullmatch(stripped)
        if assigned is None:
            raise Unreadable(f"line {number} is not of the form NAME=value")
        value = assigned[2].strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if value:
            found[assigned[1]] = value
    return found
