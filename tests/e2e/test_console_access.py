"""Users of the console: what each role may do, wrong passwords, other sites, a reload; against one real gateway."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from browser import open_browser
from eventually import eventually
from gateway_process import GatewayProcess
from passwords import cheap_hash, login
from shop import GERMAN, shop

VERA = login("vera", "battery staple")  # may view
OSKAR = login("oskar", "right horse")  # may operate
HEADERS = {"X-Key": "header secret"}
USERS = {"vera": cheap_hash("battery staple"), "oskar": cheap_hash("right horse")}
WITH_USERS = {"users": USERS, "operators": ["oskar"]}
CHALLENGE = 'Basic realm="flaggateway", charset="UTF-8"'


class Scene:
    """A gateway whose SDK ``shop`` reads a file."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self._reloads = 0

    def ask(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: object = None
    ) -> tuple[int, Any, Any]:
        """Return status, decoded body and headers; waits while the wrong logins of other tests are limited."""
        answers: list[tuple[int, Any, Any]] = []

        def answered() -> bool:
            answers.append(self.ask_once(path, headers, method, body))
            return answers[-1][0] != 429

        eventually(answered)
        return answers[-1]

    def ask_once(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: object = None
    ) -> tuple[int, Any, Any]:
        """Return status, decoded body and headers of the diagnostics port's answer."""
        data = None if method == "GET" else json.dumps({} if body is None else body).encode()
        request = urllib.request.Request(self.gateway.diag + path, data, headers or {}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, _decoded(answer.read()), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read()), error.headers

    def use(self, **diag: Any) -> None:
        """Reload with these settings of the diagnostics port, and wait until they apply."""
        before = self.gateway.logs().count("settings reloaded")
        self.gateway.reload(self.gateway.settings | {"diag": diag})
        eventually(lambda: self.gateway.logs().count("settings reloaded") > before, self.gateway.logs)


