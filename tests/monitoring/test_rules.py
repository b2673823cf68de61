"""The alert rules: each fires when it should, does not before, and leads to its paragraph; promtool is the judge."""

from __future__ import annotations

import re
import subprocess

import yaml

from gateway.cli.bundled_files import RUNBOOK_URL
from tracked import ROOT

RULES = yaml.safe_load((ROOT / "etc/prometheus/rules.yml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
HERE = 'job="gw",instance="a:8051"'
ME = {"job": "gw", "instance": "a:8051"}
BUILD = f'flaggateway_build_info{{{HERE},version="0.3.0"}}'


def one(name, values, labels=""):
    """A series of the gateway, one value per minute in the notation of promtool."""
    return {"series": f"{name}{{{','.join(part for part in (HERE, labels) if part)}}}", "values": values}


def buckets(name, labels, slow):
    """A histogram of which one request a second arrives, ``slow`` or at once."""
    rising, nothing = "0+60x200", "0x200"
    return [
        one(f"{name}_bucket", nothing if slow else rising, f'le="0.05",{labels}'.strip(",")),
        one(f"{name}_bucket", rising, f'le="5.0",{labels}'.strip(",")),
        one(f"{name}_bucket", rising, f'le="+Inf",{labels}'.strip(",")),
    ]


# Per alert: the series while something is wrong, the same while nothing is, when the alert has fired, its labels beside
# job and instance, and its summary.
CASES = {
    "FlaggatewayDown": (
        [one("up", "1x4 0x20"), one("flaggateway_build_info", "1x4")], [one("up", "1x30")], "10m", {},
        "a:8051 does not answer, and did within the last hour",
    ),
    "FlaggatewayRestarting": (
        [one("process_start_time_seconds", "1 2 3 4 4x20"), one("flaggateway_build_info", "1x30")],
        [one("process_start_time_seconds", "1x30"), one("flaggateway_build_info", "1x30")], "10m", {},
        "a:8051 was started 3 times within an hour",
    ),
    "FlaggatewayWorkersEnding": (
        [one("flaggateway_worker_ends_total", "0x5 1x20")], [one("flaggateway_worker_ends_total", "3x30")], "8m", {},
        "worker processes of a:8051 ended unexpectedly",
    ),
    "FlaggatewayWorkersUnresponsive": (
        [one("flaggateway_workers_unresponsive", "2x30")], [one("flaggateway_workers_unresponsive", "0x30")], "5m", {},
        "2 worker processes of a:8051 do not answer",
    ),
    "FlaggatewayLoopBlocked": (
        buckets("flaggateway_reactor_lag_seconds", "", slow=True),
        buckets("flaggateway_reactor_lag_seconds", "", slow=False), "15m", {},
        "the event loop of a:8051 is late by 4.95s, and so is every answer",
    ),
    "FlaggatewayFilesNearLimit": (
        [one("process_open_fds", "81x30"), one("process_max_fds", "100x30"), one("flaggateway_build_info", "1x30")],
        [one("process_open_fds", "79x30"), one("process_max_fds", "100x30"), one("flaggateway_build_info", "1x30")],
        "5m", {}, "a:8051 has 81 files open, over 80 % of its limit",
    ),
    "FlaggatewaySettingsRefused": (
        [one("flaggateway_settings_last_reload_successful", "0x30")],
        [one("flaggateway_settings_last_reload_successful", "1x30")], "5m", {},
        "a:8051 refused the settings on disk; a restart would fail",
    ),
    "FlaggatewayRestartPending": (
        [one("flaggateway_settings_restart_pending", "1x90")], [one("flaggateway_settings_restart_pending", "0x90")],
        "70m", {}, "settings of a:8051 wait for a restart",
    ),
    "FlaggatewaySeveralVersions": (
        [one("flaggateway_build_info", "1x90", 'version="1"'), one("flaggateway_build_info", "1x90", 'version="2"')],
        [one("flaggateway_build_info", "1x90", 'version="1"')], "70m", {"instance": None},
        "2 versions of the gateway run as gw",
    ),
    "FlaggatewayLogGaps": (
        [one("flaggateway_log_lines_dropped_total", "0x5 7x20")], [one("flaggateway_log_lines_dropped_total", "7x30")],
        "8m", {}, "log lines of a:8051 were dropped",
    ),
    "FlaggatewayLoginsLimited": (
        [one("flaggateway_diag_logins_total", "0+5x30", 'outcome="limited"')],
        [one("flaggateway_diag_logins_total", "0+5x30", 'outcome="verified"')], "15m", {"outcome": "limited"},
        "a client tries many passwords at the diagnostics port of a:8051",
    ),
    "FlaggatewayConfigOld": (
        [one("flaggateway_config_age_seconds", "0+60x30", 'sdk="s"')],
        [one("flaggateway_config_age_seconds", "59x30", 'sdk="s"')], "20m", {"sdk": "s"},
        "SDK s of a:8051 serves flags that were last confirmed 20m 0s ago",
    ),
    "FlaggatewaySdkUnhealthy": (
        [one("flaggateway_sdk_up", "0x30", 'sdk_id="s"')], [one("flaggateway_sdk_up", "1x30", 'sdk_id="s"')],
        "10m", {"sdk_id": "s"}, "the config of SDK s cannot be fetched by a:8051",
    ),
    "FlaggatewayConfigStale": (
        [one("flaggateway_config_stale", "1x30", 'sdk_id="s"')],
        [one("flaggateway_config_stale", "0x30", 'sdk_id="s"')], "10m", {"sdk_id": "s"},
        "SDK s of a:8051 serves the config of an earlier run; do not restart it",
    ),
    "FlaggatewayConfigHeld": (
        [one("flaggateway_config_held", "1x30", 'sdk_id="s"')], [one("flaggateway_config_held", "0x30", 'sdk_id="s"')],
        "5m", {"sdk_id": "s"}, "a new config of SDK s is held until it is accepted or rejected",
    ),
    "FlaggatewayConfigPinned": (
        [one("flaggateway_config_pinned", "1x60", 'sdk_id="s"')],
        [one("flaggateway_config_pinned", "1x46 0x14", 'sdk_id="s"')], "1500m", {"sdk_id": "s"},
        "an earlier config of SDK s is pinned since yesterday",
    ),
    "FlaggatewayFlagsFailing": (
        [one("flaggateway_flags_failing", "3x30", 'sdk_id="s"')],
        [one("flaggateway_flags_failing", "0x30", 'sdk_id="s"')], "10m", {"sdk_id": "s"},
        "3 flags of SDK s fail for some users or all of them",
    ),
    "FlaggatewayFlagsVanished": (
        [one("flaggateway_flags", "30x12 14x20", 'sdk_id="s"')],
        [one("flaggateway_flags", "30x12 16x20", 'sdk_id="s"')], "15m", {"sdk_id": "s"},
        "over half of the flags of SDK s vanished within ten minutes",
    ),
    "FlaggatewayHistoryNotWritten": (
        [one("flaggateway_history_recording", "0x30")], [one("flaggateway_history_recording", "1x30")], "10m", {},
        "a:8051 cannot write its history of configs",
    ),
    "FlaggatewayCacheFailing": (
        [one("flaggateway_config_cache_operations_total", "0+1x30", 'operation="look",outcome="failed"')],
        [one("flaggateway_config_cache_operations_total", "0+1x30", 'operation="look",outcome="ok"')], "15m", {},
        "a:8051 cannot use the shared config cache",
    ),
    "FlaggatewayNodesMissing": (
        [one("flaggateway_cluster_nodes", "1x30"), {"series": BUILD, "values": "1x30"},
         {"series": BUILD.replace("a:", "b:"), "values": "1x30"}],
        [one("flaggateway_cluster_nodes", "1x30"), {"series": BUILD, "values": "1x30"}], "10m", {},
        "a:8051 shares configs with 1 gateways, fewer than run as gw",
    ),
    "FlaggatewayErrors": (
        [one("flaggateway_http_requests_total", "0+2x30", 'status="500",route="/x"'),
         one("flaggateway_http_requests_total", "0+98x30", 'status="200",route="/x"')],
        [one("flaggateway_http_requests_total", "0+1x30", 'status="500",route="/x"'),
         one("flaggateway_http_requests_total", "0+199x30", 'status="200",route="/x"')],
        "15m", {}, "2% of the requests to a:8051 fail",
    ),
    "FlaggatewaySlowAnswers": (
        buckets("flaggateway_http_request_duration_seconds", 'route="/api/{sdkId}/eval"', slow=True),
        buckets("flaggateway_http_request_duration_seconds", 'route="/api/{sdkId}/refresh"', slow=True), "30m", {},
        "one of 100 answers of a:8051 takes 4.95s or more",
    ),
    "FlaggatewayStreamsLost": (
        [one("configcat_stream_connections", "200x12 90x20", 'sdk="s"')],
        [one("configcat_stream_connections", "90x12 40x20", 'sdk="s"')], "15m", {"instance": None},
        "over half of the event streams of gw ended within ten minutes, 90 are left",
    ),
    "FlaggatewayStreamsRefused": (
        [one("flaggateway_streams_refused_total", "0+1x30", 'reason="files"')],
        [one("flaggateway_streams_refused_total", "5x30", 'reason="files"')], "10m", {"reason": "files"},
        "a:8051 refuses event streams: limit of files",
    ),
    "FlaggatewayReadersStalled": (
        [one("flaggateway_streams_dropped_total", "0+120x40", 'reason="stalled"')],
        [one("flaggateway_streams_dropped_total", "0+30x40", 'reason="stalled"')], "30m", {},
        "a:8051 closes 2 event streams a second whose readers read nothing",
    ),
    "FlaggatewaySlowPushes": (
        buckets("flaggateway_push_duration_seconds", 'sdk="s"', slow=True),
        buckets("flaggateway_push_duration_seconds", 'sdk="s"', slow=False), "70m", {"sdk": "s"},
        "changes of SDK s need 4.95s to reach all streams of a:8051",
    ),
    "FlaggatewayOutboxNotWritten": (
        [one("flaggateway_outbox_recording", "0x30")], [one("flaggateway_outbox_recording", "1x30")], "5m", {},
        "a:8051 cannot record changes for webhooks",
    ),
    "FlaggatewayDeliveriesLate": (
        [one("flaggateway_deliveries_oldest_seconds", "0+60x30", 'endpoint="e"')],
        [one("flaggateway_deliveries_oldest_seconds", "0x30", 'endpoint="e"')], "20m", {"endpoint": "e"},
        "webhook e has accepted nothing for 20m 0s",
    ),
    "FlaggatewayDeliveriesGivenUp": (
        [one("flaggateway_deliveries_failed_total", "0x5 1x20", 'endpoint="e"')],
        [one("flaggateway_deliveries_failed_total", "1x30", 'endpoint="e"')], "8m", {"endpoint": "e"},
        "messages for webhook e were given up",
    ),
    "FlaggatewayDeliveriesRefused": (
        [one("flaggateway_deliveries_dropped_total", "0x5 1x20", 'endpoint="e",reason="refused"')],
        [one("flaggateway_deliveries_dropped_total", "0x5 1x20", 'endpoint="e",reason="purged"')], "8m",
        {"endpoint": "e", "reason": "refused"},
        "messages for webhook e were not recorded (refused) and will never arrive",
    ),
    "FlaggatewayExportStopped": (
        [one("flaggateway_evaluations_waiting", "5x60"), one("flaggateway_evaluations_exported_total", "9x60")],
        [one("flaggateway_evaluations_waiting", "5x60"), one("flaggateway_evaluations_exported_total", "0+9x60")],
        "40m", {}, "5 evaluations wait at a:8051, and none is accepted",
    ),
    "FlaggatewayEvaluationsDropped": (
        [one("flaggateway_evaluations_dropped_total", "0x5 1x20", 'reason="memory"')],
        [one("flaggateway_evaluations_dropped_total", "1x30", 'reason="memory"')], "8m", {"reason": "memory"},
        "evaluations of a:8051 were lost (memory)",
    ),
    "FlaggatewayEvaluationsRefused": (
        [one("flaggateway_evaluations_refused_total", "0x5 1x20")],
        [one("flaggateway_evaluations_refused_total", "1x30")], "8m", {},
        "the receiver of evaluations refuses some events of a:8051 for good",
    ),
}  # fmt: skip


def test_every_rule_has_a_case():
    """A rule that is added without one would be untested."""
    assert set(ALERTS) == set(CASES)


def test_every_alert_leads_to_its_paragraph():
    """The heading is the name of the alert, and text follows; every paragraph is of an alert that exists."""
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    section = page.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    paragraphs = dict(re.findall(r"^### (Flaggateway\w+)\n\n(\S.+)", section, re.MULTILINE))
    assert set(ALERTS) == set(paragraphs)
    for name, rule in ALERTS.items():
        assert f"{RUNBOOK_URL}#{name.lower()}" == rule["annotations"]["runbook_url"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]


def test_the_page_has_the_number_of_rules():
    """docs/deployment.md states how many there are."""
    assert f"{len(ALERTS)} alert rules" in (ROOT / "docs/deployment.md").read_text("utf-8")


def moved(series, job):
    """The same series of another job, so that the cases do not meet."""
    return [{**each, "series": each["series"].replace('job="gw"', f'job="{job}"')} for each in series]


def expected(name, labels, summary):
    found = ME | {"job": name, "severity": ALERTS[name]["labels"]["severity"]} | labels
    return {
        "exp_labels": {label: value for label, value in found.items() if value is not None},
        "exp_annotations": {
            "summary": re.sub(r"\bgw\b", name, summary),
            "runbook_url": f"{RUNBOOK_URL}#{name.lower()}",
        },
    }


def scene(names, interval="1m"):
    """All series of these alerts at once; of each alert only that of its own fault is expected."""
    series, alerts = [], []
    for name in names:
        wrong, right, at, labels, summary = CASES[name]
        series += moved(wrong, name) + moved(right, f"{name}-quiet")
        alerts.append({"eval_time": at, "alertname": name, "exp_alerts": [expected(name, labels, summary)]})
    return {"interval": interval, "input_series": series, "alert_rule_test": alerts}


def judge(promtool, folder, case):
    """Run promtool with one test, the rules being evaluated as often as its series have values."""
    document = {
        "rule_files": [str(ROOT / "etc/prometheus/rules.yml")],
        "evaluation_interval": case["interval"],
        "tests": [case],
    }
    file = folder / "case.yml"
    file.write_text(yaml.safe_dump(document))
    return subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)


def test_every_rule_fires_and_only_then(require_tool, tmp_path):
    """With the series of its fault each alert fires as described; without it, and for other faults, it does not."""
    promtool = require_tool("promtool")
    long = {"FlaggatewayConfigPinned"}  # it takes a day, so its case has one value per half hour
    for names, interval in ((CASES.keys() - long, "1m"), (long, "30m")):
        ended = judge(promtool, tmp_path, scene(names, interval))
        assert 0 == ended.returncode, ended.stdout + ended.stderr


def test_a_case_that_expects_too_little_fails(require_tool, tmp_path):
    """The run above would notice: an alert that fires where none is expected is an error of promtool."""
    promtool = require_tool("promtool")
    wrong, _, at, _, _ = CASES["FlaggatewayDown"]
    quiet = {"eval_time": at, "alertname": "FlaggatewayDown", "exp_alerts": []}
    case = {"interval": "1m", "input_series": wrong, "alert_rule_test": [quiet]}
    assert 1 == judge(promtool, tmp_path, case).returncode
