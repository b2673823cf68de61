"""The image, built as the Containerfile describes it but without a container engine, and started for real.

Each stage is a chroot on a Debian that mmdebstrap makes; the last one is the content of the image.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from chroot_process import ChrootProcess
from containerfile import unwanted_writable
from eventually import eventually
from shop import GERMAN, shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LIMIT = 120_000_000  # bytes
QUESTION = json.dumps({"key": "banner", "user": GERMAN}).encode()


@pytest.fixture
def running(image, tmp_path):
    """A gateway of the image as its user, with a settings file and its volume."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(image.root), str(root)], check=True)
    (root / "etc/flaggateway/config.json").write_text(json.dumps(shop("in the image")))
    settings = {"sdks": {"shop": {"key": "any", "offline": {"enabled": True}}}, "log": {"level": "info"}}
    settings["sdks"]["shop"]["offline"]["local"] = {"file_path": "/etc/flaggateway/config.json"}
    settings["webhooks"] = [{"name": "ops", "url": "http://127.0.0.1:9/"}]
    settings["http"] = {"sse": {"drain_window": 0}}
    (root / "etc/flaggateway/flaggateway.yml").write_text(json.dumps(settings))
    words = [*image.words["ENTRYPOINT"], *image.words["CMD"]]
    with ChrootProcess(root, image.words["USER"][0], image.env, words, tmp_path / "log") as process:
        eventually(process.ready, process.logs)
        yield process


def test_the_image_is_small(image):
    """Its one layer is below 120 MB, which is the size that engines show; a registry transfers some 40 of them."""
    tar = f"tar --create --directory {image.root} ."
    layer, packed = (
        int(subprocess.run(["sh", "-c", f"{tar} | {rest}"], capture_output=True, check=True).stdout)
        for rest in ("wc --bytes", "gzip | wc --bytes")
    )
    print(f"\nimage: {layer / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed")
    assert layer < LIMIT


def test_a_gateway_of_the_image_answers(running, image):
    """It is ready by its own health check, answers for a flag, writes into its volume only, and stops with 0."""
    health = running.run(*json.loads(image.texts["HEALTHCHECK"].partition("CMD ")[2]))
    assert (0, "ready\n") == (health.returncode, health.stdout), health.stderr
    assert (200, b'{"value":"in the image","variationId":"v-in the image"}') == running.post("/api/shop/eval", QUESTION)
    state = running.root / "var/lib/flaggateway"
    assert {"history.sqlite3", "outbox.sqlite3"} <= {path.name for path in state.iterdir()}
    assert {10001} == {path.stat().st_uid for path in state.rglob("*")}
    assert 0 == running.stop()
    assert "Traceback" not in running.logs()
    assert "[warning]" not in running.logs()  # such as that the C library is not found, whose inotify is used


def test_the_commands_work_in_the_image(running):
    """``podman exec``: status, check, and an error for a wrong option."""
    status = running.run("flaggateway", "status")
    assert "shop" in status.stdout, status.stderr
    assert 0 == running.run("flaggateway", "check").returncode
    assert 1 == running.run("flaggateway", "healthcheck", "--url", "http://127.0.0.1:1").returncode


def test_nothing_can_be_written_but_the_volume(image):
    """So a read-only root changes nothing: the user owns and may write only its state."""
    assert ["/var/lib/flaggateway"] == unwanted_writable(image.root, 10001)


def test_what_is_not_needed_is_not_there(image):
    """No package manager, Perl, compiler, pip, test or module that is not compiled."""
    root = image.root
    for name in (
        "usr/bin/apt-get",
        "usr/bin/dpkg",
        "usr/bin/perl",
        "usr/bin/gcc",
        "opt/flaggateway/bin/pip",
        "tmp/slim",
    ):
        assert not (root / name).exists(), name
    assert (root / "var/lib/dpkg/status").exists()  # for scanners
    packages = next(root.glob("opt/flaggateway/lib/python3.*/site-packages"))
    assert not (packages / "twisted/test").exists()
    sources = set((packages / "gateway").rglob("*.py"))
    compiled = {path.name.split(".")[0] for path in (packages / "gateway").rglob("*.pyc")}
    assert {path.stem for path in sources} == compiled
    plugins = packages / "twisted/plugins"
    assert {"dropin.cache", "flaggateway.py"} <= {path.name for path in plugins.iterdir()}


def test_no_path_of_the_builder_is_in_the_image(image):
    """Scripts of the environment name the interpreter where it is."""
    for script in (image.root / "opt/flaggateway/bin").iterdir():
        if not script.is_symlink():
            assert script.read_bytes().startswith(b"#!/opt/flaggateway/bin/python"), script


def test_the_configuration_of_the_image(image):
    """Labels, user, environment and start, as an engine reads them."""
    assert "1.2.3" == image.labels["org.opencontainers.image.version"]
    assert "Apache-2.0" == image.labels["org.opencontainers.image.licenses"]
    assert ["/var/lib/flaggateway"] == image.words["WORKDIR"]
    assert Path("/opt/flaggateway/bin") == Path(image.env["PATH"].split(":")[0])
