"""The tutorial and the guides, as a reader follows them: files are written, commands run, output is compared."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from selenium.webdriver import Chrome

from browser import Origin, open_browser
from eventually import eventually
from gateway.settings import load
from gateway_process import GatewayProcess, unused_port
from nginx import CONF
from outside_tools import find_tool
from snippets import Snippet, snippet, snippets

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(300)  # seconds; the machine may be busy


class Reader:
    """Someone who follows a page in a folder, with the ports of a running gateway."""

    def __init__(self, folder: Path, gateway: GatewayProcess) -> None:
        self.folder = folder
        self.gateway = gateway

    def with_ports(self, text: str) -> str:
        """Return a text with the ports of this gateway in place of 8050 and 8051."""
        return text.replace("8050", str(self.gateway.port)).replace("8051", str(self.gateway.diag_port))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a shell."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONFIGCAT_")}
        state = {"XDG_STATE_HOME": str(self.gateway.home / "state"), "no_proxy": "*"}
        env = inherited | state | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", self.with_ports(command)],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def follow(self, found: Snippet) -> None:
        """Write the file of a snippet, or run its commands and compare what they print."""
        if found.mark.startswith("file: "):
            (self.folder / found.mark.removeprefix("file: ")).write_text(self.with_ports(found.text))
        elif found.mark in {"run", "eventually"}:
            for command, shown in found.commands:
                if found.mark == "eventually":
                    eventually(lambda command=command, shown=shown: self.printed(command) == shown.strip())
                assert shown.strip() == self.printed(command), command

    def printed(self, command: str) -> str:
        """Return what a command prints, which must end well."""
        ended = self.run(command)
        assert 0 == ended.returncode, (command, ended.stdout, ended.stderr)
        return ended.stdout.strip()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A gateway with the settings of the tutorial, in the folder where its files are."""
    home = tmp_path_factory.mktemp("tutorial")
    settings = yaml.safe_load(snippet("tutorial.md", "file: flaggateway.yml"))
    settings |= {"http": {}, "diag": {}}  # with ports that are free
    gateway = GatewayProcess(settings, home)
    found = Reader(home, gateway)
    (flags,) = (each for each in snippets("tutorial.md") if each.mark == "file: flags.json")
    found.follow(flags)
    gateway.start()
    yield found
    gateway.stop()


def test_the_tutorial(reader: Reader, tmp_path: Path) -> None:
    """Each command prints what the page shows; the page in the browser changes with the flag, for the right user."""
    reader.folder = tmp_path
    found = snippets("tutorial.md")
    assert ["flags.json", "flaggateway.yml", "index.html"] == [
        each.mark.removeprefix("file: ") for each in found if each.mark.startswith("file: ")
    ]
    settings = next(each for each in found if each.mark == "file: flaggateway.yml")
    flags = next(each for each in found if each.mark == "file: flags.json")
    (reader.gateway.home / "flags.json").write_text(flags.text)  # as before the edit
    page = reader.with_ports(snippet("tutorial.md", "file: index.html")).encode()
    with Origin({"/": ("text/html", page)}) as origin:
        browser = open_browser(tmp_path / "chromium")
        try:
            browser.get(f"{origin.url}/")
            eventually(lambda: banner(browser) == "summer sale")
            reader.folder = reader.gateway.home  # where the gateway reads flags.json
            for each in found:
                if each.mark not in {settings.mark, flags.mark} and "flaggateway check" not in each.text:
                    reader.follow(each)
            eventually(lambda: banner(browser) == "winter sale")
            browser.get(f"{origin.url}/?country=France")
            eventually(lambda: banner(browser) == "welcome")
        finally:
            browser.quit()


def banner(browser: Chrome) -> str:
    """The text that the page shows."""
    return str(browser.execute_script("return document.getElementById('banner').textContent"))


def test_the_tutorial_checks_its_settings(tmp_path: Path, reader: Reader) -> None:
    """With the files of the page and two free ports."""
    other = Reader(tmp_path, GatewayProcess({}, tmp_path))
    other.gateway.port, other.gateway.diag_port = unused_port(), unused_port()
    for each in snippets("tutorial.md"):
        if each.mark in {"file: flags.json", "file: flaggateway.yml"} or "flaggateway check" in each.text:
            other.follow(each)
    assert reader.gateway.returncode is None


def test_the_files_for_a_virtual_machine(reader: Reader, tmp_path: Path) -> None:
    """They are written by the command of the page."""
    other = Reader(tmp_path, reader.gateway)
    for each in snippets("howto/vm.md"):
        other.follow(each)
    assert {"flaggateway.service", "flaggateway.yml"} == {path.name for path in (tmp_path / "made").iterdir()}


