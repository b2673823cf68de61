"""The Helm chart without helm: its values fit their schema, and its golden files are current and describe what they
should; tests/chart/test_helm.py renders them.
"""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
import yaml

import gateway
from chart_golden import CASES, CHART, GOLDEN, digest
from gateway.settings import load
from tracked import ROOT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
CHECK = jsonschema.Draft7Validator(SCHEMA)


def merged(below, above):
    """Values as helm merges them: dictionaries by key, everything else is replaced."""
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found


def values_of(case):
    return merged(VALUES, yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text("utf-8")))


def documents(case):
    """The objects of a golden file, by kind and name."""
    found = [each for each in yaml.safe_load_all((GOLDEN / f"{case}.yaml").read_text("utf-8")) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def kinds(case):
    return sorted(kind for kind, _ in documents(case))


def workload(case):
    (found,) = [each for (kind, _), each in documents(case).items() if kind in {"Deployment", "StatefulSet"}]
    return found


def container(case):
    (found,) = workload(case)["spec"]["template"]["spec"]["containers"]
    return found


def test_the_versions_are_those_of_the_gateway():
    """The chart of a version installs the image of that version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (gateway.__version__, gateway.__version__) == (chart["version"], chart["appVersion"])


def test_rules_and_dashboard_are_those_of_the_project():
    """The chart contains the files that tests/monitoring tests, and no copies that would grow old."""
    assert (ROOT / "etc/prometheus/rules.yml") == (CHART / "files/rules.yml").resolve()
    assert (ROOT / "etc/grafana/flaggateway.json") == (CHART / "files/flaggateway.json").resolve()


@pytest.mark.parametrize("case", ["", *CASES])
def test_values_fit_the_schema(case):
    """The defaults, the values of each golden file, and with them those of ConfigCat Proxy's chart."""
    assert [] == [error.message for error in CHECK.iter_errors(values_of(case) if case else VALUES)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicas": 3}, "'replicas' was unexpected"),
        ({"service": {"port": 0}}, "0 is less than the minimum of 1"),
        ({"persistence": {"enabled": "yes"}}, "'yes' is not one of"),
        ({"sdks": {"shop": 1}}, "1 is not of type 'string'"),
        ({"ingress": {"sse": "traefik"}}, "'traefik' is not one of"),
    ],
)
def test_wrong_values_are_refused(values, message):
    """Typing errors, values out of range, and wrong types."""
    (error,) = CHECK.iter_errors(merged(VALUES, values))
    assert message in error.message


def test_the_schema_has_every_value():
    """Each value of values.yaml is declared, and each declared one has a default, those of the proxy's chart apart."""
    theirs = {"targetPort", "global", "connection", "envVarName", "leader", "followers"}

    def compare(schema, values, path):
        if "properties" in schema and isinstance(values, dict):
            assert set(values) <= set(schema["properties"]), path
            assert set(schema["properties"]) - set(values) <= theirs, path
            for key, value in values.items():
                compare(schema["properties"][key], value, [*path, key])

    compare(SCHEMA, VALUES, [])


def test_golden_files_are_current():
    """Whoever changes the chart renders them again, with `make chart-golden`."""
    assert (GOLDEN / "SHA256").read_text("utf-8") == digest()


@pytest.mark.parametrize("case", CASES)
def test_the_settings_in_the_secret_are_valid(case):
    """With the variables of the pod the gateway accepts them, and without a warning."""
    secret = documents(case)["Secret", "gw-flaggateway-settings"]
    key = "configcat-sdk-1/aaaaaaaaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbbbb"
    standing_in = {"CONFIGCAT_SDKS": json.dumps({"production": key}), "CONFIGCAT_CACHE_REDIS_PASSWORD": "secret"}
    names = {variable["name"] for variable in container(case).get("env", [])}
    loaded = load(
        secret["stringData"]["flaggateway.yml"],
        {name: value for name, value in standing_in.items() if name in names},
    )
    assert ((), ()) == (loaded.problems, loaded.warnings)
    http = loaded.settings.http
    assert {"http": http.port, "diagnostics": loaded.settings.diag.port} == {
        port["name"]: port["containerPort"] for port in container(case)["ports"]
    }
    grace = workload(case)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert math.ceil(http.shutdown_delay) + math.ceil(http.sse.drain_window) + 10 == grace


