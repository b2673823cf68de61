"""The Helm chart with helm: it lints, renders the golden files, refuses what cannot work, and is valid Kubernetes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from chart_golden import CASES, CHART, GOLDEN, render
from outside_tools import missing
from tracked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OLDEST, NEWEST = "1.25.0", "1.37.0"  # of Kubernetes


@pytest.fixture(scope="module")
def helm(require_tool):
    return require_tool("helm")


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES)
def test_the_chart_lints(helm, case):
    """No error and no warning, with the values of each golden file."""
    ended = run(helm, "lint", "--strict", CHART, "--values", GOLDEN / f"{case}.values.yaml")
    assert 0 == ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_golden_files_are_what_helm_renders(helm, case):
    """Byte for byte."""
    assert (GOLDEN / f"{case}.yaml").read_text("utf-8") == render(helm, case)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"redis": {"enabled": True}}, "this chart contains no Redis"),
        ({"clusterMode": {"enabled": True}}, "set externalRedis.host"),
        ({"settings": {"webhooks": [{"name": "ops", "url": "https://x.example"}]}}, "each pod would send each change"),
        (
            {"replicaCount": 1, "persistence": {"enabled": False}, "settings": {"exporter": {"endpoint_url": "https://x"}}},
            "a restart would lose",
        ),
        (
            {"autoscaling": {"enabled": True}, "settings": {"exporter": {"endpoint_url": "https://x.example"}}},
            "pods with volumes of their own are not scaled",
        ),
        ({"image": {"repository": "configcat/proxy"}}, "the image is that of ConfigCat Proxy"),
        ({"replicas": 3}, "replicas"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(helm, tmp_path, values, message):
    """With the name of the value, and what to do."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    ended = run(helm, "template", "gw", CHART, "--kube-version", NEWEST, "--values", file)
    assert 1 == ended.returncode
    assert message in ended.stderr


def test_rules_and_dashboard_are_installed(helm, tmp_path):
    """The files of the project, with the address of the docs in front of each alert's paragraph."""
    monitoring = {
        "prometheusRule": {"enabled": True, "runbookUrl": "https://git.example.com/docs/operations.md"},
        "dashboard": {"enabled": True},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"monitoring": monitoring}))
    ended = run(helm, "template", "gw", CHART, "--kube-version", NEWEST, "--values", file)
    assert 0 == ended.returncode, ended.stderr
    found = {each["kind"]: each for each in yaml.safe_load_all(ended.stdout) if each}
    ours = yaml.safe_load((ROOT / "etc/prometheus/rules.yml").read_text("utf-8"))
    for group in ours["groups"]:
        for rule in group["rules"]:
            anchor = rule["annotations"]["runbook_url"].partition("#")[2]
            rule["annotations"]["runbook_url"] = f"https://git.example.com/docs/operations.md#{anchor}"
    assert ours == found["PrometheusRule"]["spec"]
    dashboard = json.loads(found["ConfigMap"]["data"]["flaggateway.json"])
    assert json.loads((ROOT / "etc/grafana/flaggateway.json").read_text("utf-8")) == dashboard
    assert "1" == found["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"]


def test_the_notes_name_what_is_missing(helm, tmp_path):
    """Without SDKs and without a shared cache; ``helm template`` shows no notes, so a copy has them in an object."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    notes = (copy / "templates/NOTES.txt").read_text("utf-8")
    (copy / "templates/_notes.tpl").write_text(f'{{{{- define "notes" }}}}{notes}{{{{ end }}}}', "utf-8")
    shown = 'kind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: |\n{{ include "notes" . | indent 4 }}\n'
    (copy / "templates/notes.yaml").write_text(shown, "utf-8")
    ended = run(helm, "template", "gw", copy, "--show-only", "templates/notes.yaml", "--kube-version", NEWEST)
    assert 0 == ended.returncode, ended.stderr
    text = yaml.safe_load(ended.stdout)["data"]["notes"]
    assert "No SDK is configured" in text
    assert "Several pods run without a shared config cache" in text
    assert "deployment/gw-flaggateway" in text


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    """A folder of JSON schemas per version of Kubernetes, from the package kubernetes-validate, which contains them."""
    package = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", package]
    if subprocess.run([*pip, "kubernetes-validate==1.37.0"], check=False).returncode != 0:
        missing("kubernetes-validate cannot be downloaded; is the package index reachable?")
    (wheel,) = package.glob("*.whl")
    target = tmp_path_factory.mktemp("schemas")
    with zipfile.ZipFile(wheel) as opened:
        for version in (OLDEST, NEWEST):
            (target / version).mkdir()
            for name in opened.namelist():
                if f"/v{version}-local-strict/" in name:
                    # kubeconform reads files by relative references; these are to addresses of the package's author.
                    text = opened.read(name).decode().replace('"/api/_definitions.json', '"_definitions.json')
                    (target / version / Path(name).name).write_text(text.replace('"$id"', '"x-id"'), "utf-8")
    return target


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_accepts_every_object(require_tool, schemas, case, version):
    """kubeconform, strict: no unknown field, no wrong type, in the oldest and a new version of Kubernetes."""
    place = f"{schemas / version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    options = ["-strict", "-summary", "-skip", "ServiceMonitor", "-schema-location", place]
    ended = run(require_tool("kubeconform"), *options, GOLDEN / f"{case}.yaml")
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert re.search(r"Valid: ([6-9]|1\d), Invalid: 0, Errors: 0", ended.stdout), ended.stdout


def test_a_wrong_object_is_found(require_tool, schemas, tmp_path):
    """The check above would notice a field that does not exist."""
    wrong = (GOLDEN / "one.yaml").read_text("utf-8").replace("podManagementPolicy: Parallel", "podManagment: Parallel")
    file = tmp_path / "wrong.yaml"
    file.write_text(wrong, "utf-8")
    place = f"{schemas / NEWEST}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    ended = run(require_tool("kubeconform"), "-strict", "-schema-location", place, file)
    assert 1 == ended.returncode
    assert "podManagment" in ended.stdout
