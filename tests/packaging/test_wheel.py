"""The built wheel, in a virtual environment of its own and away from the checkout: what users really get."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from gateway_process import GatewayProcess
from outside_tools import run
from shop import GERMAN, shop
from tracked import tracked_files

pytestmark = pytest.mark.timeout(600)  # seconds; a cold package cache downloads the dependencies


def plugin_folder(python):
    """Return where Twisted keeps plugins in that environment."""
    return Path(run(python, "-c", "import twisted; print(twisted.__path__[0])").strip()) / "plugins"


def test_the_wheel_holds_our_files_and_nothing_else(wheel):
    """Only the package, the one plugin module and the metadata are in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    strangers = [
        name
        for name in names
        if not name.startswith(("gateway/", "flaggateway-")) and name != "twisted/plugins/flaggateway.py"
    ]
    assert [] == strangers
    assert {"twisted/plugins/flaggateway.py", "gateway/py.typed", "gateway/tap.py"} <= set(names)


def test_every_module_of_the_package_is_in_the_wheel(wheel):
    """No tracked file of the package is left out: data files as well as modules."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set() == {str(name) for name in tracked_files() if name.parts[0] == "gateway"} - names


def test_twistd_lists_the_plugin(installed):
    """``twistd --help`` names the gateway, from any directory."""
    assert "flaggateway" in run(installed.with_name("twistd"), "--help")


def test_the_plugin_tells_its_options(installed):
    """``twistd flaggateway --help`` names the option for the configuration file."""
    assert "--config" in run(installed.with_name("twistd"), "flaggateway", "--help")


@pytest.mark.parametrize("reactor", ["asyncio", "epoll", "select"])
def test_the_reactor_can_be_chosen_without_a_plugin_cache(installed, reactor):
    """The first start after an installation, which imports every plugin module, still lets one choose the reactor."""
    (plugin_folder(installed) / "dropin.cache").unlink(missing_ok=True)
    assert "--config" in run(installed.with_name("twistd"), f"--reactor={reactor}", "flaggateway", "--help")


def test_the_command_is_installed(installed):
    """``flaggateway --help`` runs."""
    assert "check" in run(installed.with_name("flaggateway"), "--help")


def test_the_installed_gateway_serves_from_another_directory(installed, tmp_path):
    """Started from an empty directory, the installed plugin reads a file and answers."""
    (tmp_path / "config.json").write_text(json.dumps(shop("before")))
    settings = {
        "sdks": {"shop": {"key": "any", "offline": {"enabled": True, "local": {"file_path": "config.json"}}}},
        "http": {"sse": {"drain_window": 0}},
    }
    gateway = GatewayProcess(settings, tmp_path, python=str(installed))
    try:
        gateway.start()
        question = json.dumps({"key": "banner", "user": GERMAN}).encode()
        assert (200, b'{"value":"before","variationId":"v-before"}') == gateway.post("/api/shop/eval", question)
        assert 0 == gateway.stop()
    finally:
        gateway.kill()
    left = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "flaggateway.yml", "gateway.log", "state"} == left  # "state" holds the history of configs


def test_removing_the_gateway_leaves_twisted_whole(installed, tmp_path):
    """After ``pip uninstall`` Twisted and its own plugins work, and nothing of ours is left."""
    copy = tmp_path / "venv"
    shutil.copytree(installed.parent.parent, copy, symlinks=True)
    python = copy / "bin" / "python"
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "flaggateway")
    run(python, "-c", "import twisted.web.server, twisted.plugins.twisted_core")
    assert [] == list(plugin_folder(python).glob("flaggateway*"))
    with pytest.raises(AssertionError, match="No module named 'gateway'"):
        run(python, "-c", "import gateway")
