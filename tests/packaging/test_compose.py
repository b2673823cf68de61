"""compose.yaml: what it mounts exists, and the settings that its gateways get are valid."""

from __future__ import annotations

import html.parser
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import main
from gateway.settings import load
from tracked import ROOT, tracked_files

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway")]
SETTINGS = ROOT / "etc/compose/flaggateway.yml"


def environment_of(service):
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_mounts_exists(service):
    """A path of this machine is a tracked file or folder of the project and is read-only; others are named volumes."""
    tracked = {str(name) for name in tracked_files()}
    for mount in SERVICES[service].get("volumes", []):
        source, target, *mode = mount.split(":")
        if source.startswith("."):
            name = source.removeprefix("./")
            assert any(each == name or each.startswith(f"{name}/") for each in tracked), source
            assert ["ro"] == mode
        else:
            assert source in COMPOSE["volumes"]
            assert target.startswith("/var/lib/")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_refers_to_services_that_exist(service):
    """Dependencies are services, and a service that is waited for has a health check."""
    for other, condition in SERVICES[service].get("depends_on", {}).items():
        assert other in SERVICES
        assert condition["condition"] != "service_healthy" or "test" in SERVICES[other]["healthcheck"]


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_open_on_this_machine_only(service):
    """No published port is reachable from other machines, and none is published twice."""
    ports = SERVICES[service].get("ports", [])
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]
    every = [port.split(":")[1] for each in SERVICES.values() for port in each.get("ports", [])]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("service", [name for name in SERVICES if SERVICES[name]["image"].startswith("flaggateway:")])
def test_our_containers_have_no_rights(service):
    """Each one of our image has a read-only root, no capabilities, and cannot get more rights."""
    ours = SERVICES[service]
    assert (True, ["ALL"], ["no-new-privileges:true"]) == (ours["read_only"], ours["cap_drop"], ours["security_opt"])


def test_other_images_have_exact_tags():
    """A tag such as latest would start another program some day."""
    tags = [service["image"].partition(":")[2] for service in SERVICES.values()]
    assert [] == [tag for tag in tags if not re.match(r"local$|v?\d+\.\d+", tag)]


@pytest.mark.parametrize("service", GATEWAYS)
def test_the_settings_pass_check(service, monkeypatch):
    """``flaggateway check`` finds no error and no warning in what each gateway gets."""
    for name in [name for name in os.environ if name.startswith("CONFIGCAT_")]:
        monkeypatch.delenv(name)
    result = CliRunner().invoke(main, ["check", "--json", "-c", str(SETTINGS)], env=environment_of(service))
    found = json.loads(result.stdout)
    expected = {"outbox.url", "outbox.listen_url", "cache.file.path"}  # the server has a name of the compose network
    assert [] == [problem for problem in found["problems"] + found["warnings"] if problem["option"] not in expected]


def test_names_in_the_settings_are_services():
    """Each host that the settings, Prometheus and Grafana call is a service, with the port that it listens on."""
    settings = load(SETTINGS.read_text("utf-8"), environment_of(GATEWAYS[0])).settings
    called = {settings.sdks["demo"].base_url, settings.webhooks[0].url, *settings.cache.redis.addresses}
    called |= set(re.findall(r"[\w-]+:8051", (ROOT / "etc/compose/prometheus.yml").read_text("utf-8")))
    called |= set(re.findall(r"http://\S+", (ROOT / "etc/compose/grafana/datasources/prometheus.yml").read_text()))
    listening = {"redis": "6379", "prometheus": "9090", **dict.fromkeys(GATEWAYS, str(settings.diag.port))}
    for name in ("cdn", "receiver"):
        command = SERVICES[name]["command"]
        listening[name] = command[command.index("--port") + 1]
    for url in called:
        host, _, port = url.rpartition("//")[2].rstrip("/").partition(":")
        assert listening[host] == port, url
    database = environment_of("postgres")
    user, password, name = (database[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB"))
    assert f"postgresql://{user}:{password}@postgres/{name}" == settings.outbox.url
    assert settings.webhooks[0].secret in SERVICES["receiver"]["command"]


def test_what_grafana_and_prometheus_read_is_what_is_tested():
    """The provisioned dashboard and the rules are the files in etc, at the places that the settings name."""
    provider = yaml.safe_load((ROOT / "etc/compose/grafana/dashboards/flaggateway.yml").read_text())["providers"][0]
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    assert "./etc/grafana" == mounts[provider["options"]["path"]]
    assert ["flaggateway.json"] == [path.name for path in (ROOT / "etc/grafana").iterdir()]
    prometheus = yaml.safe_load((ROOT / "etc/compose/prometheus.yml").read_text())
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["prometheus"]["volumes"])
    assert ["rules.yml"] == prometheus["rule_files"]
    assert "./etc/prometheus/rules.yml" == mounts["/etc/prometheus/rules.yml"]


def test_the_page_opens_streams_of_the_published_ports():
    """The ports in its script are those of the gateways' main ports on this machine."""
    page = (ROOT / "etc/compose/page/index.html").read_text("utf-8")
    html.parser.HTMLParser().feed(page)
    ports = json.loads(re.search(r"sources = (\[[\d, ]+\])", page)[1])
    published = [port.split(":")[1] for name in GATEWAYS for port in SERVICES[name]["ports"] if port.endswith(":8050")]
    assert [str(port) for port in ports] == published
    assert Path(ROOT / re.search(r"<code>(etc/\S+\.json)</code>", page)[1]).exists()
