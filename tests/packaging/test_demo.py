"""`make run` as its user meets it: the demo's config, the commands it prints, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from eventually import eventually
from gateway_process import unused_port
from postgres_server import binaries
from tracked import ROOT

pytestmark = pytest.mark.timeout(600)  # seconds; the environment may have to be made first

DEMO = json.loads((ROOT / "etc" / "demo" / "config.json").read_text("utf-8"))


class Demo:
    """The demo gateway, run in a directory of its own with an environment that has the wheel."""

    def __init__(self, home, python, **variables):
        """Lay the directory out as `make run` leaves it, and start with further environment variables."""
        lay_out(home, python)
        self.home = home
        self.port = unused_port()
        self.diag_port = unused_port(self.port)
        self.said = home / "said"
        env = os.environ | {"PORT": str(self.port), "DIAG_PORT": str(self.diag_port), "CONFIGCAT_HTTP_ENABLED": "no"}
        env |= variables
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(["etc/demo/run"], cwd=home, env=env, stdout=said, stderr=said)

    def commands(self):
        """Return the commands that were printed to be pasted."""
        return re.findall(r"^   (\S.*)$", self.said.read_text("utf-8"), re.MULTILINE)

    def serves(self):
        """Whether it answers that it is ready; fails if it has ended."""
        assert self.process.poll() is None, self.said.read_text("utf-8")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.diag_port}/readyz", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def told(self, command):
        """Return the types of messages that the command shows."""
        self.received, _ = self.paste(command).communicate(timeout=30)
        return {json.loads(line)["type"] for line in self.received.splitlines() if line.startswith("{")}

    def paste(self, command):
        """Run a command as it would run in the user's other terminal."""
        return subprocess.Popen(
            ["sh", "-c", command], cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )


def lay_out(home, python):
    """Make the directory as `make run` leaves it."""
    shutil.copytree(ROOT / "etc", home / "etc")
    (home / ".run").mkdir()
    (home / ".run" / "venv").symlink_to(python.parent.parent)


