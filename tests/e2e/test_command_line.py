"""The commands that call a running gateway: tables, JSON and exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eventually import eventually
from gateway.cli import main
from gateway_process import GatewayProcess, unused_port
from passwords import cheap_hash
from shop import FRENCH, GERMAN, shop
from streams import Streams, stream_path

PASSWORD = "right horse"
COMMANDS = [("status",), ("streams",), ("changes",), ("tail", "anna"), ("impact", "-"), ("explain", "banner")]


class Scene:
    """A gateway whose SDK ``shop`` reads a file, and the command line."""

    def __init__(self, gateway: GatewayProcess, config: Path) -> None:
        self.gateway = gateway
        self.config = config
        self.monkeypatch: pytest.MonkeyPatch

    def run(self, command: str, *words: str) -> Result:
        """Return the result of a command with the settings of the gateway."""
        options = ["-c", str(self.gateway.home / "flaggateway.yml")]
        return CliRunner().invoke(main, [command, *options, *words], catch_exceptions=False)

    def json(self, command: str, *words: str) -> Any:
        """Return what a command prints as JSON; its status must be 0."""
        result = self.run(command, "--json", *words)
        assert 0 == result.exit_code, result.output
        return json.loads(result.stdout)

    def serve(self, config: dict[str, Any]) -> None:
        """Replace the config, and wait until it is in use."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(config), "utf-8")
        fresh.replace(self.config)
        wanted = config["f"]["banner"]["r"][0]["s"]["v"]["s"]
        question = ("--user", json.dumps(GERMAN), "banner")
        eventually(lambda: self.json("explain", *question)["explained"][0]["value"] == wanted, self.gateway.logs)

    def write(self, config: object) -> str:
        """Write a candidate, and return its path."""
        file = self.gateway.home / "candidate.json"
        file.write_text(json.dumps(config), "utf-8")
        return str(file)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a running gateway, which the tests of this module share."""
    home = tmp_path_factory.mktemp("commands")
    config = home / "config.json"
    config.write_text(json.dumps(shop("before")), "utf-8")
    sdk = {
        "key": "local",
        "offline": {"enabled": True, "local": {"file_path": str(config)}},
        "default_user_attributes": {"Country": "France"},
    }
    settings = {
        "sdks": {"shop": sdk},
        "http": {"sse": {"drain_window": 0}},
        # Holds a config without flags.  Below five flags it is not reported for an hour that half of them vanished.
        "upstream": {"guard": {"max_removed_percent": 99}},
        "diag": {"users": {"vera": cheap_hash(PASSWORD)}},
    }
    scene = Scene(GatewayProcess(settings, home), config)
    scene.gateway.start()
    try:
        yield scene
    finally:
        scene.gateway.stop()


@pytest.fixture
def scene(gateway: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Return the gateway with its first config, and the command line with a login."""
    monkeypatch.setenv("FLAGGATEWAY_PASSWORD", PASSWORD)
    gateway.monkeypatch = monkeypatch
    run = gateway.run
    monkeypatch.setattr(gateway, "run", lambda command, *words: run(command, "--login", "vera", *words))
    gateway.serve(shop("before"))
    return gateway


def test_the_health_check_needs_no_login(gateway: Scene) -> None:
    """A ready gateway is status 0, although its other pages are for users only."""
    result = gateway.run("healthcheck")
    assert (0, "ready\n") == (result.exit_code, result.stdout)


def test_status_is_a_summary_and_a_table(scene: Scene) -> None:
    """The summary of the console, and a line per SDK; status 0 for a healthy gateway."""
    eventually(lambda: scene.run("status").exit_code == 0)
    shown = scene.run("status")
    first, _, _, headings, row, *_ = shown.stdout.splitlines()
    assert first.startswith("All is well: serving 1 SDK")
    assert ["SDK", "SOURCE", "HEALTH", "CONFIG"] == headings.split()[:4]
    assert ["shop", "file", "healthy"] == row.split()[:3]
    found = scene.json("status")
    assert {"user": "vera", "role": "view"} == found["access"]