@pytest.mark.parametrize("case", CASES)
def test_pods_have_no_rights(case):
    """Not root, a root that cannot be written, no capabilities, no token; only its own folders can be written."""
    pod = workload(case)["spec"]["template"]["spec"]
    ours = container(case)
    assert (True, 10001, False) == (
        pod["securityContext"]["runAsNonRoot"],
        pod["securityContext"]["runAsUser"],
        pod["automountServiceAccountToken"],
    )
    assert (True, False, ["ALL"]) == (
        ours["securityContext"]["readOnlyRootFilesystem"],
        ours["securityContext"]["allowPrivilegeEscalation"],
        ours["securityContext"]["capabilities"]["drop"],
    )
    writable = {mount["mountPath"] for mount in ours["volumeMounts"] if not mount.get("readOnly")}
    assert {"/var/lib/flaggateway", "/tmp"} == writable


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods(case):
    """Services, budgets, policies and spread choose by labels that the pods have."""
    labels = workload(case)["spec"]["template"]["metadata"]["labels"]
    for (kind, name), each in documents(case).items():
        spec = each.get("spec", {})
        wanted = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "Deployment": lambda spec: spec["selector"]["matchLabels"],
            "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
        }.get(kind)
        if wanted is not None:
            assert wanted(spec).items() <= labels.items(), name


def test_an_embedded_outbox_gets_a_volume():
    """One pod with a volume of its own, whose service exists, and no budget that would block each drain."""
    stateful = workload("one")
    assert ("StatefulSet", 1) == (stateful["kind"], stateful["spec"]["replicas"])
    assert "state" == stateful["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert "state" not in {volume["name"] for volume in stateful["spec"]["template"]["spec"]["volumes"]}
    assert ("Service", stateful["spec"]["serviceName"]) in documents("one")
    assert "PodDisruptionBudget" not in kinds("one")


def test_everything_at_once():
    """Pods without state that are scaled by their streams; egress to Redis and PostgreSQL; streams are not buffered."""
    found = documents("many")
    assert [
        "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "Pod", "PodDisruptionBudget",
        "Secret", "Service", "Service", "ServiceAccount", "ServiceMonitor",
    ] == kinds("many")  # fmt: skip
    assert "replicas" not in workload("many")["spec"]
    metrics = found["HorizontalPodAutoscaler", "gw-flaggateway"]["spec"]["metrics"]
    assert ["configcat_stream_connections", "cpu"] == [
        (metric.get("pods", {}).get("metric") or metric.get("resource"))["name"] for metric in metrics
    ]
    ports = [port["port"] for port in found["NetworkPolicy", "gw-flaggateway"]["spec"]["egress"][1]["ports"]]
    assert [443, 6379, 6380, 5433] == ports
    annotations = found["Ingress", "gw-flaggateway"]["metadata"]["annotations"]
    assert "off" == annotations["nginx.ingress.kubernetes.io/proxy-buffering"]
    monitor = found["ServiceMonitor", "gw-flaggateway"]
    assert "prometheus" == monitor["metadata"]["labels"]["release"]
    service = found["Service", "gw-flaggateway-diagnostics"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service.items()


def test_values_of_the_proxys_chart_are_understood():
    """Keys, poll interval, region, log level, Redis with its password, the port of the service, and the ingress."""
    found = documents("proxy")
    text = found["Secret", "gw-flaggateway-settings"]["stringData"]["flaggateway.yml"]
    settings = load(text, {"CONFIGCAT_CACHE_REDIS_PASSWORD": "secret"}).settings
    assert {"production", "staging"} == set(settings.sdks)
    for sdk in settings.sdks.values():
        assert (15, "eu", "") == (sdk.poll_interval, sdk.data_governance, sdk.base_url)
    redis = settings.cache.redis
    assert (True, ["redis.example.com:6380"], 2, "flags", True) == (
        redis.enabled, redis.addresses, redis.db, redis.user, redis.tls.enabled,
    )  # fmt: skip
    assert "info" == settings.log.level
    assert 3 == workload("proxy")["spec"]["replicas"]
    assert 8080 == found["Service", "gw-flaggateway"]["spec"]["ports"][0]["port"]
    assert {"name": "redis", "key": "redis-password"} == container("proxy")["env"][0]["valueFrom"]["secretKeyRef"]
    assert "configcat-proxy.local" == found["Ingress", "gw-flaggateway"]["spec"]["rules"][0]["host"]
    assert "true" == found["Ingress", "gw-flaggateway"]["metadata"]["annotations"]["kubernetes.io/tls-acme"]


def test_cluster_mode_of_the_proxys_chart_is_one_kind_of_pod():
    """Leader and followers together, with the keys from the same Secret and the ingress of the followers."""
    assert 4 == workload("cluster")["spec"]["replicas"]
    reference = container("cluster")["env"][0]
    assert ("CONFIGCAT_SDKS", {"name": "configcat-sdks", "key": "sdks-configuration"}) == (
        reference["name"],
        reference["valueFrom"]["secretKeyRef"],
    )
    assert "configcat-follower.local" == documents("cluster")["Ingress", "gw-flaggateway"]["spec"]["rules"][0]["host"]
