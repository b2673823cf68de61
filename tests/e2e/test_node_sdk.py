"""The official JavaScript SDK, in Node, polls the gateway as if it were ConfigCat's CDN."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdn_stand_in import SDK_KEY
from child_lines import ChildLines
from shop import shop

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("sdk_key", [SDK_KEY, "configcat-proxy/shop"], ids=["by SDK key", "by SDK id"])
def test_the_node_sdk_sees_a_change_through_the_cdn_proxy(gateway, upstream, node, sdk_key):
    """The Node SDK evaluates the first config and, by polling the gateway, the next one."""
    with ChildLines([node, "clients/configcat.mjs", gateway.url, sdk_key], cwd=HERE) as client:
        assert ["before", "elsewhere"] == client.next()
        upstream.set(shop("after"))
        assert ["after", "elsewhere"] == client.next()