def test_the_gate_of_a_pull_request(reader: Reader, tmp_path: Path) -> None:
    """Status 0 for a candidate that changes nothing, 2 for one that changes everything, 1 for one that is not JSON."""
    other = Reader(tmp_path, reader.gateway)
    ((command, _),) = snippets("howto/gate-a-pull-request.md")[0].commands
    flags = (reader.gateway.home / "flags.json").read_text()
    user = {"key": "banner", "user": {"Identifier": "anna", "Country": "France"}}
    eventually(lambda: reader.gateway.post("/api/shop/eval", json.dumps(user).encode())[0] == 200)
    for text, status in ((flags, 0), (flags.replace('"welcome"', '"hello"'), 2), ("not JSON", 1)):
        (tmp_path / "candidate.json").write_text(text)
        ended = other.run(command)
        assert status == ended.returncode, ended.stderr


def test_the_receiver_of_webhooks(reader: Reader, tmp_path: Path) -> None:
    """It accepts what the gateway sends with the settings of the page, and prints the type and the flag."""
    settings = yaml.safe_load(snippet("howto/receive-a-webhook.md", "settings"))
    port = unused_port()
    script = snippet("howto/receive-a-webhook.md", "file: receiver.py").replace("9000", str(port))
    (tmp_path / "receiver.py").write_text(script)
    flags = tmp_path / "flags.json"
    flags.write_text(snippet("tutorial.md", "file: flags.json"))
    settings["webhooks"][0]["url"] = settings["webhooks"][0]["url"].replace("9000", str(port))
    gateway = GatewayProcess(settings, tmp_path)
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        receiver = subprocess.Popen([sys.executable, str(tmp_path / "receiver.py")], stdout=output)
        try:
            gateway.start()
            fresh = flags.with_suffix(".new")
            fresh.write_text(flags.read_text().replace("summer sale", "winter sale"))
            fresh.replace(flags)
            eventually(lambda: "FLAG_UPDATED banner\n" in printed.read_text(), gateway.logs)
            assert 0 == gateway.stop()
        finally:
            gateway.kill()
            receiver.kill()
            receiver.wait()


def test_nginx_of_the_guide(reader: Reader, tmp_path: Path) -> None:
    """A real nginx with the configuration of the page passes evaluations and an event stream."""
    nginx, port = find_tool("nginx"), unused_port()
    block = snippet("howto/proxies.md", "nginx").replace("8050", str(reader.gateway.port))
    block = block.replace("listen 8080", f"listen 127.0.0.1:{port}")
    head = CONF.partition("    upstream gw")[0].format(home=tmp_path)
    conf = tmp_path / "nginx.conf"
    conf.write_text(head + block + "}\n")
    command = [nginx, "-c", str(conf), "-e", str(tmp_path / "error.log"), "-g", "master_process off;"]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: (tmp_path / "nginx.pid").exists() and (tmp_path / "nginx.pid").read_text())
        body = b'{"key":"banner","user":{"Identifier":"zoe","Country":"France"}}'
        url = f"http://127.0.0.1:{port}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/api/shop/eval", body, timeout=60) as answer:
            assert "welcome" == json.load(answer)["value"]
        with opener.open(f"{url}/sse/shop/eval/{base64.b64encode(body).decode()}", timeout=60) as answer:
            event = next(line for line in answer if line.startswith(b"data:"))
        assert b'data: {"value":"welcome","variationId":"v1"}\n' == event
        assert "/sse/" not in (tmp_path / "access.log").read_text()
    finally:
        process.terminate()
        process.wait(20)


def test_the_yaml_of_the_guides_is_consistent() -> None:
    """Envoy's routes lead to its cluster; the deployment sets options that exist and probes ports that it has."""
    envoy = yaml.safe_load(snippet("howto/proxies.md", "envoy"))["static_resources"]
    names = {cluster["name"] for cluster in envoy["clusters"]}
    assert names == set(re.findall(r"cluster: (\w+)", snippet("howto/proxies.md", "envoy")))
    pod = yaml.safe_load(snippet("howto/kubernetes.md", "kubernetes"))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {each["name"]: each.get("value", '{"shop":"key"}') for each in container["env"]}
    loaded = load(None, values)
    assert ((), []) == (loaded.problems, [each for each in loaded.warnings if "unknown" in each.text])
    ports = {port["name"] for port in container["ports"]}
    assert ports >= {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}
    assert loaded.settings is not None
    needed = loaded.settings.http.shutdown_delay + loaded.settings.http.sse.drain_window + 15
    assert pod["terminationGracePeriodSeconds"] > needed
    workflow = yaml.safe_load(snippet("howto/gate-a-pull-request.md", "workflow"))
    assert "flaggateway impact" in json.dumps(workflow["jobs"])
