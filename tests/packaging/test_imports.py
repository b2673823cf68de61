"""What importing a room may not do: choose the reactor for the process, or drag another room's weight along."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tracked import ROOT

ROOMS = [
    "gateway",
    "gateway.flags",
    "gateway.settings",
    "gateway.streams",
    "gateway.serving",
    "gateway.upstream",
    "gateway.webhooks",
    "gateway.export",
    "gateway.http_client",
    "gateway.storage",
    "gateway.text",
    "gateway.telemetry",
    "gateway.testing",
    "gateway.cli",
    "gateway.tap",
    "twisted.plugins.flaggateway",
]


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_does_not_choose_the_reactor(room):
    """``import gateway.X`` leaves the choice of the reactor to twistd and its ``--reactor``."""
    program = f"import sys, {room}; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], cwd="/", check=False).returncode


@pytest.mark.parametrize("room", ["gateway.flags", "gateway.settings", "gateway.streams"])
def test_a_pure_room_imports_no_network(room):
    """A pure room brings neither Twisted nor asyncio into the process."""
    program = f"import sys, {room}; sys.exit(str(sorted({{'twisted', 'asyncio'}} & set(sys.modules)) or ''))"
    ended = subprocess.run([sys.executable, "-c", program], cwd="/", stderr=subprocess.PIPE, text=True, check=False)
    assert "" == ended.stderr.strip()


def test_a_gateway_without_redis_does_not_import_its_client():
    """It takes a quarter of a second and 8 MB, which only a shared cache is worth."""
    program = (
        "import sys, gateway.app.service; from gateway.settings import load; from gateway.upstream import RedisCache; "
        "redis = load('sdks: {a: {key: k}}', {}).readable.cache.redis; RedisCache(None, redis, name='n', node='a'); "
        "sys.exit('redis' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", program], cwd="/", check=False).returncode


def test_the_plugin_module_imports_only_the_service_maker():
    """Every twistd on the host loads this module, so it imports one name of Twisted and nothing of ours."""
    tree = ast.parse((ROOT / "twisted" / "plugins" / "flaggateway.py").read_text("utf-8"))
    imports = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert ["from twisted.application.service import ServiceMaker"] == imports


def test_the_plugin_folder_stays_a_namespace():
    """An ``__init__.py`` beside the plugin would hide it from Twisted."""
    assert [] == [str(path) for path in (ROOT / "twisted").rglob("__init__.py")]
