"""The built wheel and an environment that has it, made once for all packaging tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv

import pytest

from containerfile import build
from outside_tools import find_tool, missing, run
from tracked import ROOT, tracked_files


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return the wheel of the tracked files; nothing lying about in the checkout gets into it."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked_files():
        if name.parts[0] in ("gateway", "twisted") or len(name.parts) == 1:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """Return the folder of a fresh Debian 12, in the place of the image debian:12-slim; copy it to write into it."""
    if os.geteuid() != 0:
        missing("a Debian in a folder can only be made by root", required=False)
    target = tmp_path_factory.mktemp("debian") / "root"
    run(find_tool("mmdebstrap"), "--variant=minbase", "bookworm", target)
    return target


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Return the Python of a fresh environment that has the wheel and what it depends on, nothing else."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    if subprocess.run(pip, cwd="/", check=False).returncode != 0:
        missing("the wheel's dependencies cannot be installed; is the package index reachable?")
    return python


@pytest.fixture(scope="session")
def image(debian, tmp_path_factory):
    """The image, built from the tracked files alone; copy its root to write into it."""
    context = tmp_path_factory.mktemp("context")
    for name in tracked_files():
        if name.parts[0] in {"gateway", "twisted", "etc"} or len(name.parts) == 1:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    work = tmp_path_factory.mktemp("image")
    # What the machine needs to reach the package index: settings of pip, and a certificate authority of its own.
    base = work / "base"
    subprocess.run(["cp", "-a", str(debian), str(base)], check=True)
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
    if authorities := os.environ.get("PIP_CERT"):
        shutil.copy(authorities, base / "certificates-of-the-builder.pem")
        env["PIP_CERT"] = "/certificates-of-the-builder.pem"
    built = build(context / "Containerfile", context, base, work, env, {"VERSION": "1.2.3"})
    (built.root / "certificates-of-the-builder.pem").unlink(missing_ok=True)
    return built
