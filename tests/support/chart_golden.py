"""The golden files of the Helm chart: the hash of what they depend on, and their renewal.

The version is replaced by a word, so that a release changes none of them.

``python -m chart_golden`` renders them with helm and writes the hash.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from outside_tools import find_tool

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/flaggateway"
GOLDEN = CHART / "golden"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))


def without_version(text: str) -> str:
    """Return a text with a word in the place of the version."""
    version = re.search(r'^version: "?([^"\s]+)', (CHART / "Chart.yaml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    return text.replace(version[1], "VERSION")


def digest() -> str:
    """Return the hashes of what is rendered and of the golden files, in the form of ``sha256sum``.

    Alert rules and dashboard are not in golden files, so they can be changed without helm.
    """
    found = (path for path in CHART.rglob("*") if path.is_file() and path.parent != CHART / "files")
    files = sorted(path for path in found if path != GOLDEN / "SHA256")
    lines = []
    for path in files:
        content = path.read_text("utf-8")
        if path.name == "Chart.yaml":  # where a release may add or remove quotes, too
            content = without_version(content).replace('"', "")
        lines.append(f"{hashlib.sha256(content.encode()).hexdigest()}  {path.relative_to(CHART).as_posix()}\n")
    return "".join(lines)


def render(helm: str, case: str) -> str:
    """Return what ``helm template`` prints for a case."""
    values = str(GOLDEN / f"{case}.values.yaml")
    # A helm that `go install` has built does not state which version of Kubernetes it is for.
    version = ["--kube-version", "1.37.0"]
    command = [helm, "template", "gw", str(CHART), "--namespace", "flags", *version, "--values", values]
    return without_version(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Write the golden files and the hash."""
    helm = find_tool("helm")
    for case in CASES:
        (GOLDEN / f"{case}.yaml").write_text(render(helm, case), "utf-8")
    (GOLDEN / "SHA256").write_text(digest(), "utf-8")


if __name__ == "__main__":
    main()
