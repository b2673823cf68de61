"""Each declared Python that the machine has: the wheel is installed, a gateway runs, pure rooms are tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_process import GatewayProcess
from outside_tools import missing
from shop import GERMAN, shop
from tracked import ROOT

DECLARED = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
OTHERS = [version for version in DECLARED if version != f"3.{sys.version_info.minor}"]
# Without a network, a browser or another program; what differs between versions is the language and its library.
ROOMS = ["tests/flags", "tests/settings", "tests/streams", "tests/text", "tests/migration/test_import.py", "tests/cli"]


def test_the_declared_versions() -> None:
    """From the oldest one that is required to the newest one that is tested."""
    assert ["3.11", "3.12", "3.13"] == DECLARED
    assert "python_requires = >=3.11" in (ROOT / "setup.cfg").read_text("utf-8")


def interpreter(version: str) -> str | None:
    """Return the path of a Python of this version: on the path, of pyenv or of uv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    if uv := shutil.which("uv"):
        ended = subprocess.run([uv, "python", "find", version], capture_output=True, text=True, check=False)
        candidates.append(ended.stdout.strip())
    candidates.append(shutil.which(f"python{version}") or "")
    for candidate in filter(None, candidates):
        script = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
        ended = subprocess.run([candidate, "-c", script], capture_output=True, text=True, check=False)
        if ended.stdout.strip() == version:
            return candidate
    return None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", OTHERS)
def test_another_version_of_python(version: str, wheel: Path, tmp_path: Path) -> None:
    """The tests of the pure rooms pass with the installed wheel, and a gateway serves and stops."""
    python = interpreter(version)
    if python is None:
        missing(f"Python {version} is not installed", required=False)
    home = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", f"{wheel}[test]"]
    if subprocess.run(pip, cwd="/", check=False).returncode != 0:
        missing(f"the dependencies cannot be installed for Python {version}; is the package index reachable?")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [str(home / "bin/pytest"), "--quiet", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow"]
    ended = subprocess.run([*command, *ROOMS], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stdout[-6000:] + ended.stderr[-2000:]
    serve(home / "bin/python", tmp_path)


def serve(python: Path, home: Path) -> None:
    """Start a gateway with this Python, evaluate a flag, and stop it."""
    (home / "config.json").write_text(json.dumps(shop("summer")))
    local = {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(home / "config.json")}}}
    gateway = GatewayProcess({"sdks": {"shop": local}, "workers": 2}, home, python=str(python))
    gateway.start()
    try:
        body = json.dumps({"key": "banner", "user": GERMAN}).encode()
        assert (200, "summer") == ((answer := gateway.post("/api/shop/eval", body))[0], json.loads(answer[1])["value"])
        assert 0 == gateway.stop()
    finally:
        gateway.kill()
