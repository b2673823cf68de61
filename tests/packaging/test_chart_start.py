"""The Helm chart: what it renders is started in the image, with its arguments, variables, volumes and user."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdn_stand_in import CdnStandIn
from chart_golden import CHART, GOLDEN
from containerfile import Built
from eventually import eventually
from postgres_server import PostgresServer
from redis_server import RedisServer
from rendered_pod import RenderedPod
from shop import GERMAN, shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KEY = "configcat-sdk-1/aaaaaaaaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbbbbbbbb"
SECRETS = {
    "configcat-sdks": {"sdks-configuration": json.dumps({"shop": KEY})},
    "database": {"password": "any"},
    "redis": {"redis-password": "secret"},
}
QUESTION = json.dumps({"key": "banner", "user": GERMAN}).encode()


@pytest.fixture(scope="module")
def cdn() -> Iterator[CdnStandIn]:
    """In the place of ConfigCat's CDN."""
    with CdnStandIn(shop("from the chart")) as running:
        yield running


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis with a user, whose name and password one of the cases has."""
    server = RedisServer("--user", "flags", "on", ">secret", "~*", "&*", "+@all")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL with the role and the database that the values name."""
    with PostgresServer() as server:
        server.execute("CREATE ROLE flaggateway LOGIN")
        server.execute("CREATE DATABASE flaggateway OWNER flaggateway")
        yield server


# Per golden file the id of its SDK, and what the values of a user would name instead of its example.com.
def changes(case: str, cdn: CdnStandIn, redis: RedisServer, postgres: PostgresServer) -> tuple[str, dict[str, Any]]:
    sdk = "production" if case == "proxy" else "shop"
    settings: dict[str, Any] = {"sdks": {sdk: {"base_url": cdn.url}}}
    if case == "many":
        settings["cache"] = {"redis": {"addresses": [redis.address]}}
        settings["outbox"] = {"url": f"postgresql://flaggateway@127.0.0.1:{postgres.port}/flaggateway"}
    values: dict[str, Any] = {"settings": settings}
    if case in {"proxy", "cluster"}:
        values["externalRedis"] = {"host": "127.0.0.1", "port": redis.port}
    if case == "proxy":
        values["configcat"] = {"options": {"baseUrl": cdn.url, "cache": {"redis": {"tls": {"enabled": False}}}}}
    return sdk, values


@pytest.mark.parametrize("case", ["one", "many", "proxy", "cluster"])
def test_a_gateway_of_the_chart_answers(
    require_tool: Any, image: Built, tmp_path: Path, case: str, cdn: CdnStandIn, redis: RedisServer,
    postgres: PostgresServer,
) -> None:  # fmt: skip
    """It is ready by its own probe, answers for a flag, writes into its volumes only, and stops in its time."""
    sdk, values = changes(case, cdn, redis, postgres)
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    command = [require_tool("helm"), "template", "gw", CHART, "--kube-version", "1.37.0"]
    command += ["--values", GOLDEN / f"{case}.values.yaml", "--values", file]
    pod = RenderedPod(subprocess.run(command, capture_output=True, text=True, check=True).stdout, SECRETS)
    assert "/readyz" == pod.probe("readinessProbe")
    assert "/livez" == pod.probe("livenessProbe") == pod.probe("startupProbe")
    with pod.start(image.root, tmp_path, image.env, image.words["ENTRYPOINT"]) as process:
        eventually(process.ready, process.logs)
        status, answer = process.post(f"/api/{sdk}/eval", QUESTION)
        assert (200, "from the chart") == (status, json.loads(answer)["value"]), process.logs()
        assert "ready\n" == process.run("flaggateway", "healthcheck").stdout  # what `helm test` runs
        assert 0 == process.stop(pod.spec["terminationGracePeriodSeconds"])
        assert "Traceback" not in process.logs()
        assert "[warning]" not in process.logs(), process.logs()
    written = {path.name for path in (tmp_path / "volumes/state").iterdir()}
    assert ("outbox.sqlite3" in written, "history.sqlite3" in written) == (case == "one", True)
