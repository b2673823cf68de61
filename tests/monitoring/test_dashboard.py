"""The dashboard and the alert rules name only what a real gateway exports, and every query can be parsed."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request

import pytest
import yaml

from eventually import eventually
from gateway_process import GatewayProcess
from shop import shop
from tracked import ROOT

DASHBOARD = json.loads((ROOT / "etc/grafana/flaggateway.json").read_text("utf-8"))
RULES = yaml.safe_load((ROOT / "etc/prometheus/rules.yml").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
    **{annotation["name"]: annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]},
    **{rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]},
}
OF_PROMETHEUS = {"job", "instance", "le"}  # labels that no gateway exports


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The names of all metrics that a gateway with two workers, a webhook and an exporter exports, with their types."""
    home = tmp_path_factory.mktemp("gateway")
    (home / "config.json").write_text(json.dumps(shop("before")))
    settings = {
        "sdks": {"shop": {"key": "any", "offline": {"enabled": True, "local": {"file_path": "config.json"}}}},
        "webhooks": [{"name": "ops", "url": "http://127.0.0.1:9/"}],
        "outbox": {"path": "outbox.sqlite3"},
        "exporter": {"kind": "file", "path": "events.jsonl"},
        "http": {"sse": {"drain_window": 0}},
        "workers": 2,
    }
    gateway = GatewayProcess(settings, home)
    try:
        gateway.start()
        assert 200 == gateway.post("/api/shop/eval-all", b"{}")[0]

        def page():
            with urllib.request.urlopen(f"{gateway.diag}/metrics", timeout=30) as answer:
                return answer.read().decode()

        eventually(lambda: 'route="/api/{sdkId}/eval-all"' in page(), page)
        yield dict(re.findall(r"^# TYPE (\S+) (\S+)$", page(), re.MULTILINE))
    finally:
        gateway.kill()


def documented_labels():
    """The labels of each metric in docs/metrics.md, which tests/docs compares with the code."""
    found = {}
    page = (ROOT / "docs/metrics.md").read_text("utf-8")
    for line in page.splitlines():
        if line.startswith("| `"):
            name, _, labels, *_ = re.split(r"(?<!\\)\|", line.strip("|"))
            found[name.strip(" `")] = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|:.*", "", labels))) - {"none"}
    for name in re.findall(r"^\* `(\w+)`", page, re.MULTILINE):  # of workers
        found[name] = {"worker"} if name.startswith("flaggateway_worker_") and "ends" not in name else set()
    return found


LABELS = documented_labels()


def metrics_of(query):
    """The metrics that a query names, with the labels by which it chooses series; suffixes of histograms are cut."""
    text = re.sub(r'"[^"]*"', '""', query)
    for name, labels in re.findall(r"\b((?:flaggateway|configcat|process|python)_\w+)\b(?:\{([^}]*)\})?", text):
        yield re.sub(r"_(bucket|count|sum)$", "", name), set(re.findall(r"(\w+)\s*[=!]", labels))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_only_what_is_exported(name, exported):
    """Metrics exist in a real answer of /metrics, and their labels too; quantiles are those of histograms."""
    query = QUERIES[name]
    used = list(metrics_of(query))
    assert used
    assert [] == [metric for metric, _ in used if metric not in exported]
    assert [] == [(metric, labels) for metric, labels in used if labels - LABELS[metric] - OF_PROMETHEUS]
    every = set().union(*(LABELS[metric] for metric, _ in used)) | OF_PROMETHEUS
    grouped = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in group.split(", ")}
    assert set() == grouped - every
    if "_bucket" in query:
        assert {"histogram"} == {exported[metric] for metric, _ in used}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_is_complete(panel):
    """Each has a description, a unit, the chosen data source, and legends of labels that its query keeps."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert "${datasource}" == target["datasource"]["uid"] == panel["datasource"]["uid"]
        kept = {label for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in group.split(", ")}
        if not kept and "sum(" not in target["expr"]:
            kept = set().union({"instance"}, *(LABELS[metric] for metric, _ in metrics_of(target["expr"])))
        assert set() == set(re.findall(r"{{(\w+)}}", target["legendFormat"])) - kept


def test_panels_do_not_overlap():
    """Each cell of the grid of 24 columns has one panel at most, and every id is there once."""
    cells = []
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells += [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(cells) == len(set(cells))
    assert len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})


def test_every_metric_that_matters_has_a_panel():
    """What is on no panel is listed here, so that a new metric is shown or left out on purpose."""
    shown = {metric for query in QUERIES.values() for metric, _ in metrics_of(query)}
    left_out = {
        "configcat_http_server_request_duration_seconds",  # the names of ConfigCat Proxy; ours are shown
        "configcat_http_client_request_duration_seconds",
        "flaggateway_export_attempts_total",
        "flaggateway_export_duration_seconds",
        "flaggateway_history_bytes",
        "flaggateway_history_configs",
        "flaggateway_reloads_total",
        "flaggateway_settings_last_reload_success_timestamp_seconds",
        "process_virtual_memory_bytes",
        "python_gc_collections_total",
        "python_gc_objects_collected_total",
        "python_gc_objects_uncollectable_total",
        "python_info",
    }
    assert left_out == set(LABELS) - shown


def test_every_query_can_be_parsed(require_tool, tmp_path):
    """As recording rules, with the variables of Grafana replaced by values, promtool accepts all of them."""
    promtool = require_tool("promtool")
    values = {"$__rate_interval": "5m", "$job": "gw", "$instance": "a"}
    rules = []
    for number, query in enumerate(QUERIES.values()):
        expr = re.sub(r"\$\w+", lambda found: values[found[0]], query)
        rules.append({"record": f"query_{number}", "expr": expr})
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    ended = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stdout + ended.stderr
