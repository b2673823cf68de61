"""The Debian package: built, installed into a fresh Debian, started as its unit starts it, upgraded, and removed."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess

import pytest

import gateway
from chroot_process import ChrootProcess, command_in
from eventually import eventually
from outside_tools import run
from shop import GERMAN, shop
from tracked import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}


@pytest.fixture(scope="module")
def package(require_tool, tmp_path_factory):
    """The built package, twice: two builds of one commit."""
    require_tool("dpkg-deb")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(2):
        target = tmp_path_factory.mktemp("package")
        ended = subprocess.run(
            [ROOT / "etc/debian/build", target], capture_output=True, text=True, check=False, env=env
        )  # fmt: skip
        assert 0 == ended.returncode, ended.stdout + ended.stderr
        found += target.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def system(debian, package, tmp_path_factory):
    """A Debian on which the package is installed, with its dependencies from the archive."""
    root = tmp_path_factory.mktemp("system") / "root"
    subprocess.run(["cp", "-a", str(debian), str(root)], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy(package[0], root / "flaggateway.deb")
    inside(root, "apt-get", "update")
    output = inside(root, "apt-get", "install", "--yes", "--no-install-recommends", "/flaggateway.deb")
    assert "flaggateway is installed" in output
    return root


def inside(root, *words, status=0):
    command = command_in(root, "0:0", PATH, *words)
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/"
    )  # fmt: skip
    assert status == ended.returncode, ended.stdout
    return ended.stdout


def unit(root):
    """The section Service of the unit, with what the package adds to it."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    folder = root / "usr/lib/systemd/system"
    parser.read([folder / "flaggateway.service", folder / "flaggateway.service.d/user.conf"])
    return parser["Service"]


def test_two_builds_are_equal(package):
    """Byte for byte."""
    assert package[0].read_bytes() == package[1].read_bytes()
    print(f"\npackage: {package[0].stat().st_size / 1e6:.1f} MB")


def test_what_the_package_states(package):
    """Name, version, and the Python for which its modules are compiled."""
    fields = dict(re.findall(r"^ ?(\S+): (.*)$", run("dpkg-deb", "--field", package[0]), re.MULTILINE))
    assert ("flaggateway", gateway.__version__) == (fields["Package"], fields["Version"])
    assert re.search(r"python3 \(>= 3\.(\d+)\), python3 \(<< 3\.\d+\)", fields["Depends"])
    owners = {line.split()[1] for line in run("dpkg-deb", "--contents", package[0]).splitlines()}
    assert {"root/root"} == owners


def test_the_installed_gateway_answers(system, tmp_path):
    """Started as the unit starts it, as its user: it is ready and answers for a flag."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(system), str(root)], check=True)
    service = unit(root)
    assert ("flaggateway", "no") == (service["User"], service["DynamicUser"])
    (root / "etc/flaggateway/config.json").write_text(json.dumps(shop("from the package")))
    local = {"enabled": True, "local": {"file_path": "/etc/flaggateway/config.json"}}
    settings = {"sdks": {"shop": {"key": "any", "offline": local}}, "http": {"sse": {"drain_window": 0}}}
    (root / "etc/flaggateway/flaggateway.yml").write_text(json.dumps(settings))
    env = PATH | {"STATE_DIRECTORY": "/var/lib/flaggateway"}
    user = "flaggateway:flaggateway"
    with ChrootProcess(root, user, env, service["ExecStart"].split(), tmp_path / "log") as process:
        eventually(process.ready, process.logs)
        question = json.dumps({"key": "banner", "user": GERMAN}).encode()
        assert (200, True) == (
            (answer := process.post("/api/shop/eval", question))[0],
            b"from the package" in answer[1],
        )
        assert "ready\n" == process.run("flaggateway", "healthcheck").stdout
        assert 0 == process.stop()
    assert (root / "var/lib/flaggateway/history.sqlite3").exists()


def test_files_of_the_package_are_as_they_were_built(system):
    """Dpkg finds no changed file, and no file names the folder of the build."""
    assert "" == inside(system, "dpkg", "--verify", "flaggateway")
    command = ["grep", "-rlE", r"/tmp/tmp\.", str(system / "opt/flaggateway")]
    named = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "" == named.stdout


def test_only_root_reads_the_secrets(system):
    """The environment file is there, and the state belongs to the gateway."""
    environment = (system / "etc/flaggateway/environment").stat()
    assert (0o600, 0) == (environment.st_mode & 0o777, environment.st_uid)
    assert 0o700 == (system / "var/lib/flaggateway").stat().st_mode & 0o777
    assert "flaggateway" == inside(system, "stat", "--format=%U", "/var/lib/flaggateway").strip()


def test_an_upgrade_keeps_settings_and_a_purge_leaves_nothing(system, tmp_path):
    """Edited settings stay; after the removal they and the state are still there, after a purge nothing is."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(system), str(root)], check=True)
    settings = root / "etc/flaggateway/flaggateway.yml"
    settings.write_text("# edited\n")
    inside(root, "dpkg", "--install", "/flaggateway.deb")
    assert "# edited\n" == settings.read_text()
    inside(root, "dpkg", "--remove", "flaggateway")
    assert (True, True, False) == (
        settings.exists(),
        (root / "var/lib/flaggateway").exists(),
        (root / "opt/flaggateway").exists(),
    )
    inside(root, "dpkg", "--purge", "flaggateway")
    assert not (root / "etc/flaggateway").exists()
    assert not (root / "var/lib/flaggateway").exists()
    assert not (root / "usr/bin/flaggateway").is_symlink()
