"""compose.yaml, started without containers: each service by its own command, with its files, on ports of this machine.

Grafana is not in Debian: what its panels ask is asked here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventually import eventually
from gateway_process import unused_port
from outside_tools import find_tool
from postgres_server import PostgresServer
from redis_server import RedisServer
from tracked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway")]
QUESTION = json.dumps({"key": "freeShippingFrom", "user": {"Identifier": "zoe", "Country": "France"}}).encode()
WAIT = 110.0
BIN = Path(sys.executable).parent
# The interval that Grafana puts into rates, and the series that its lists of choices show at first.
GRAFANA = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "1h", "$job": ".*", "$instance": ".*"}


class Demo:
    """The services, with ports of this machine in the place of their names."""

    def __init__(self, home: Path, postgres: PostgresServer) -> None:
        self.home = home
        self.redis = RedisServer(*SERVICES["redis"]["command"][1:])
        self.postgres = postgres
        self.ports: dict[str, int] = {}
        for name in ("gateway", "gateway-two", "cdn", "receiver", "page", "prometheus"):
            self.ports[name] = unused_port(*self.ports.values())
        self.diag = {name: unused_port(*self.ports.values()) for name in GATEWAYS}
        self._replaced = {
            "redis:6379": self.redis.address,
            "@postgres/": f"@127.0.0.1:{postgres.port}/",
            "cdn:8090": f"127.0.0.1:{self.ports['cdn']}",
            "receiver:8052": f"127.0.0.1:{self.ports['receiver']}",
            **{f"{name}:8051": f"127.0.0.1:{port}" for name, port in self.diag.items()},
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything but Grafana."""
        self.redis.start()
        database = SERVICES["postgres"]["environment"]
        user = database["POSTGRES_USER"]
        self.postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{database['POSTGRES_PASSWORD']}'")
        self.postgres.execute(f"CREATE DATABASE {database['POSTGRES_DB']} OWNER {user}")
        self._run("cdn", "8090")
        self._run("receiver", "8052")
        self._run("page", "tcp:8080")
        for name in GATEWAYS:
            ports = {"CONFIGCAT_HTTP_PORT": str(self.ports[name]), "CONFIGCAT_DIAG_PORT": str(self.diag[name])}
            state = {"XDG_STATE_HOME": str(self.home / name / "state")}
            self._run(name, "", **SERVICES[name]["environment"], **ports, **state)
        self._run("prometheus", "")

    def _run(self, name: str, port: str, **environment: str) -> None:
        service = SERVICES[name]
        home = self.home / name
        home.mkdir()
        words = [*service.get("entrypoint", []), *service.get("command", [])]
        if name in GATEWAYS:
            words = ["flaggateway", "run", "--config", "/etc/flaggateway/flaggateway.yml"]  # those of the image
        elif name == "prometheus":
            listen = f"--web.listen-address=127.0.0.1:{self.ports[name]}"
            words = [find_tool("prometheus"), *words, listen, f"--storage.tsdb.path={home / 'data'}"]
        for volume in service.get("volumes", []):
            source, inside, *_ = volume.split(":")
            if not source.startswith("."):
                continue
            copy = home / Path(inside).name
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, copy)
            else:
                copy.write_text(self._here((ROOT / source).read_text("utf-8")), "utf-8")
            words = [word.replace(inside, str(copy)) for word in words]
        here = port.replace(port.rsplit(":", maxsplit=1)[-1], str(self.ports[name])) if port else ""
        words = [word.replace(port, here) if port and word.endswith(port) else word for word in words]
        program = Path(words[0]).name
        words[0] = {"python3": sys.executable}.get(
            program, str(BIN / program) if (BIN / program).exists() else words[0]
        )
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONFIGCAT_")}
        with (home / "log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                words, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)} | environment,
            )  # fmt: skip

    def log(self, name: str) -> str:
        """Return what a service has written."""
        return (self.home / name / "log").read_text("utf-8", "replace")

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"{name}:\n{self.log(name)[-1500:]}" for name in self._processes)

    def get(self, name: str, path: str, body: bytes | None = None, *, diag: bool = False) -> bytes | None:
        """Return an answer with status 200, or None while there is none; fails if the service has ended."""
        assert self._processes[name].poll() is None, self.log(name)
        port = self.diag[name] if diag else self.ports[name]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=30) as answer:
                return bytes(answer.read())
        except OSError:
            return None

    def asked(self, path: str) -> Any:
        """Return the data of an answer of Prometheus."""
        answer = self.get("prometheus", f"/api/v1/{path}")
        return json.loads(answer)["data"] if answer else None

    def close(self) -> None:
        """End everything."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.redis.close()

    def _here(self, text: str) -> str:
        for known, here in self._replaced.items():
            text = text.replace(known, here)
        return text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Everything, with ready gateways."""
    with PostgresServer() as postgres:
        demo = Demo(tmp_path_factory.mktemp("demo"), postgres)
        try:
            demo.start()
            for name in GATEWAYS:
                eventually(lambda name=name: demo.get(name, "/readyz", diag=True) is not None, demo.logs, limit=WAIT)
            yield demo
        finally:
            demo.close()


