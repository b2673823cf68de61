"""``flaggateway files``: what comes with the package beside the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.bundled_files import DESCRIPTIONS, ORIGINALS, copy_originals
from gateway.cli.command import main
from tracked import ROOT, tracked_files

COPIES = ROOT / "gateway/cli/files"


def test_all_files_are_listed_with_a_description(runner: CliRunner) -> None:
    """One per line; a description belongs to a file that exists."""
    lines = runner.invoke(main, ["files"]).stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert sorted(path.name for path in COPIES.iterdir()) == names
    assert set(DESCRIPTIONS) <= set(names)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_each_is_equal_to_the_file_of_the_project() -> None:
    """`flaggateway schema --write-docs .` renews the copies; schemas, units, dashboards and rules are all there."""
    originals = {ROOT / path for path in ORIGINALS.values()} | set((ROOT / "docs/schemas").glob("*.json"))
    copies = {path.read_bytes() for path in COPIES.iterdir()}
    assert [] == [str(path) for path in originals if path.read_bytes() not in copies]
    assert len(originals) == len(list(COPIES.iterdir()))
    assert not any(path.is_symlink() for path in COPIES.iterdir())  # images are built from the package alone
    places = ("etc/grafana/", "etc/prometheus/", "etc/systemd/", "etc/flaggateway.yml")
    assert [] == [str(name) for name in tracked_files() if str(name).startswith(places) if ROOT / name not in originals]


def test_the_copies_are_renewed(tmp_path: Path) -> None:
    """From the files of any checkout."""
    for path in ORIGINALS.values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "docs/schemas").mkdir(parents=True)
    (tmp_path / "docs/schemas/slack.schema.json").write_text("{}")
    written = copy_originals(tmp_path)
    assert {*ORIGINALS, "slack.schema.json"} == {path.name for path in written}
    assert "etc/prometheus/rules.yml" == (tmp_path / "gateway/cli/files/prometheus-rules.yml").read_text()


def test_one_file_is_printed(runner: CliRunner) -> None:
    """For a pipe or an editor."""
    result = runner.invoke(main, ["files", "settings.schema.json"])
    assert "flaggateway settings" == json.loads(result.stdout)["title"]


def test_files_are_written_to_a_folder(runner: CliRunner, tmp_path: Path) -> None:
    """All of them, or those that are named; an existing file is replaced on request only."""
    target = tmp_path / "made"
    assert 0 == runner.invoke(main, ["files", "-o", str(target)]).exit_code
    assert {path.name for path in COPIES.iterdir()} == {path.name for path in target.iterdir()}
    (target / "flaggateway.service").write_text("mine")
    command = ["files", "flaggateway.service", "-o", str(target)]
    refused = runner.invoke(main, command)
    assert (1, True) == (refused.exit_code, "exists; choose another folder" in refused.stderr)
    assert 0 == runner.invoke(main, [*command, "--force"]).exit_code
    assert (ROOT / "etc/systemd/flaggateway.service").read_text() == (target / "flaggateway.service").read_text()


def test_the_links_of_alerts_lead_to_a_copy_of_the_page(runner: CliRunner, tmp_path: Path) -> None:
    """Printed or written, each link begins with the address; nothing else in the file changes."""
    page = "https://git.example.com/docs/operations.md"
    original = (ROOT / "etc/prometheus/rules.yml").read_text()
    result = runner.invoke(main, ["files", "prometheus-rules.yml", "--runbook-url", page])
    assert original.replace("https://docs.example.com/flaggateway/operations.html", page) == result.stdout
    links = re.findall(r"runbook_url: (.*)#flaggateway", result.stdout)
    assert ({page}, original.count("- alert:")) == (set(links), len(links))
    assert 0 == runner.invoke(main, ["files", "-o", str(tmp_path), "--runbook-url", page]).exit_code
    assert result.stdout == (tmp_path / "prometheus-rules.yml").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["other.txt"], "no file is called other.txt"),
        (["-o", "FILE/below"], "Not a directory"),
        (["prometheus-rules.yml", "--runbook-url", "docs/operations.md"], "must begin with http"),
        (["prometheus-rules.yml", "--runbook-url", "https://a.example/b#alerts"], "no part behind a #"),
        (["flaggateway.yml", "--runbook-url", "https://a.example/b"], "is for prometheus-rules.yml"),
        (["--runbook-url", "https://a.example/b"], "name this file"),
    ],
)
def test_what_cannot_be_done(runner: CliRunner, tmp_path: Path, arguments: list[str], words: str) -> None:
    """Status 1 and the reason."""
    (tmp_path / "FILE").touch()
    result = runner.invoke(main, ["files", *(word.replace("FILE", str(tmp_path / "FILE")) for word in arguments)])
    assert (1, True) == (result.exit_code, words in result.stderr), result.stderr
