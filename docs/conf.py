"""The documentation site: `make docs` builds it into build/site."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402 - of this folder

from gateway import __version__  # noqa: E402 - of this checkout

project = "flaggateway"
author = "the authors of flaggateway"
copyright = "the authors of flaggateway, Apache License 2.0"  # noqa: A001 - Sphinx reads this name
release = version = __version__

extensions = ["myst_parser"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # JSON with comments and shortened output
nitpicky = True

html_theme = "furo"
html_title = f"flaggateway {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

# Served as they are: images that pages embed as HTML, for light and dark, and the schemas.
COPIED = ("console", "schemas", "benchmarks/*.svg")


def fill_generated(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Replace the marks of generated parts, and name what is outside of the site instead of linking to it."""
    text = re.sub(r"<!-- generated: (.+?) -->", lambda mark: generated.part(mark[1]), source[0])
    source[0] = generated.without_outside_links(text, HERE / f"{_name}.md", HERE)


def copy_files(app: Sphinx, error: Exception | None) -> None:
    """Copy the files that pages refer to by HTML."""
    if error is not None:
        return
    for pattern in COPIED:
        for found in sorted(HERE.glob(pattern)):
            target = Path(app.outdir) / found.relative_to(HERE)
            if found.is_dir():
                shutil.copytree(found, target, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the functions above."""
    app.connect("source-read", fill_generated)
    app.connect("build-finished", copy_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