def test_a_problem_is_status_2(scene: Scene) -> None:
    """The problem and the command to type next are printed; JSON has the same status."""
    more = {"more": {"t": 1, "v": {"s": "x"}}}
    scene.serve(shop("many") | {"f": shop("many")["f"] | more})
    scene.config.write_text(json.dumps(shop("many") | {"f": {}}), "utf-8")
    eventually(lambda: scene.run("status").exit_code == 2, scene.gateway.logs)
    shown = scene.run("status")
    assert "a config is held" in shown.stdout
    assert "\n  flaggateway configs accept shop\n" in shown.stdout
    plain = scene.run("status", "--json")
    assert (2, 1) == (plain.exit_code, len(json.loads(plain.stdout)["problems"]))
    refused = scene.run("configs", "accept", "shop")
    assert (1, True) == (refused.exit_code, "add the name to diag.operators" in refused.output)
    # A good config ends the hold.
    scene.serve(shop("again") | {"f": shop("again")["f"] | more})
    eventually(lambda: scene.run("status").exit_code == 0, scene.gateway.logs)


def test_streams_are_counted(scene: Scene) -> None:
    """A row per SDK, flag and mode; without streams a sentence on standard error."""
    eventually(lambda: scene.run("streams").stdout == "")
    assert "no stream is open" in scene.run("streams").stderr
    with closing(Streams()) as streams:
        for user, flag in ((GERMAN, "banner"), (FRENCH, "banner"), (GERMAN, None)):
            streams.open(scene.gateway.port, stream_path("shop", user, flag))
        eventually(lambda: scene.json("streams")["open"] == 3)
        rows = [line.split() for line in scene.run("streams").stdout.splitlines()]
    assert ["shop", "(all)", "plain", "0", "1", "1", "0", "-"] == rows[1]
    assert ["shop", "banner", "plain", "0", "2", "2", "0", "-"] == rows[2]


def test_changes_are_listed_and_shown(scene: Scene) -> None:
    """The newest first: what changed in words, and how many streams got an event; one of them by its id."""
    with closing(Streams()) as streams:
        streams.open(scene.gateway.port, stream_path("shop", GERMAN, "banner"))
        eventually(lambda: scene.json("streams")["open"] == 1)
        scene.serve(shop("sale"))
        eventually(lambda: (scene.json("changes", "--limit", "1")[0]["reach"] or {}).get("streams") == 1)
    (newest,) = scene.json("changes", "--limit", "1", "--sdk", "shop")
    headings, row = (line.split() for line in scene.run("changes", "--limit", "1").stdout.splitlines())
    assert ["ID", "AT", "SDK", "BY", "REACHED", "LAST", "WHAT"] == headings
    assert [str(newest["id"]), "shop", "1", "of", "1"] == [row[0], *row[3:7]]
    assert {"ms", "updated", "banner:"} <= set(row)
    shown = scene.run("changes", str(newest["id"])).stdout
    assert "reached: 1 of 1 open streams, 1 users\n" in shown
    assert f"config {newest['before']} -> {newest['config']}" in shown
    assert newest["id"] == scene.json("changes", str(newest["id"]))["id"]
    unknown = scene.run("changes", "987654")
    assert (1, True) == (unknown.exit_code, scene.gateway.diag in unknown.stderr)


def test_impact_is_a_check_for_scripts(scene: Scene) -> None:
    """Status 2 above the limit, 0 below; the table has the change of each value."""
    candidate = scene.write(shop("after"))
    with closing(Streams()) as streams:
        for user in (GERMAN, FRENCH):
            streams.open(scene.gateway.port, stream_path("shop", user, "banner"))
        eventually(lambda: scene.json("streams")["open"] == 2)
        above, below = (scene.run("impact", candidate, "--max-percent", limit) for limit in ("49.9", "50"))
        assert (2, 0) == (above.exit_code, below.exit_code)
        assert "50.0 % of the connected users are above the limit of 49.9 %" in above.stderr
        lines = [line.split() for line in above.stdout.splitlines()]
        assert ["banner", "1", '"before"', '"after"'] in lines
        assert "connected users: 1 of 2 (50.0 %) would see something else (1 of 2 streams)" in above.stdout
        assert "anna" not in above.stdout
        same = scene.run("impact", scene.write(shop("before")), "--max-percent", "0")
        assert 0 == same.exit_code
        flag = scene.write(shop("after")["f"]["banner"])
        assert 1 == scene.json("impact", "--flag", "banner", flag)["connected"]["changed"]
        removed = scene.json("impact", "--flag", "banner", scene.write(None))
        assert (["banner"], 2) == (removed["removed"], removed["connected"]["changed"])