def answers(port):
    """Whether anybody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def demo(tmp_path, installed, require_tool):
    """Return a running demo."""
    require_tool("curl")
    running = Demo(tmp_path, installed)
    try:
        eventually(running.serves, running.said.read_text)
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_the_printed_commands_show_an_evaluation_a_stream_a_push_and_a_delivery(demo):
    """Pasted as they are, the four commands evaluate a flag, stream it, push its new value, and show who was told."""
    evaluate, stream, change, deliveries = demo.commands()
    answer, _ = demo.paste(evaluate).communicate(timeout=30)
    assert 39 == json.loads(answer)["value"]
    with demo.paste(f"exec {stream}") as reader:
        data = (json.loads(line[6:])["value"] for line in reader.stdout if line.startswith("data: "))
        assert 39 == next(data)
        assert ("", None) == demo.paste(change).communicate(timeout=30)
        assert 29 == next(data)
        reader.kill()
    eventually(lambda: demo.told(deliveries) >= {"FLAG_UPDATED", "USER_FLAGS_UPDATED"}, demo.said.read_text)
    assert "SIGNATURE INVALID" not in demo.received
    assert 2 == demo.received.count("signature valid")


def test_ctrl_c_ends_the_demo_well(demo):
    """Ctrl-C ends the demo with status 0 and nothing that looks like a fault."""
    demo.process.send_signal(signal.SIGINT)
    assert 0 == demo.process.wait(30)
    assert "Traceback" not in demo.said.read_text("utf-8")
    port = int(
        re.findall(r"^receiving on port ([0-9]+)$", (demo.home / ".run/received.log").read_text(), re.MULTILINE)[0]
    )
    eventually(lambda: not answers(port))


def test_a_taken_port_is_named_before_anything_starts(tmp_path, installed):
    """With the port taken, the demo says which one and how to choose another, and ends with status 1."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        lay_out(tmp_path, installed)
        port = taken.getsockname()[1]
        env = os.environ | {"PORT": str(port), "DIAG_PORT": str(unused_port(port))}
        ended = subprocess.run(["etc/demo/run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert 1 == ended.returncode
    assert f"Port {port} is already in use" in ended.stderr
    assert "make run PORT=9050" in ended.stderr


class NodesDemo(Demo):
    """The demo with several nodes, in the environment of the tests, which has the driver of PostgreSQL."""

    def __init__(self, home, count):
        """Start."""
        super().__init__(home, Path(sys.executable), NODES=str(count))

    def text(self):
        """Return what was printed so far; fails if the demo has ended."""
        printed = self.said.read_text("utf-8")
        assert self.process.poll() is None, printed
        return printed

    def ports(self):
        """Return the ports of the gateways, and those of all that was started."""
        printed = self.said.read_text("utf-8")
        rows = re.findall(r"^[a-i] +http://localhost:(\d+) +http://localhost:(\d+)/$", printed, re.MULTILINE)
        servers = re.findall(r"\(port (\d+)\)", printed)
        received = (self.home / ".run/received.log").read_text("utf-8").split()[3]
        upstream = (self.home / ".run/cdn.log").read_text("utf-8").split()[0]
        gateways = [int(port) for port, _ in rows]
        return gateways, [int(port) for port in (*(each for row in rows for each in row), *servers, received, upstream)]

    def value(self, port):
        """Return what a node answers to the first printed command."""
        command = self.commands()[0].replace(str(self.ports()[0][0]), str(port))
        return json.loads(self.paste(command).communicate(timeout=30)[0])["value"]


@pytest.fixture
def several(tmp_path, require_tool):
    """Return a function that starts the demo with that many nodes, and waits until they serve."""
    binaries()
    for tool in ("curl", "redis-server"):
        require_tool(tool)
    started = []

    def start(count):
        started.append(NodesDemo(tmp_path, count))
        eventually(lambda: "Ctrl-C here" in started[0].text(), started[0].said.read_text, limit=110)
        return started[0]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_several_nodes_are_one_gateway_until_ctrl_c(several):
    """The printed commands: a change reaches the stream of another node, each message is sent once, a node may die."""
    demo = several(3)
    gateways, everything = demo.ports()
    assert (3, 3, 10) == (len(gateways), len(set(gateways)), len(everything))
    _, stream, change, deliveries, kill = demo.commands()
    assert [39, 39, 39] == [demo.value(port) for port in gateways]
    with demo.paste(f"exec {stream}") as reader:
        data = (json.loads(line[6:])["value"] for line in reader.stdout if line.startswith("data: "))
        assert 39 == next(data)
        demo.paste(change).communicate(timeout=30)
        assert 29 == next(data)
        reader.kill()
    eventually(lambda: [29, 29, 29] == [demo.value(port) for port in gateways], demo.text)
    eventually(lambda: demo.told(deliveries) >= {"FLAG_UPDATED", "USER_FLAGS_UPDATED"}, demo.text)
    assert 2 == demo.received.count("signature valid")
    demo.paste(kill).communicate(timeout=30)
    eventually(lambda: "Node a has ended with -9" in demo.text(), demo.text)
    assert [29, 29] == [demo.value(port) for port in gateways[1:]]
    demo.process.send_signal(signal.SIGINT)
    assert 0 == demo.process.wait(60)
    assert "Traceback" not in demo.said.read_text("utf-8")
    assert [] == [port for port in everything if answers(port)]


@pytest.mark.slow
def test_a_kill_of_the_demo_ends_all_that_it_has_started(several):
    """Gateways, Redis, PostgreSQL, upstream and receiver."""
    demo = several(2)
    _, everything = demo.ports()
    assert 8 == len(everything)
    demo.process.kill()
    demo.process.wait()
    eventually(lambda: not any(answers(port) for port in everything))


def test_without_the_servers_the_packages_are_named(tmp_path):
    """Before anything starts; only the tools of the shell are on the path."""
    lay_out(tmp_path, Path(sys.executable))
    (tmp_path / "bin").mkdir()
    for tool in ("cp", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    port = unused_port()
    env = {"PATH": str(tmp_path / "bin"), "PORT": str(port), "DIAG_PORT": str(unused_port(port)), "NODES": "3"}
    ended = subprocess.run(["etc/demo/run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert 1 == ended.returncode
    assert re.search(r"^    apt-get install redis-server( postgresql)?$", ended.stderr, re.MULTILINE)
    assert "\n    make run\n" in ended.stderr


@pytest.mark.parametrize("count", ["0", "three", "1000"])
def test_a_wrong_number_of_nodes_is_refused(tmp_path, count):
    """With the range that is possible."""
    lay_out(tmp_path, Path(sys.executable))
    port = unused_port()
    env = os.environ | {"PORT": str(port), "DIAG_PORT": str(unused_port(port)), "NODES": count}
    ended = subprocess.run(["etc/demo/run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (1, f"NODES={count} is not a number from 1 to 9.\n") == (ended.returncode, ended.stderr)


def test_the_demo_config_shows_what_a_config_can_do():
    """The demo has 30 flags of every type, segments, a prerequisite, percentages and rules of every family."""
    text = json.dumps(DEMO["f"])
    assert 30 == len(DEMO["f"])
    assert {0, 1, 2, 3} == {flag["t"] for flag in DEMO["f"].values()}
    assert 3 <= len(DEMO["s"])
    assert '"p": {"f": "newCheckout"' in text
    assert 5 <= sum("p" in flag for flag in DEMO["f"].values())
    comparators = {int(number) for number in re.findall(r'"a": "[^"]+", "c": (\d+)', json.dumps(DEMO))}
    families = {
        "text": {0, 1, 2, 3, 28, 29, 30, 31, 32, 33},
        "hashed": {16, 17, 20, 21, 22, 23, 24, 25, 26, 27},
        "semver": {4, 5, 6, 7, 8, 9},
        "number": {10, 11, 12, 13, 14, 15},
        "date": {18, 19},
        "list": {34, 35},
    }
    assert [] == [name for name, numbers in families.items() if not numbers & comparators]