def test_every_service_is_started(demo: Demo) -> None:
    """All but Grafana, which Debian does not have; PostgreSQL has its user and database."""
    started = {*demo.ports, "redis", "postgres"}
    assert {"grafana"} == set(SERVICES) - started


def test_a_change_reaches_both_gateways_and_the_receiver(demo: Demo) -> None:
    """The edit that docs/deployment.md describes: two new values, and one webhook of the two gateways together."""
    config = demo.home / "cdn" / "demo" / "config.json"

    def values() -> set[float]:
        answers = [demo.get(name, "/api/demo/eval", QUESTION) for name in GATEWAYS]
        return {json.loads(answer)["value"] for answer in answers if answer}

    text = config.read_text("utf-8")
    assert '"d": 39.0' in text
    eventually(lambda: {39} == values(), demo.logs, limit=WAIT)
    config.write_text(text.replace('"d": 39.0', '"d": 29.0'), "utf-8")
    eventually(lambda: {29} == values(), demo.logs, limit=WAIT)
    eventually(lambda: '"FLAG_UPDATED"' in demo.log("receiver"), demo.logs, limit=WAIT)
    eventually(lambda: [] == pending(demo), demo.logs, limit=WAIT)
    assert (1, 1) == (demo.log("receiver").count("signature valid"), demo.log("receiver").count('"FLAG_UPDATED"'))


def pending(demo: Demo) -> Any:
    """Return the messages that are not sent yet, or None without an answer."""
    answer = demo.get("gateway", "/api/v1/deliveries?state=pending", diag=True)
    return json.loads(answer)["deliveries"] if answer else None


def test_the_page_is_served(demo: Demo) -> None:
    """The demo page, as it is in the repository."""
    page = ROOT / "etc/compose/page/index.html"
    eventually(lambda: page.read_bytes() == demo.get("page", "/"), demo.logs, limit=WAIT)


def test_prometheus_scrapes_both_and_evaluates_every_rule(demo: Demo) -> None:
    """Both targets are up, and no rule has an error."""

    def healthy() -> bool:
        targets = (demo.asked("targets") or {}).get("activeTargets", [])
        rules = [rule for group in (demo.asked("rules") or {}).get("groups", []) for rule in group["rules"]]
        assert "err" not in {rule["health"] for rule in rules}, rules
        return ["up"] * 2 == [target["health"] for target in targets] and {"ok"} == {rule["health"] for rule in rules}

    eventually(healthy, demo.logs, limit=WAIT)


def test_every_panel_of_grafana_gets_an_answer(demo: Demo) -> None:
    """Prometheus accepts each query of the dashboard; what always happens is on its panel after some scrapes."""
    dashboard = json.loads((ROOT / "etc/grafana/flaggateway.json").read_text("utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]

    def empty() -> set[str]:
        found = set()
        for panel in panels:
            for target in panel["targets"]:
                query = target["expr"]
                for name, text in GRAFANA.items():
                    query = query.replace(name, text)
                assert "$" not in query, query
                answer = demo.asked(f"query?query={urllib.parse.quote(query)}")
                assert answer is not None, f"{panel['title']}: {query}"
                if not answer["result"]:
                    found.add(panel["title"])
        return found

    eventually(lambda: demo.asked("targets") is not None, demo.logs, limit=WAIT)
    always = {"Gateways", "Commands for the shared cache", "Delay of the event loop, 99th percentile"}
    assert always <= {panel["title"] for panel in panels}
    eventually(lambda: not always & empty(), demo.logs, limit=WAIT)
