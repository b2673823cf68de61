"""The Containerfile without building it: what it copies exists, its versions fit setup.cfg, its promises hold."""

from __future__ import annotations

import configparser
import re

import pytest
from packaging.requirements import Requirement

from containerfile import ignores, steps
from gateway.settings import Settings
from tracked import ROOT, tracked_files

STEPS = steps((ROOT / "Containerfile").read_text("utf-8"))
LAST = STEPS[max(number for number, step in enumerate(STEPS) if step.word == "FROM") :]
IGNORED = (ROOT / ".containerignore").read_text("utf-8")


def last(word):
    (found,) = [step for step in LAST if step.word == word]
    return found


def pinned(name):
    """The versions of a constraints file with their number of hashes."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if "==" in line and not line.startswith("#"):
            name, version = line.split()[0].split("==")
            found[name] = version, line.count("--hash=sha256:")
    return found


def copied():
    """The files and folders of the context that the stages copy."""
    for step in STEPS:
        if step.word == "COPY" and "from" not in step.flags:
            yield from step.words[:-1]


def test_what_is_copied_exists_and_is_sent_to_the_builder():
    """Each name is a tracked file or folder that .containerignore keeps."""
    tracked = {str(name) for name in tracked_files()}
    for name in copied():
        files = [each for each in tracked if each == name or each.startswith(f"{name}/")]
        assert files, name
        assert [] == [each for each in files if ignores(IGNORED, each)]


def test_the_context_holds_nothing_else():
    """No test, no documentation, no history, and no settings of the developer are sent to the builder."""
    names = tuple(copied())
    sent = [str(name) for name in tracked_files() if not ignores(IGNORED, str(name))]
    assert [] == [name for name in sent if name not in names and not name.startswith(tuple(f"{n}/" for n in names))]
    for name in (".git/config", ".env", "docs/x.md", "gateway/__pycache__/x"):
        assert ignores(IGNORED, name)
    assert (ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"


def test_scripts_that_a_step_runs_were_copied():
    """``sh etc/image/…`` and ``/tmp/slim`` are files that a step before has copied."""
    names = {name.rpartition("/")[2] for name in copied()}
    run = [name for step in STEPS if step.word == "RUN" for name in re.findall(r"\bsh (\S+)", step.text)]
    assert 2 == len(run)
    assert {name.rpartition("/")[2] for name in run} <= names


def test_every_requirement_is_pinned_within_its_range():
    """The versions of the image are ones that setup.cfg allows, with the driver of PostgreSQL; each has hashes."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    wanted = parser["options"]["install_requires"].split() + parser["options.extras_require"]["postgres"].split()
    versions = pinned("etc/constraints.txt")
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower()
        assert name in versions, name
        assert requirement.specifier.contains(versions[name][0]), name
    assert [] == [name for name, (_, hashes) in versions.items() if not hashes]
    assert "setuptools" in pinned("etc/constraints-build.txt")


def test_pip_installs_only_what_has_a_hash():
    """Every pip command installs by hash, or our wheel without what it depends on."""
    commands = [
        part for step in STEPS if step.word == "RUN" for part in step.text.split("&&") if re.search(r"/pip ", part)
    ]
    assert 4 == len(commands)
    for command in commands:
        assert "--require-hashes" in command or "--no-deps" in command


def test_the_gateway_runs_without_rights():
    """A user by number, so that Kubernetes can see that it is not root; one volume; SIGTERM; no port below 1024."""
    user, group = last("USER").text.split(":")
    assert int(user) >= 10_000
    assert user == group
    assert ["/var/lib/flaggateway"] == last("VOLUME").words
    assert "SIGTERM" == last("STOPSIGNAL").text
    settings = Settings()
    assert [str(settings.http.port), str(settings.diag.port)] == last("EXPOSE").words
    assert f"flaggateway:x:{user}:{group}:" in (ROOT / "etc/image/slim").read_text("utf-8")


def test_health_and_start_are_commands_of_the_gateway():
    """HEALTHCHECK calls the command whose status is 0 or 1; the entry point lets every other command run too."""
    assert '["flaggateway", "healthcheck"]' in last("HEALTHCHECK").text
    assert (["flaggateway"], ["run"]) == (last("ENTRYPOINT").words, last("CMD").words)


@pytest.mark.parametrize("name", ["etc/image/finish", "etc/image/slim", "etc/debian/build", "etc/setup/constraints"])
def test_scripts_can_be_read_by_the_shell(name):
    """``sh -n`` finds no mistake, and each one stops at the first error."""
    import subprocess

    assert 0 == subprocess.run(["sh", "-n", str(ROOT / name)], check=False).returncode
    assert "\nset -eu\n" in (ROOT / name).read_text("utf-8")
