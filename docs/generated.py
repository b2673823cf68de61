"""The parts of the site that come from the code: routes from OpenAPI, commands from click, types of events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from gateway.cli import main

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def part(name: str) -> str:
    """Return the Markdown for a mark ``<!-- generated: NAME -->``."""
    parts = {"main routes": main_routes, "api": api, "commands": commands, "event types": event_types}
    return more_guides() if name == "more guides" else parts[name]()


def more_guides() -> str:
    """Return the names of the pages that the table of contents does not list otherwise."""
    listed = set(re.findall(r"^[\w/-]+$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    pages = (path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md"))
    return "\n".join(sorted(page for page in pages if page not in listed | {"index"}))


def main_routes() -> str:
    """Return the table of routes of the README."""
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme.partition("## Routes")[2].partition("\n## ")[0].split("\n\n")
    return next(block for block in table if block.startswith("| route")).replace("](docs/", "](../")


def api() -> str:
    """Return the routes of the API by their paths, with parameters, body and answers."""
    document = json.loads((ROOT / "gateway/console/openapi.json").read_text("utf-8"))
    lines = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += [f"### `{method.upper()} {path}`", "", described(operation), ""]
            lines += parameters(operation.get("parameters", []), document)
            lines += body(operation.get("requestBody"), document)
            lines += answers(operation["responses"], document)
    return "\n".join(lines)


def described(operation: dict[str, Any]) -> str:
    """Return the summary and the description."""
    texts = [operation.get("summary", ""), operation.get("description", "")]
    return " ".join(dict.fromkeys(text for text in texts if text))


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    found: Any = schema
    while "$ref" in found:
        reference, found = found["$ref"], document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    return dict(found)


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def kind(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """Return the type of a value in words."""
    found = resolved(schema, document)
    if "enum" in found:
        return " or ".join(f"`{json.dumps(value)}`" for value in found["enum"])
    if "anyOf" in found or "oneOf" in found:
        kinds = [kind(each, document) for each in found.get("anyOf") or found["oneOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if found.get("type") == "array":
        return f"array of {kind(found.get('items', {}), document)}"
    declared = found.get("type", "any")
    return " or ".join(declared) if isinstance(declared, list) else str(declared)


def parameters(found: list[dict[str, Any]], document: dict[str, Any]) -> list[str]:
    """Return a table of parameters."""
    rows = []
    for each in found:
        parameter = resolved(each, document)
        text = cell(parameter.get("description", ""))
        rows.append(f"| `{parameter['name']}` | {parameter['in']} | {kind(parameter['schema'], document)} | {text} |")
    return ["| parameter | in | type | meaning |", "| --- | --- | --- | --- |", *rows, ""] if rows else []


def members(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """Return a table of the members of an object."""
    found = resolved(schema, document)
    required = set(found.get("required", []))
    rows = [
        f"| `{name}` | {kind(each, document)}{'' if name in required else ', optional'} "
        f"| {cell(resolved(each, document).get('description', ''))} |"
        for name, each in found.get("properties", {}).items()
    ]
    return ["| member | type | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []


def body(found: dict[str, Any] | None, document: dict[str, Any]) -> list[str]:
    """Return what a request contains."""
    if not found:
        return []
    (schema,) = (content["schema"] for content in found["content"].values())
    return ["Body:", "", *members(schema, document)]


def answers(found: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """Return the statuses, and the members of the answer 200."""
    lines = [f"* {status}: {cell(resolved(each, document).get('description', ''))}" for status, each in found.items()]
    content = resolved(found.get("200", {}), document).get("content", {})
    tables = [members(each["schema"], document) for each in content.values() if "schema" in each]
    return ["Answers:", "", *lines, "", *(line for table in tables for line in table)]


def commands() -> str:
    """Return each command with its usage, its text and its options."""
    lines: list[str] = []
    for name, command in walked(main, ""):
        context = click.Context(command, info_name=f"flaggateway {name}".strip())
        usage = command.get_usage(context).removeprefix("Usage: ")
        lines += [f"## `{context.info_name}`", "", "```text", usage, "```", "", prose(command.help or ""), ""]
        records = [each.get_help_record(context) for each in command.params if isinstance(each, click.Option)]
        rows = [f"| `{cell(record[0])}` | {cell(record[1])} |" for record in records if record]
        lines += ["| option | meaning |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join(lines)


def walked(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    """Return a command and those below it, except hidden ones."""
    found = [(name, command)] if name else []
    if isinstance(command, click.Group):
        for below, each in command.commands.items():
            if not each.hidden:
                found += walked(each, f"{name} {below}".strip())
    return found


def prose(text: str) -> str:
    """Return the text of a command; what Markdown would read as marks is escaped."""
    return re.sub(r"([<>*_])", r"\\\1", re.sub(r"[ \t]+", " ", text.replace("\b", "")))


def event_types() -> str:
    """Return the types that ``webhooks[].events`` accepts."""
    schema = json.loads((ROOT / "docs/schemas/settings.schema.json").read_text("utf-8"))
    kinds = schema["$defs"]["Endpoint"]["properties"]["events"]["items"]["enum"]
    return ", ".join(f"`{each}`" for each in kinds) + ": see [webhooks](../webhooks.md#envelope)."


def without_outside_links(text: str, page: Path, root: Path) -> str:
    """Return a page whose links to files outside of the site are texts with the path.

    :raises ValueError: if a link leads to no file
    """

    def replaced(link: re.Match[str]) -> str:
        words, target = link[1], link[2].partition("#")[0]
        if not target or "://" in target or target.startswith(("#", "mailto:")):
            return link[0]
        path = (page.parent / target).resolve()
        if path.is_relative_to(root) and path.is_file():
            return link[0]
        if not path.exists():
            raise ValueError(f"{page.relative_to(root)} links to {link[2]}, which does not exist")
        shown = path.relative_to(root.parent) if path.is_relative_to(root.parent) else target
        return words if str(shown) in words else f"{words} (`{shown}`)"

    return LINK.sub(replaced, text)
