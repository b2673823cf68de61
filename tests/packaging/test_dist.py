"""``make dist``: everything of a release, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import gateway
from tracked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # builds the packages twice


def build(target: Path) -> dict[str, Path]:
    """Build a release; return its files by what follows the name and the version."""
    subprocess.run([sys.executable, str(ROOT / "etc/release/dist.py"), str(target)], check=True, cwd=ROOT)
    return {file.name.removeprefix(f"flaggateway-{gateway.__version__}"): file for file in target.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release."""
    return build(tmp_path_factory.mktemp("dist"))


def test_two_builds_are_equal(built: dict[str, Path], tmp_path: Path) -> None:
    """Byte for byte, in another folder and at another time."""
    again = build(tmp_path)
    assert {name: file.read_bytes() for name, file in built.items()} == {
        name: file.read_bytes() for name, file in again.items()
    }


def test_the_checksums_are_those_of_all_files(built: dict[str, Path]) -> None:
    """As `sha256sum --check` reads them."""
    sums = built["SHA256SUMS"]
    listed = dict(reversed(line.split("  ")) for line in sums.read_text().splitlines())
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in built.values() if file != sums}
    assert files == listed


def test_nothing_is_missing(built: dict[str, Path]) -> None:
    """Wheel, sdist, SBOM, chart, and an image context with what the Containerfile copies."""
    wheel = built["-py3-none-any.whl"]
    bundled = {f"gateway/cli/files/{path.name}" for path in (ROOT / "gateway/cli/files").iterdir()}
    assert bundled <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(built["-image-context.tar.gz"]) as context:
        wanted = {"Containerfile", "setup.cfg", "gateway/__init__.py", "etc/constraints.txt"}
        assert wanted <= set(context.getnames())
    with tarfile.open(built[f"flaggateway-chart-{gateway.__version__}.tgz"]) as chart:
        assert {"flaggateway/Chart.yaml", "flaggateway/values.yaml"} <= set(chart.getnames())


def test_the_sdist_builds_the_same_wheel(built: dict[str, Path], tmp_path: Path) -> None:
    """Data files included."""
    with tarfile.open(built[".tar.gz"]) as sdist:
        sdist.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("*.whl")
    contents = [zipfile.ZipFile(file) for file in (wheel, built["-py3-none-any.whl"])]
    first, second = ({name: opened.read(name) for name in opened.namelist()} for opened in contents)
    assert first.keys() == second.keys()
    changed = [name for name in first if first[name] != second[name] and not name.endswith("/RECORD")]
    assert [] == changed


def test_the_sbom_lists_what_the_package_needs(built: dict[str, Path]) -> None:
    """The direct requirements and theirs, each with a version; none of the tools for tests."""
    document = json.loads(built[".cdx.json"].read_text())
    assert ("CycloneDX", gateway.__version__) == (document["bomFormat"], document["metadata"]["component"]["version"])
    names = {component["name"]: component["version"] for component in document["components"]}
    assert {"twisted", "klein", "msgspec", "cryptography", "zope-interface", "incremental", "h2"} <= names.keys()
    assert all(names.values())
    assert names.keys().isdisjoint({"pytest", "ruff", "sphinx", "cyclonedx-bom", "psycopg"})
