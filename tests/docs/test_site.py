"""The documentation site: every page has its place, and Sphinx builds it without a warning."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from outside_tools import missing
from snippets import DOCS, blocks
from tracked import ROOT, tracked_files

PAGES = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
COMMAND = re.compile(r"^(?:\$ |# )?(?:sudo )?flaggateway (?!-)([a-z]+).*$", re.MULTILINE)


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes parts of pages from the code."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("generated")


def test_every_page_is_in_the_table_of_contents(generated: ModuleType) -> None:
    """Each file below docs once, and nothing that does not exist; new pages are added to the guides."""
    text = (DOCS / "index.md").read_text("utf-8")
    text = text.replace("<!-- generated: more guides -->", generated.part("more guides"))
    trees = "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL))
    listed = re.findall(r"^([\w/-]+)$", trees, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert PAGES - {"index"} == set(listed)


@pytest.mark.parametrize("page", sorted(page for page in PAGES if page.startswith(("howto/", "tutorial"))))
def test_the_commands_exist(page: str) -> None:
    """Each command of the product in a block of a guide is one of the command line."""
    from gateway.cli import main

    assert isinstance(main.commands, dict)
    text = "\n".join([*blocks(f"{page}.md", "sh"), *blocks(f"{page}.md", "console")])
    assert set(COMMAND.findall(text)) <= set(main.commands)


def test_generated_parts_are_complete(generated: ModuleType) -> None:
    """Each route of the OpenAPI document and each command is there; every mark of a page has its part."""
    text = generated.part("api")
    document = json.loads((ROOT / "gateway/console/openapi.json").read_text("utf-8"))
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"### `{method.upper()} {path}`" in text
    commands = generated.part("commands")
    assert all(f"## `flaggateway {name}`" in commands for name in ("check", "impact", "configs diff", "import"))
    assert "/api/{sdkId}/eval" in generated.part("main routes")
    assert "`FLAG_UPDATED`" in generated.part("event types")
    for page in PAGES:
        for mark in re.findall(r"<!-- generated: (.+?) -->", (DOCS / f"{page}.md").read_text("utf-8")):
            assert generated.part(mark) or mark == "more guides"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_no_word_is_taken_for_a_tag(page: str) -> None:
    """A word such as <id> outside of code vanishes, unless it is escaped."""
    text = re.sub(
        r"^( *)```.*?^\1```$|<!--.*?-->", "", (DOCS / f"{page}.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)
    assert set(re.findall(r"(?<!\\)</?([a-z][\w-]*)[^<>:]*>", text)) <= {"picture", "source", "img"}


def test_rows_of_generated_tables_are_complete(generated: ModuleType) -> None:
    """A choice such as `a|b` is one cell: each row has as many cells as the head of its table."""
    for name in ("main routes", "api", "commands"):
        for table in re.findall(r"(?:^\|.*\|$\n?)+", generated.part(name), re.MULTILINE):
            cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
            assert len(set(cells)) == 1, table
    assert "configcat-proxy\\|goff" in generated.part("commands")


def test_links_of_generated_parts_lead_to_pages(generated: ModuleType) -> None:
    """Those of the README too, which is in another folder; a link to nothing ends the build."""
    page = DOCS / "reference/routes.md"
    text = generated.part("main routes")
    assert "](../frontend.md#the-client)" in text
    assert text == generated.without_outside_links(text, page, DOCS)
    with pytest.raises(ValueError, match=r"reference/routes\.md links to docs/frontend\.md"):
        generated.without_outside_links("[a](docs/frontend.md)", page, DOCS)


def test_links_outside_of_the_site_become_text(generated: ModuleType) -> None:
    """A file of the repository is named; pages, schemas and addresses stay links."""
    page = DOCS / "operations.md"
    inside = "[m](metrics.md#streams), [s](schemas/ofrep.schema.json), [a](https://a.b)"
    text = f"[unit](../etc/systemd/flaggateway.service), {inside}"
    assert f"unit (`etc/systemd/flaggateway.service`), {inside}" == generated.without_outside_links(text, page, DOCS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every reference has a target, every page a place, and every image its file."""
    try:
        import furo  # noqa: F401 - is it installed?
        import myst_parser  # noqa: F401
    except ImportError:
        missing("Sphinx, furo or myst-parser is not installed; pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"]
    ended = subprocess.run([*command, str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
    built = {path.relative_to(tmp_path).with_suffix("").as_posix() for path in tmp_path.rglob("*.html")}
    assert built >= PAGES
    alerts = re.findall(r"#(flaggateway\w+)$", (ROOT / "etc/prometheus/rules.yml").read_text("utf-8"), re.MULTILINE)
    operations = (tmp_path / "operations.html").read_text("utf-8")
    assert ([], True) == ([name for name in alerts if f'id="{name}"' not in operations], bool(alerts))
    for page in tmp_path.rglob("*.html"):
        for name in re.findall(r"(?:src|srcset)=\"(?!https?:|data:)([^\"#?]+)", page.read_text("utf-8")):
            assert (page.parent / name).exists(), f"{page.name}: {name}"


def test_the_site_contains_only_tracked_pages() -> None:
    """So that a build of a clone is the same."""
    names = [name for name in tracked_files() if name.suffix == ".md" and name.parts[0] == "docs"]
    assert PAGES == {name.relative_to("docs").with_suffix("").as_posix() for name in names}
