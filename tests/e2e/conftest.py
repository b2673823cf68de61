"""Ring 4: a real twistd process between a stand-in CDN and real clients; no reactor in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from gateway_process import GatewayProcess
from outside_tools import missing
from shop import shop

HERE = Path(__file__).resolve().parent


@pytest.fixture
def upstream() -> Iterator[CdnStandIn]:
    """Return a CDN with the shop's config: ``banner`` says "before" in Germany and "elsewhere" anywhere else."""
    with CdnStandIn(shop("before")) as cdn:
        yield cdn


@pytest.fixture
def gateway(gateway_process: Callable[..., GatewayProcess], upstream: CdnStandIn) -> GatewayProcess:
    """Return a running gateway with the SDK ``shop``, which asks the stand-in CDN every second."""
    return gateway_process(gateway_settings(upstream))


def gateway_settings(upstream: CdnStandIn, **http: Any) -> dict[str, Any]:
    """Return settings for one SDK behind the stand-in CDN."""
    return {
        "sdks": {"shop": {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}},
        "http": {"sse": {"drain_window": 0}} | http,
    }


@pytest.fixture(scope="session")
def node(require_tool: Callable[[str], str]) -> str:
    """Return the path of node; the packages of package-lock.json are there too."""
    path = require_tool("node")
    if not (HERE / "node_modules" / "@configcat").is_dir():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    return path
