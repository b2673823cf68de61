"""`flaggateway check` tries what a start tries, and changes nothing."""

import json
import os
import socket
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gateway.cli import main
from outbox_memory import DirectStore

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"


@pytest.fixture
def ports():
    """Two free ports on loopback."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture
def check(runner, tmp_path, ports):
    """Run the command; return the exit status, and the problems by option."""

    def run(http=None, diag=None, *more, **settings):
        servers = {
            "http": {"port": ports[0], "bind": "127.0.0.1", **(http or {})},
            "diag": {"port": ports[1], "bind": "127.0.0.1", **(diag or {})},
        }
        file = tmp_path / "flaggateway.yml"
        file.write_text(json.dumps({"sdks": {"shop": {"key": KEY}}, **servers, **settings}))
        result = runner.invoke(main, ["check", "-c", str(file), "--json", *more])
        return result.exit_code, {each["path"]: each["text"] for each in json.loads(result.stdout)["problems"]}

    return run


def test_what_can_start_has_no_problem(check):
    """With free ports and nothing to write."""
    assert (0, {}) == check()


def test_a_directory_for_configs_that_cannot_be_written_is_a_warning(runner, tmp_path, check):
    """The gateway starts without it, so that only ``--strict`` fails; SDKs that read files do not need it."""
    (tmp_path / "file").write_text("")
    cache = {"file": {"path": str(tmp_path / "file" / "configs")}}
    assert (0, {}) == check(cache=cache)
    assert (1, {}) == check(None, None, "--strict", cache=cache)
    result = runner.invoke(main, ["check", "-c", str(tmp_path / "flaggateway.yml"), "--json"])
    text = f"{tmp_path}/file/configs cannot be written, so no config is kept: {tmp_path}/file is not a directory"
    assert {"cache.file.path": text} == {each["path"]: each["text"] for each in json.loads(result.stdout)["warnings"]}
    (tmp_path / "config.json").write_text('{"p": {}, "f": {}}')
    local = {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(tmp_path / "config.json")}}}
    assert (0, {}) == check(None, None, "--strict", cache=cache, sdks={"shop": local})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"f": {"a": }', "nothing would be served: the config JSON is not valid JSON at line 1, column 13"),
        (b'{"p": null, "f": null}', "nothing would be served: "),
        (b'{"f": {"a": {"t": 0, "v": {"s": "x"}}}}', "the flag 'a' fails: "),
        (None, "nothing would be served: the path is not that of a regular file"),
    ],
)
def test_a_local_file_that_cannot_be_served_is_a_warning(runner, tmp_path, check, content, fault):
    """The gateway starts, because a corrected file takes effect at once; the operator should see it before."""
    path = tmp_path / "flags.json"
    path.mkdir() if content is None else path.write_bytes(content)
    local = {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(path)}}}
    assert (0, {}) == check(sdks={"shop": local})
    assert (1, {}) == check(None, None, "--strict", sdks={"shop": local})
    result = runner.invoke(main, ["check", "-c", str(tmp_path / "flaggateway.yml"), "--json"])
    ((option, text),) = {each["path"]: each["text"] for each in json.loads(result.stdout)["warnings"]}.items()
    assert "sdks.shop.offline.local.file_path" == option
    assert text.startswith(f"{path}: {fault}")


def test_the_warnings_about_one_local_file_are_bounded(runner, tmp_path, check):
    """Ten flags are named, the others counted."""
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"f": {f"flag{n}": {"t": 0, "v": {"s": "x"}} for n in range(25)}}))
    check(sdks={"shop": {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(path)}}}})
    result = runner.invoke(main, ["check", "-c", str(tmp_path / "flaggateway.yml"), "--json"])
    texts = [each["text"] for each in json.loads(result.stdout)["warnings"]]
    assert 11 == len(texts)
    assert f"{path}: 15 more flags fail" == texts[-1]


def test_a_taken_port_is_a_problem_of_its_option(check, ports):
    """Each server's port is tried."""
    for name, port in zip(("http", "diag"), ports, strict=True):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            status, problems = check()
        assert 1 == status
        ((option, text),) = problems.items()
        assert f"{name}.port" == option
        assert f"port {port} on 127.0.0.1 cannot be opened: Address already in use; stop the program" in text