@pytest.mark.parametrize(
    ("content", "words", "expected"),
    [
        ("{", (), "is not valid JSON at line 1, column 2"),
        ('{"f": 7}', (), "the candidate cannot be used"),
        ("{}", ("--sdk", "other"), "no SDK"),
        ("{}", ("--max-percent", "101"), "101"),
        ("{}", ("--reveal",), "add the name to diag.operators"),
    ],
)
def test_what_is_no_finding_is_status_1(scene: Scene, content: str, words: tuple[str, ...], expected: str) -> None:
    """So that a script does not take a mistake for a finding; also a wrong option."""
    file = scene.gateway.home / "odd.json"
    file.write_text(content)
    result = scene.run("impact", str(file), *words)
    assert (1, True) == (result.exit_code, expected in result.stderr), result.output


def test_explain_uses_the_live_config_and_default_attributes(scene: Scene) -> None:
    """The same text as of a file with the same settings; two users are compared."""
    live = scene.run("explain", "banner")
    assert 0 == live.exit_code
    assert "it is 'France'" in live.stdout
    assert live.stdout == scene.run("explain", "--config-json", str(scene.config), "banner").stdout
    compared = scene.run("explain", "banner", "--user", json.dumps(GERMAN), "--compare-user", json.dumps(FRENCH))
    assert "the first difference, at rule 1" in compared.stdout
    assert "all decisions are the same" in scene.run("explain", "banner", "--compare-user", json.dumps(FRENCH)).stdout
    scene.serve(shop("later"))
    then = json.loads(scene.run("configs", "list", "--json").stdout)["configs"][1]["at"]
    earlier = scene.json("explain", "banner", "--user", json.dumps(GERMAN), "--at", then)
    assert "before" == earlier["explained"][0]["value"]
    unknown = scene.run("explain", "baner")
    assert (1, True) == (unknown.exit_code, "did you mean 'banner'" in unknown.stderr)


def test_tail_shows_what_a_user_is_sent(scene: Scene) -> None:
    """The values of a new stream, then each change with what decided and its number; ``--count`` ends the command."""
    command = [str(Path(sys.executable).with_name("flaggateway")), "tail", "--url", scene.gateway.diag]
    words = ["--login", "vera", "--count", "1", "anna"]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(" open streams\n")
        with closing(Streams()) as streams:
            for user in (GERMAN, FRENCH):
                streams.open(scene.gateway.port, stream_path("shop", user, "banner"))
            lines = [process.stdout.readline() for _ in range(2)]
            assert lines[0].endswith(", to 1 plain streams of banner\n")
            assert lines[1].startswith('  banner: "before" (rule 1: ')
            scene.serve(shop("tailed"))
            rest, errors = process.communicate(timeout=60)
    assert (0, "") == (process.returncode, errors)
    newest = scene.json("changes", "--limit", "1")[0]
    assert f" change {newest['id']}, config {newest['config']}, to 1 plain streams of banner\n" in rest
    assert '\n  banner: "before" -> "tailed" (rule 1: ' in rest
    wrong = scene.run("tail", "{")
    assert (1, True) == (wrong.exit_code, "not valid JSON" in wrong.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_gateway_is_status_1_with_what_to_do(scene: Scene, command: tuple[str, ...]) -> None:
    """The sentence names the address and the option."""
    url = f"http://127.0.0.1:{unused_port(scene.gateway.port, scene.gateway.diag_port)}"
    result = CliRunner().invoke(main, [*command, "--url", url], input="{}")
    assert (1, True, True) == (result.exit_code, url in result.stderr, "is the gateway running?" in result.stderr)
    result = CliRunner().invoke(main, [*command, "--url", "ftp://x"], input="{}")
    assert (1, True) == (result.exit_code, "--url is not an http or https URL" in result.stderr)


def test_a_login_is_needed_and_its_password_is_no_argument(scene: Scene) -> None:
    """Without a user the error names the option, with a wrong password the reason."""
    port = ("--url", scene.gateway.diag)
    missing = CliRunner().invoke(main, ["status", *port])
    assert (1, True) == (missing.exit_code, "name one with --login, and set FLAGGATEWAY_PASSWORD" in missing.stderr)
    scene.monkeypatch.setenv("FLAGGATEWAY_PASSWORD", "wrong horse")
    wrong = CliRunner().invoke(main, ["status", *port, "--user", "vera"])
    assert (1, True) == (wrong.exit_code, "wrong user name or password" in wrong.stderr)
    scene.monkeypatch.delenv("FLAGGATEWAY_PASSWORD")
    none = CliRunner().invoke(main, ["status", *port, "--login", "vera"])
    assert (1, True) == (none.exit_code, "set FLAGGATEWAY_PASSWORD to the password of vera" in none.stderr)