def _decoded(body: bytes) -> Any:
    return json.loads(body) if body.startswith((b"{", b"[")) else body


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a running gateway, which the tests of this module share."""
    home = tmp_path_factory.mktemp("access")
    config = home / "config.json"
    config.write_text(json.dumps(shop("before")), "utf-8")
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(config)}}}
    running = GatewayProcess({"sdks": {"shop": sdk}, "http": {"sse": {"drain_window": 0}}, "diag": WITH_USERS}, home)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def scene(gateway: GatewayProcess) -> Scene:
    """Return the gateway with two users, none of whom has logged in since."""
    scene = Scene(gateway)
    scene.use(**WITH_USERS, status={"enabled": True})
    return scene


def operations(scene: Scene) -> list[tuple[str, str, str]]:
    """Return method, path and summary of each operation of the API."""
    document = scene.ask("/api/v1/openapi.json", OSKAR)[1]
    filled = {"{sdkId}": "shop", "{config}": "0123", "{id}": "none"}
    found = []
    for template, methods in document["paths"].items():
        path = template
        for name, value in filled.items():
            path = path.replace(name, value)
        found += [(method.upper(), path, each["summary"]) for method, each in methods.items()]
    return found


def test_a_login_is_needed_for_all_but_probes_and_the_files_of_the_page(scene: Scene) -> None:
    """A browser opens its dialog because of the challenge, already for the page; also on this machine."""
    guarded = ("/", "/status", "/metrics", "/configs", "/deliveries", "/api/v1/overview", "/api/v1/nothing")
    for path in guarded:
        for headers in ({}, {"Accept": "text/html"}, {"Authorization": "Bearer x"}, {"Authorization": "Basic !"}):
            code, body, fields = scene.ask(path, headers)
            assert (401, CHALLENGE) == (code, fields["WWW-Authenticate"]), path
            assert "diag.users" in str(body)
    assert [200, 200, 200] == [scene.ask(path)[0] for path in ("/livez", "/readyz", "/console/main.js")]
    for path in guarded[:4]:
        assert 200 == scene.ask(path, VERA)[0], path
    page = scene.ask("/", VERA | {"Accept": "text/html"})
    assert (200, True) == (page[0], page[2]["Content-Type"].startswith("text/html"))


def test_wrong_logins_are_refused_and_then_limited(scene: Scene) -> None:
    """An unknown user looks like a wrong password; a user who has logged in is not affected by the limit."""
    assert 200 == scene.ask("/status", VERA)[0]
    answers = [scene.ask("/status", login(name, "hunter2!")) for name in ("vera", "nobody", "VERA", "oskar:x", "")]
    assert {(401, b"wrong user name or password\n", CHALLENGE)} == {
        (code, body, fields["WWW-Authenticate"]) for code, body, fields in answers
    }

    def refused() -> bool:
        code, _, fields = scene.ask_once("/api/v1/overview", login("vera", "hunter2!"))
        return (429, "1") == (code, fields["Retry-After"])

    eventually(refused)  # the budget has one more each second
    assert [200, 200] == [scene.ask("/status", VERA)[0], scene.ask("/api/v1/overview", VERA)[0]]
    assert 200 == scene.gateway.post("/api/shop/eval", json.dumps({"key": "banner", "user": GERMAN}).encode())[0]
    assert "wrong logins to the diagnostics port" in scene.gateway.logs()
    metrics = scene.ask("/metrics", VERA)[1].decode()
    for outcome in ("verified", "wrong", "limited"):
        (line,) = re.findall(f'flaggateway_diag_logins_total{{outcome="{outcome}"}} (.+)', metrics)
        assert float(line) > 0


def test_a_viewer_sees_everything_and_does_nothing(scene: Scene) -> None:
    """Each operation that needs the role ``operate`` by the document is refused with what is needed, no other one."""
    overview = scene.ask("/api/v1/overview", VERA)[1]
    assert {"user": "vera", "role": "view"} == overview["access"]
    acts = 0
    for method, path, summary in operations(scene):
        if path.endswith("/events"):
            continue
        code, body, _ = scene.ask(path, VERA, method)
        if "role `operate`" in summary:
            acts += 1
            text = "user vera has the role view, and this needs operate: add the name to diag.operators"
            assert (403, {"error": text}) == (code, body), path
        else:
            assert code not in {401, 403}, (path, code, body)
    assert acts >= 5
    for path in ("/configs/shop/accept", "/configs/shop/reject", "/deliveries/none/retry"):
        assert 403 == scene.ask(path, VERA, "POST")[0], path
    question = {"sdk": "shop", "key": "banner", "user": GERMAN}
    assert 200 == scene.ask("/api/v1/explain", VERA, "POST", question)[0]
    candidate = {"sdk": "shop", "config": shop("after")}
    assert 200 == scene.ask("/api/v1/impact", VERA, "POST", candidate)[0]
    assert 403 == scene.ask("/api/v1/impact?reveal=1", VERA, "POST", candidate)[0]


def test_an_operator_may_do_everything(scene: Scene) -> None:
    """The log names the user; the overview shows what is pinned."""
    overview = scene.ask("/api/v1/overview", OSKAR)[1]
    assert ({"user": "oskar", "role": "operate"}, None) == (overview["access"], overview["sdks"][0]["pinned"])
    for method, path, _ in operations(scene):
        if not path.endswith("/events"):
            assert scene.ask(path, OSKAR, method)[0] not in {401, 403}, path
    candidate = {"sdk": "shop", "config": shop("after")}
    assert 200 == scene.ask("/api/v1/impact?reveal=1", OSKAR, "POST", candidate)[0]
    tag = overview["sdks"][0]["config"]["tag"]
    assert 200 == scene.ask("/api/v1/configs/shop/serve", OSKAR, "POST", {"id": tag})[0]
    assert tag == scene.ask("/api/v1/overview", OSKAR)[1]["sdks"][0]["pinned"]["config"]
    assert 200 == scene.ask("/api/v1/configs/shop/release", OSKAR, "POST")[0]
    assert None is scene.ask("/api/v1/overview", OSKAR)[1]["sdks"][0]["pinned"]
    eventually(lambda: "release of the pinned config by user oskar" in scene.gateway.logs(), scene.gateway.logs)


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "own"}, False),
        ({}, False),
    ],
)
def test_a_page_of_another_site_cannot_act(scene: Scene, fields: dict[str, str], refused: bool) -> None:
    """The browser would send the login with it; the command line sends no origin."""
    if fields.get("Origin") == "own":
        fields = {"Origin": scene.gateway.diag}
    for path in ("/api/v1/configs/shop/release", "/configs/shop/accept"):
        code, body, _ = scene.ask(path, OSKAR | fields, "POST")
        assert (403 if refused else 409) == code, (path, body)
        assert refused == ("another site" in body["error"])


def test_a_reload_applies_at_once(scene: Scene) -> None:
    """To users, passwords, roles, and to streams that are open: their clients come back, and have to log in."""
    assert 200 == scene.ask("/api/v1/overview", OSKAR)[0]
    with socket.create_connection(("127.0.0.1", scene.gateway.diag_port), timeout=60) as stream:
        lines = "".join(f"{name}: {value}\r\n" for name, value in OSKAR.items())
        stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        assert stream.recv(15).startswith(b"HTTP/1.1 200 OK")
        scene.use(users={"vera": USERS["vera"], "nina": cheap_hash("a new password")}, operators=["vera"])
        with suppress(ConnectionError):
            while stream.recv(1 << 16):
                pass  # until the gateway closes it
    assert 401 == scene.ask("/api/v1/overview", OSKAR)[0]
    assert "operate" == scene.ask("/api/v1/overview", VERA)[1]["access"]["role"]
    nina = login("nina", "a new password")
    assert {"user": "nina", "role": "view"} == scene.ask("/api/v1/overview", nina)[1]["access"]
    scene.use(users={"vera": cheap_hash("changed password")})
    assert [401, 401] == [scene.ask("/status", each)[0] for each in (VERA, nina)]
    assert 200 == scene.ask("/status", login("vera", "changed password"))[0]


def test_users_that_cannot_be_used_leave_the_old_ones(scene: Scene) -> None:
    """The reload is refused; the log names the user and does not repeat the value."""
    scene.gateway.reload(scene.gateway.settings | {"diag": {"users": {"eve": "hunter3"}}})
    refusal = "not a password hash of the form $scrypt$"
    eventually(lambda: refusal in scene.gateway.logs(), scene.gateway.logs)
    assert 200 == scene.ask("/api/v1/overview", VERA)[0]
    assert "hunter3" not in scene.gateway.logs()


def test_headers_count_as_operate_beside_users_and_alone(scene: Scene) -> None:
    """Either is enough; without users there is no challenge, since a browser could not send the headers."""
    scene.use(**WITH_USERS, auth_headers=HEADERS)
    assert [200, 200, 401] == [scene.ask("/status", each)[0] for each in (HEADERS, VERA, {"X-Key": "x"})]
    assert {"user": None, "role": "operate"} == scene.ask("/api/v1/overview", HEADERS)[1]["access"]
    assert 409 == scene.ask("/api/v1/configs/shop/release", HEADERS, "POST")[0]
    scene.use(auth_headers=HEADERS)
    code, _, fields = scene.ask("/api/v1/overview", VERA)
    assert (401, None) == (code, fields["WWW-Authenticate"])
    assert {"user": None, "role": "operate"} == scene.ask("/api/v1/overview", HEADERS)[1]["access"]


def test_without_users_and_headers_this_machine_is_answered(scene: Scene) -> None:
    """As an operator, except for attributes of users; a name of another host is not this machine."""
    scene.use(status={"enabled": True})
    assert {"user": None, "role": "operate"} == scene.ask("/api/v1/overview")[1]["access"]
    assert 409 == scene.ask("/api/v1/configs/shop/release", method="POST")[0]
    candidate = {"sdk": "shop", "config": shop("after")}
    assert 403 == scene.ask("/api/v1/impact?reveal=1", method="POST", body=candidate)[0]
    assert 403 == scene.ask("/api/v1/overview", {"Host": "evil.example"})[0]
    assert [200, 200] == [scene.ask(path, {"Host": "evil.example"})[0] for path in ("/status", "/metrics")]


def test_a_large_first_request_is_read_after_its_login(scene: Scene) -> None:
    """A candidate config with a login that was not verified before; with a wrong one it is dropped."""
    filler = {f"filler{number}": {"t": 1, "v": {"s": "x" * 1000}} for number in range(2000)}
    candidate = {"sdk": "shop", "config": shop("after") | {"f": shop("after")["f"] | filler}}
    code, answer, _ = scene.ask("/api/v1/impact", VERA, "POST", candidate)
    assert (200, 1000) == (code, len(answer["added"]))
    assert 401 == scene.ask("/api/v1/impact", login("vera", "wrong password"), "POST", candidate)[0]


def test_a_browser_logs_in_by_its_own_dialog(scene: Scene, tmp_path: Path) -> None:
    """The page, what it loads and its events come with the login."""
    browser = open_browser(tmp_path / "chromium")
    try:
        port = scene.gateway.diag_port
        for name, host in (("vera:battery%20staple", "127.0.0.1"), ("oskar:right%20horse", "localhost")):
            browser.get(f"http://{name}@{host}:{port}/status")  # stands for the dialog, which no test can type into
            browser.get(f"http://{host}:{port}/")
            eventually(lambda: "All is well" in browser.find_element(By.TAG_NAME, "body").text)
            question = "fetch('/api/v1/overview').then(a => a.json()).then(a => arguments[0](a.access))"
            assert name.partition(":")[0] == browser.execute_async_script(question)["user"]
    finally:
        browser.quit()


def test_no_password_is_shown(scene: Scene) -> None:
    """Neither by the log nor by a page."""
    for headers in (VERA, OSKAR, login("oskar", "hunter2!")):
        scene.ask("/api/v1/overview", headers)
    pages = [scene.ask(path, OSKAR)[1] for path in ("/status", "/metrics", "/api/v1/overview", "/")]
    shown = f"{pages}{scene.gateway.logs()}"
    for secret in (
        "battery",
        "right horse",
        "hunter2",
        *(each["Authorization"][6:] for each in (VERA, OSKAR)),
    ):
        assert secret not in shown