def test_an_address_of_another_host_is_a_problem_of_bind(check, ports):
    """Documentation addresses belong to no host."""
    status, problems = check(http={"bind": "192.0.2.1"})
    assert (1, ["http.bind"]) == (status, list(problems))


def test_the_ports_of_a_running_gateway_are_no_problem(check, ports):
    """A check before a reload runs beside the gateway, which has both ports."""

    class Live(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    HTTPServer.allow_reuse_address = True
    with socket.socket() as main_port, HTTPServer(("127.0.0.1", ports[1]), Live) as server:
        server.protocol_version = Live.protocol_version = "HTTP/1.1"
        main_port.bind(("127.0.0.1", ports[0]))
        main_port.listen()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = check()
        server.shutdown()
    assert (0, {}) == found


def test_servers_that_are_off_need_no_port(check, ports):
    """A disabled server listens nowhere."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert (0, {}) == check(http={"enabled": False})


WEBHOOK = [{"name": "ops", "url": "https://ops.example.com"}]


def test_the_outbox_is_not_created(check, tmp_path):
    """A missing folder can be made at the start."""
    path = tmp_path / "new" / "outbox.sqlite3"
    assert (0, {}) == check(webhooks=WEBHOOK, outbox={"path": str(path)})
    assert not path.parent.exists()


def test_a_good_outbox_stays_as_it_is(check, tmp_path):
    """It is opened to read only."""
    path = tmp_path / "outbox.sqlite3"
    DirectStore(str(path)).connection.close()
    before = path.read_bytes()
    assert (0, {}) == check(webhooks=WEBHOOK, outbox={"path": str(path)})
    assert before == path.read_bytes()


def other_program(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE x (y)")


def newer(path):
    DirectStore(str(path)).connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (other_program, "is the database of another program"),
        (newer, "was written by a newer gateway (schema 99"),
        (lambda path: path.write_bytes(b"no database at all"), "cannot be opened: file is not a database"),
        (lambda path: path.mkdir(), "cannot be written: it is a directory"),
    ],
)
def test_an_outbox_that_cannot_be_used_is_a_problem(check, tmp_path, make, reason):
    """For webhooks and for an exporter that spools; without either nothing is opened."""
    path = tmp_path / "outbox.sqlite3"
    make(path)
    for settings in ({"webhooks": WEBHOOK}, {"exporter": {"endpoint_url": "https://e.example.com"}}):
        status, problems = check(outbox={"path": str(path)}, **settings)
        assert (1, ["outbox.path"]) == (status, list(problems))
        assert reason in problems["outbox.path"]
    assert (0, {}) == check(outbox={"path": str(path)})


def test_a_folder_below_a_file_is_a_problem(check, tmp_path):
    """Even root cannot create it."""
    (tmp_path / "file").write_text("")
    status, problems = check(webhooks=WEBHOOK, outbox={"path": str(tmp_path / "file" / "outbox.sqlite3")})
    assert (1, ["outbox.path"]) == (status, list(problems))


def test_the_exporters_file_needs_a_folder(check, tmp_path):
    """The file is created at the start, its folder is not."""
    path = tmp_path / "events.jsonl"
    assert (0, {}) == check(exporter={"kind": "file", "path": str(path)})
    assert not path.exists()
    status, problems = check(exporter={"kind": "file", "path": str(tmp_path)})
    assert (1, {"exporter.path": f"{tmp_path} cannot be written: it is a directory"}) == (status, problems)


def test_strict_counts_warnings(check):
    """For a pipeline that accepts no doubtful settings."""
    doubtful = {"unknown": 1}
    assert (0, {}) == check(**doubtful)
    assert (1, {}) == check(None, None, "--strict", **doubtful)
    assert (0, {}) == check(None, None, "--strict")


def test_permission_is_checked_for_the_calling_user(check, tmp_path, monkeypatch):
    """Root may write everywhere, so the answer of the system is replaced."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    status, problems = check(webhooks=WEBHOOK, outbox={"path": str(tmp_path / "outbox.sqlite3")})
    assert 1 == status
    assert "permission denied" in problems["outbox.path"]
