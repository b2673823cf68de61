"""``flaggateway init``: a settings file that ``check`` accepts, and that replaces nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.command import main
from gateway.settings import load

KEY = f"configcat-sdk-1/{'a' * 22}/{'b' * 22}"


def test_check_accepts_the_file(runner: CliRunner, tmp_path: Path) -> None:
    """The only warning is about the key that is to be put in; with a key there is none."""
    file = tmp_path / "flaggateway.yml"
    assert 0 == runner.invoke(main, ["init", str(file)]).exit_code
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    checked = runner.invoke(main, ["check", "-c", str(file), "--json"])
    found = json.loads(checked.stdout)
    assert (0, [], ["sdks.my-sdk.key"]) == (
        checked.exit_code,
        found["problems"],
        [warning["path"] for warning in found["warnings"] if warning["path"].startswith("sdks")],
    )
    loaded = load(file.read_text().replace("PUT-YOUR-SDK-KEY-HERE", KEY), {})
    assert ((), ()) == (loaded.problems, loaded.warnings)


def test_each_option_that_is_off_is_valid(runner: CliRunner) -> None:
    """All of them at once: nothing is unknown, and no value is refused."""
    text = runner.invoke(main, ["init", "-"]).stdout
    lines = [line.removeprefix("#:") for line in text.replace("PUT-YOUR-SDK-KEY-HERE", KEY).splitlines()]
    loaded = load("\n".join(lines), {})
    assert () == loaded.problems
    assert not [warning for warning in loaded.warnings if "unknown" in warning.text]
    settings = loaded.settings
    assert settings is not None
    assert (["anna"], "auto", ["ops"]) == (
        settings.diag.operators,
        settings.workers,
        [h.name for h in settings.webhooks],
    )


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("there.yml", 1, "exists; choose another name"), ("no/such/folder.yml", 1, "No such file or directory")],
)
def test_what_exists_is_not_replaced(runner: CliRunner, tmp_path: Path, name: str, status: int, words: str) -> None:
    """Except with ``--force``."""
    (tmp_path / "there.yml").write_text("mine")
    result = runner.invoke(main, ["init", str(tmp_path / name)])
    assert (status, True) == (result.exit_code, words in result.stderr)
    assert "mine" == (tmp_path / "there.yml").read_text()
    assert 0 == runner.invoke(main, ["init", "--force", str(tmp_path / "there.yml")]).exit_code
    assert "sdks:" in (tmp_path / "there.yml").read_text()
