"""`flaggateway check`."""

from __future__ import annotations

import json

import pytest
import trustme
import yaml

from gateway.cli import main, start_checks

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
GOOD = f"sdks: {{a: {{key: {KEY}, webhook_signing_key: hunter2}}}}\nhttp: {{api: {{headers: {{X: '[red]y[/red]'}}}}}}\n"
SDK_DETAILS = "(allowed: sdks: {<id>: {key: <SDK key>}}, or the variable CONFIGCAT_SDKS)"
PORT_DETAILS = "(found '0'; allowed: a whole number from 1 to 65535)"


@pytest.fixture(autouse=True)
def no_port_is_taken(monkeypatch):
    """Do not depend on what else runs on the default ports; test_start_checks.py tries ports."""
    monkeypatch.setattr(start_checks, "_port_error", lambda port, bind: None)


@pytest.fixture
def check(runner, tmp_path):
    def run(text, *more, **environ):
        file = tmp_path / "x.yml"
        file.write_text(text)
        env = {f"CONFIGCAT_{name}": value for name, value in environ.items()}
        return runner.invoke(main, ["check", "-c", str(file), *more], env=env)

    return run


def test_good_settings_are_printed_with_secrets_masked(check):
    """What holds is printed as YAML that can be read again, and the status is 0."""
    result = check(GOOD, HTTP_PORT="9000")
    assert 0 == result.exit_code
    shown = yaml.safe_load(result.stdout)
    assert (9000, "[red]y[/red]", "*****") == (
        shown["http"]["port"],
        shown["http"]["api"]["headers"]["X"],
        shown["sdks"]["a"]["webhook_signing_key"],
    )
    assert KEY not in result.output
    assert "hunter2" not in result.output


def test_bad_settings_print_every_problem_and_exit_with_1(check):
    """All problems and warnings are printed, nothing is wrapped, and the status is 1."""
    result = check("http: {port: 0, prt: 1}\nlog: {level: '[red]x'}")
    assert 1 == result.exit_code
    lines = result.stdout.splitlines()
    assert [
        "warning: http.prt (line 1, column 17): unknown option 'prt', ignored; did you mean http.port?",
        "error: log.level (line 2, column 14): not allowed (found '[red]x'; allowed: debug or error or info or warn)",
        "error: http.port (line 1, column 14): http: invalid port 0 " + PORT_DETAILS,
        "error: sdks: sdk: at least 1 SDK must be configured " + SDK_DETAILS,
        "3 errors: the gateway would not start",
    ] == lines[1:]


def test_json_holds_the_same(check):
    """For programs: settings, problems and warnings in one object."""
    good, bad = check(GOOD, "--json"), check("http: {port: 0, prt: 1}", "--json")
    assert (0, 1) == (good.exit_code, bad.exit_code)
    assert (8050, []) == (json.loads(good.stdout)["settings"]["http"]["port"], json.loads(good.stdout)["problems"])
    found = json.loads(bad.stdout)
    assert (None, ["http.port", "sdks"], ["http.prt"]) == (
        found["settings"],
        [problem["path"] for problem in found["problems"]],
        [warning["path"] for warning in found["warnings"]],
    )


def test_a_missing_file_is_reported(runner):
    """The file that the option names must exist."""
    result = runner.invoke(main, ["check", "--config", "/nowhere/x.yml"])
    assert 1 == result.exit_code
    assert (
        "error: config file /nowhere/x.yml does not exist: stat /nowhere/x.yml: no such file or directory"
        in result.stdout
    )


def test_a_local_file_must_exist(check):
    """The check looks at the disk for the files that settings name."""
    result = check("sdks: {a: {key: k, offline: {enabled: true, local: {file_path: /nowhere.json}}}}")
    assert "sdk-a: couldn't find the local file /nowhere.json" in result.stdout


def test_files_that_cannot_be_used_are_problems_too(check, tmp_path):
    """A certificate without its key, and a CA file without a certificate, are found before a start or reload is."""
    authority = trustme.CA()
    issued, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "empty.pem").write_text("nothing")

    def text(key, ca):
        pair = f"{{cert: {tmp_path}/cert.pem, key: {tmp_path}/{key}}}"
        trust = f"{{ca_file: {tmp_path}/{ca}}}"
        exporter = f"{{endpoint_url: 'https://x.example', ca_file: {tmp_path}/{ca}}}"
        return f"{GOOD}tls: {{enabled: true, certificates: [{pair}]}}\nupstream: {trust}\nexporter: {exporter}\n"

    assert 0 == check(text("key.pem", "cert.pem")).exit_code
    result = check(text("other.pem", "empty.pem"))
    assert 1 == result.exit_code
    assert "error: upstream.ca_file holds no certificate in PEM form" in result.stdout
    assert "error: tls.certificates: failed to load" in result.stdout
    assert "error: exporter.ca_file holds no certificate in PEM form" in result.stdout
    assert "3 errors: the gateway would not start" in result.stdout


def test_what_is_open_by_default_is_noted(check):
    """Beyond this machine, as comments; a note is no warning, so that ``--strict`` does not fail."""
    result = check(GOOD, "--strict")
    assert 0 == result.exit_code
    assert "\n# note: http.sse.users: event streams are open: any client that reaches this port" in result.stdout
    assert "\n# note: http.cdn_proxy.cors.allowed_origins: targeting rules are public" in result.stdout
    noted = ["http.sse.users", "http.cdn_proxy.cors.allowed_origins"]
    assert noted == [note["path"] for note in json.loads(check(GOOD, "--json").stdout)["notes"]]
    assert "# note" not in check(GOOD, HTTP_BIND="127.0.0.1").stdout
