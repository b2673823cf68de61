"""The official Python SDK polls the gateway as if it were ConfigCat's CDN."""

from __future__ import annotations

from queue import Queue

import configcatclient
import pytest
from configcatclient.configcatoptions import ConfigCatOptions, Hooks
from configcatclient.pollingmode import PollingMode
from configcatclient.user import User

from cdn_stand_in import SDK_KEY
from shop import shop

GERMAN = User("anna", country="Germany")
FRENCH = User("zoe", country="France")


@pytest.mark.parametrize("sdk_key", [SDK_KEY, "configcat-proxy/shop"], ids=["by SDK key", "by SDK id"])
def test_the_python_sdk_sees_a_change_through_the_cdn_proxy(gateway, upstream, sdk_key):
    """The Python SDK evaluates the first config and, by polling the gateway, the next one."""
    configs = Queue()
    options = ConfigCatOptions(
        base_url=gateway.url,
        polling_mode=PollingMode.auto_poll(poll_interval_seconds=1),
        hooks=Hooks(on_config_changed=configs.put),
    )
    client = configcatclient.get(sdk_key, options)
    try:
        configs.get(timeout=30)
        assert "before" == client.get_value("banner", "default", GERMAN)
        assert "elsewhere" == client.get_value("banner", "default", FRENCH)
        upstream.set(shop("after"))
        configs.get(timeout=30)
        assert "after" == client.get_value("banner", "default", GERMAN)
        assert "elsewhere" == client.get_value("banner", "default", FRENCH)
    finally:
        client.close()
