"""The answers can be imported anywhere; only the Klein path installs a reactor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gateway.web

KLEIN_PATH = {"server.klein_app", "server.site"}
FOLDER = Path(gateway.web.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts) for path in FOLDER.rglob("*.py") if path.stem != "__init__"
)


def test_only_the_klein_path_installs_a_reactor() -> None:
    """All other modules can be imported without klein and without installing a reactor."""
    pure = [name for name in MODULES if name not in KLEIN_PATH]
    script = (
        "import importlib, sys\n"
        f"for name in {pure!r}: importlib.import_module('gateway.web.' + name)\n"
        "sys.exit('twisted.internet.reactor' in sys.modules or 'klein' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", script], check=False).returncode
    assert KLEIN_PATH < set(MODULES)


def test_klein_is_imported_in_one_module() -> None:
    """No module but ``klein_app`` imports klein."""
    folder = Path(gateway.web.__file__).parent.parent
    importing = [path.stem for path in folder.rglob("*.py") if "\nfrom klein import" in path.read_text("utf-8")]
    assert ["klein_app"] == importing


def test_facade_is_sorted_and_complete() -> None:
    """``__all__`` is sorted and each of its names exists."""
    assert tuple(sorted(gateway.web.__all__)) == gateway.web.__all__
    assert all(hasattr(gateway.web, name) for name in gateway.web.__all__)
