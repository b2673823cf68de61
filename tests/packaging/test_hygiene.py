"""The repository says nothing about the machines it was written on."""

from __future__ import annotations

import ast
import json

from tracked import ROOT, tracked_files

# In halves, so that this file does not hold what it looks for.
HOSTS = [
    "registry." + "npmjs.org",
    "registry." + "yarnpkg.com",
    "pypi." + "org",
    "files." + "pythonhosted.org",
    "deb." + "debian.org",
    "proxy." + "golang.org",
]
PLACES = ["/wo" + "rk/", "/home/" + "runner", "/ro" + "ot/"]


def test_no_file_names_a_machine_or_a_registry():
    """No tracked file holds the checkout's path, a package registry's host or a build machine's folder."""
    words = HOSTS + PLACES
    if len(ROOT.parts) > 2:  # a checkout right below / has a name too short to be telling
        words.append(str(ROOT))
    found = []
    for name in tracked_files():
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        found += [f"{name}: {word}" for word in words if word in text]
    assert [] == found


def test_the_lock_file_holds_checksums_and_no_addresses():
    """Node packages are pinned by checksum, and come from wherever npm is set up to look."""
    packages = json.loads((ROOT / "tests" / "e2e" / "package-lock.json").read_text("utf-8"))["packages"]
    pinned = {name: package for name, package in packages.items() if name}
    assert pinned
    assert [] == [name for name, package in pinned.items() if "integrity" not in package or "resolved" in package]


def test_no_module_or_function_of_the_gateway_outgrows_its_bound():
    """A module has at most 450 lines and a function 80: what grows beyond has two subjects."""
    large = []
    for name in tracked_files():
        if name.parts[0] == "gateway" and name.suffix == ".py":
            text = (ROOT / name).read_text("utf-8")
            large += [str(name)] if text.count("\n") > 450 else []
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 80:
                    large.append(f"{name}: {node.name}")
    assert [] == large


def test_metadata_is_in_setup_cfg_only():
    """A [project] table would make setuptools ignore setup.cfg's options and lose the plugin."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "project" not in project
    assert "setuptools.build_meta" == project["build-system"]["build-backend"]
