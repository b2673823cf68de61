"""The image context and the chart of a release: what is needed is in them, and links are resolved."""

from __future__ import annotations

import importlib.util

import yaml

import gateway
from containerfile import steps
from tracked import ROOT

_spec = importlib.util.spec_from_file_location("dist", ROOT / "etc/release/dist.py")
dist = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(dist)


def test_the_context_has_what_the_containerfile_copies():
    """And the Containerfile itself, but neither tests nor documentation."""
    files = {path.as_posix() for path in dist.context(ROOT)}
    for step in steps((ROOT / "Containerfile").read_text("utf-8")):
        if step.word == "COPY" and "from" not in step.flags:
            for name in step.words[:-1]:
                assert any(each == name or each.startswith(f"{name}/") for each in files), name
    assert {"Containerfile", ".containerignore", "gateway/tap.py", "twisted/plugins/flaggateway.py"} <= files
    assert not [name for name in files if name.startswith(("tests/", "docs/", ".git"))]


def test_the_chart_is_whole(tmp_path):
    """Its links are replaced by the files that they lead to, and the golden files are left out."""
    files = {path.as_posix(): source.read_bytes() for path, source in dist.chart(ROOT).items()}
    assert gateway.__version__ == yaml.safe_load(files["flaggateway/Chart.yaml"])["version"]
    assert (ROOT / "etc/prometheus/rules.yml").read_bytes() == files["flaggateway/files/rules.yml"]
    assert (ROOT / "etc/grafana/flaggateway.json").read_bytes() == files["flaggateway/files/flaggateway.json"]
    assert {"flaggateway/values.yaml", "flaggateway/values.schema.json", "flaggateway/.helmignore"} <= set(files)
    assert not [name for name in files if "golden" in name]
