"""The client for browsers as an installed Node package, and pages that are bundled with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from outside_tools import find_tool, missing
from tracked import ROOT

SOURCES = ROOT / "clients" / "javascript"
MODULES = ROOT / "tests" / "e2e" / "node_modules"
PACKAGE = json.loads((SOURCES / "package.json").read_text("utf-8"))
VERSION = str(PACKAGE["version"])


def node_program(name: str) -> Path:
    """Return the path of a program of the Node packages; without it the test is skipped, or fails where CI is set."""
    path = MODULES / ".bin" / name
    if not path.exists():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    return path


def build(out: Path) -> None:
    """Build ``client.js`` and ``react.js`` by the package's own script."""
    _run_script(SOURCES / "package.json", "build:js", out)


def install(folder: Path) -> Path:
    """Install the package as npm would; return the folder for ``NODE_PATH``."""
    package = folder / "node_modules" / "@flaggateway" / "client"
    build(package / "dist")
    shutil.copy(SOURCES / "package.json", package)
    return folder / "node_modules"


def build_examples(folder: Path) -> Path:
    """Bundle the examples by their own script; return the folder of the bundles."""
    out = folder / "dist"
    path = f"{install(folder)}:{MODULES}"
    _run_script(ROOT / "examples" / "package.json", "build", out, NODE_PATH=path)
    return out


def bundle(entry: Path, folder: Path) -> bytes:
    """Return a page's script with everything that it imports."""
    env = os.environ | {"NODE_PATH": f"{install(folder)}:{MODULES}"}
    options = ["--bundle", "--jsx=automatic", "--log-level=warning", '--define:process.env.NODE_ENV="development"']
    made = subprocess.run([node_program("esbuild"), entry, *options], env=env, check=True, capture_output=True)
    return made.stdout


def _run_script(package: Path, script: str, out: Path, **more: str) -> None:
    find_tool("node")
    path = f"{node_program('esbuild').parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "npm_package_version": VERSION, "OUT": str(out)} | more
    command = json.loads(package.read_text("utf-8"))["scripts"][script]
    subprocess.run(command, shell=True, cwd=package.parent, env=env, check=True)
