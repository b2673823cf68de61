"""The console's page in Chromium, on a real gateway: what an operator sees and does there."""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from browser import open_browser
from console_page import AXE, SIZES, ConsolePage
from eventually import eventually
from gateway.testing.receiver import Receiver
from gateway.text import hash_password
from gateway_process import GatewayProcess
from outside_tools import missing
from shop import FRENCH, GERMAN, shop
from streams import Stream, Streams, stream_path

VIEWS = ["now", "changes", "explain", "impact", "streams", "deliveries", "clients", "configs"]
SCHEMES = ("light", "dark")
LISTENERS = 20  # streams of events that may be open
PASSWORDS = {"olga": "operates the gateway", "vera": "views the gateway"}


def login(name: str) -> dict[str, str]:
    """Return the header that a browser sends after its dialog."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{PASSWORDS[name]}'.encode()).decode()}"}


class Scene(ConsolePage):
    """A gateway with a file source and one endpoint, and a browser on its console."""

    def __init__(self, gateway: GatewayProcess, config: Path, browser: Chrome, receiver: Receiver) -> None:
        super().__init__(browser)
        self.gateway = gateway
        self.config = config
        self.receiver = receiver

    def publish(self, config: dict[str, Any]) -> None:
        """Replace the config."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(config), "utf-8")
        fresh.replace(self.config)

    def serve(self, value: str) -> None:
        """Replace the config, and wait until a German gets this value."""
        self.publish(shop(value))
        eventually(lambda: answer(self.gateway) == value)

    def newest_change(self) -> str:
        """Return the address of the change that is shown first, which ends with its number; empty without one."""
        found = self.browser.find_elements(By.CSS_SELECTOR, "article h2 a")
        return str(found[0].get_attribute("href")) if found else ""

    def log_in(self, headers: dict[str, str]) -> None:
        """Add these headers to all requests of the browser."""
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": headers})

    def open(self, view: str, user: str = "olga") -> None:
        """Load the page at a view, as a user."""
        self.browser.get("about:blank")
        self.log_in(login(user))
        self.browser.get(f"{self.gateway.diag}/#/{view}")
        eventually(lambda: self.browser.find_element(By.TAG_NAME, "h1").text.lower() == view.partition("?")[0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a running gateway and a browser, which the tests of this module share."""
    home = tmp_path_factory.mktemp("console")
    config = home / "config.json"
    config.write_text(json.dumps(shop("before")), "utf-8")
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(config)}}}
    with Receiver() as receiver:
        settings = {
            "sdks": {"shop": sdk},
            "http": {"sse": {"drain_window": 0}},
            "upstream": {"guard": {"max_removed_percent": 50}},
            "webhooks": [{"name": "ops", "url": receiver.url, "allow_private": True}],
            "diag": {
                "users": {name: hash_password(password, name.encode() * 4) for name, password in PASSWORDS.items()},
                "operators": ["olga"],
            },
        }
        gateway = GatewayProcess(settings, home)
        gateway.start()
        browser = open_browser(tmp_path_factory.mktemp("chromium"))
        try:
            yield Scene(gateway, config, browser, receiver)
        finally:
            browser.quit()
            gateway.stop()


@pytest.fixture
def streams() -> Iterator[Streams]:
    """A group of streams that is closed with the test."""
    group = Streams()
    try:
        yield group
    finally:
        group.close()


def test_the_first_view_states_the_health(scene: Scene) -> None:
    """One sentence, then each SDK with its config."""
    scene.open("now")
    scene.shows("All is well", "shop", "healthy", "Last fetch")


def test_a_change_appears_while_the_page_is_open(scene: Scene, streams: Streams) -> None:
    """In words, with its reach; its page has the difference of the definitions and the deliveries."""
    scene.serve("before")
    german, french = (streams.open(scene.gateway.port, stream_path("shop", user)) for user in (GERMAN, FRENCH))
    streams.read_until(lambda: german.payloads and french.payloads)
    scene.open("changes")
    scene.shows("Live")
    known = scene.newest_change()
    scene.publish(shop("after"))
    eventually(lambda: scene.newest_change() != known, lambda: scene.text)
    scene.shows("shop: 1 flag changed", "banner", "updated", "Reached 1 of 2 open streams, the last in")
    streams.read_until(lambda: "after" in str(german.payloads[-1]))
    scene.link("shop: 1 flag changed").click()
    scene.shows("Streams reached", "of 2", "equal lines", "Watched users", "delivered")
    find = scene.browser.find_elements
    gone, new = ("".join(each.text for each in find(By.CSS_SELECTOR, f"pre .{kind}")) for kind in ("gone", "new"))
    assert ('"before"' in gone, '"after"' in gone, '"before"' in new, '"after"' in new) == (True, False, False, True)
    scene.open("now")
    scene.shows("shop serves config", "Reached 1 of 2 open streams")


@pytest.mark.alone
def test_a_change_appears_within_a_second(scene: Scene, streams: Streams) -> None:
    """With its reach, from the moment when the gateway has the config: its file may be read a second late."""
    scene.serve("slow")
    german = streams.open(scene.gateway.port, stream_path("shop", GERMAN))
    streams.read_until(lambda: german.payloads)
    scene.open("changes")
    scene.shows("Live")
    eventually(lambda: "No config has" in scene.text or scene.newest_change())
    watched = """
        const done = arguments[0];
        const times = {};
        const note = (name) => {
            times[name] ??= performance.now();
            if ("served" in times && "shown" in times) done(times.shown - times.served);
        };
        const newest = () => document.querySelector("article");
        const known = newest()?.querySelector("h2 a").href;
        const reached = () => newest().textContent.includes("the last in");
        const shown = () => newest()?.querySelector("h2 a").href !== known && reached();
        new MutationObserver(() => shown() && note("shown"))
            .observe(document.body, { childList: true, subtree: true, characterData: true });
        let first = true;
        const events = new EventSource("api/v1/events");
        const since = Date.now();
        events.addEventListener("config", (event) => Date.parse(JSON.parse(event.data).at) > since && note("served"));
        events.onopen = () => fetch("api/v1/overview").then(() => document.title = "watching");
    """
    scene.browser.execute_script(f"window.found = new Promise((done) => {{ (function() {{ {watched} }})(done); }});")
    eventually(lambda: scene.browser.title == "watching")
    scene.publish(shop("quick"))
    took = scene.browser.execute_async_script("window.found.then(arguments[0])")
    assert took < 1_000


def test_a_failed_delivery_is_sent_again(scene: Scene) -> None:
    """The receiver refuses a message for good; once it accepts, a click sends it, and another sends all that failed."""
    scene.serve("accepted")
    scene.receiver.status = 413
    scene.publish(shop("refused"))
    scene.open("deliveries")
    Select(scene.browser.find_element(By.TAG_NAME, "select")).select_by_visible_text("failed")
    scene.shows("FLAG_UPDATED", "answered 413")
    scene.receiver.status = 204
    scene.link("FLAG_UPDATED").click()
    scene.shows("FLAG_UPDATED to ops", "failed", "Outcome")
    scene.button("Send again").click()
    scene.shows("1 message sent again.", "delivered")
    scene.link("All deliveries").click()
    scene.shows("Send all failed again")
    scene.button("Send all failed again").click()
    scene.shows("sent again.")
    Select(scene.browser.find_element(By.TAG_NAME, "select")).select_by_visible_text("failed")
    scene.shows("No message fits.")


def test_a_test_message_is_sent(scene: Scene) -> None:
    """Each endpoint has a button; the message is in the list soon."""
    scene.receiver.status = 204
    scene.open("deliveries")
    scene.shows("ops", "nothing waits")
    scene.button("Send a test").click()
    scene.shows("A test is on its way to ops.", "WEBHOOK_TEST")


def test_explain_equals_the_command_line(scene: Scene) -> None:
    """The page shows the lines that ``flaggateway explain`` prints; two users are compared, and a link repeats it."""
    scene.serve("explained")
    scene.open("explain")
    scene.fill("Flag", "banner")
    scene.fill("User (attributes", json.dumps(GERMAN))
    scene.fill("Other user", json.dumps(FRENCH))
    scene.button("Explain").click()
    scene.shows("The first decision that differs")
    trees = scene.browser.find_elements(By.CSS_SELECTOR, "pre.tree")
    command = [str(Path(sys.executable).with_name("flaggateway")), "explain", "--config-json", str(scene.config)]
    printed = [
        subprocess.run(
            [*command, "--user", json.dumps(user), "banner"], capture_output=True, text=True, timeout=60, check=True
        ).stdout.rstrip("\n")
        for user in (GERMAN, FRENCH)
    ]
    assert printed == [tree.get_property("textContent").rstrip("\n") for tree in trees]
    assert printed[0] != printed[1]
    link = str(scene.link("Link to this form").get_attribute("href"))
    address, _, form = link.partition("#")
    assert ("anna" in address, "anna" in form) == (False, True)
    scene.browser.get("about:blank")
    scene.browser.get(link)
    eventually(lambda: scene.browser.find_elements(By.TAG_NAME, "textarea"))
    fields = scene.browser.find_elements(By.TAG_NAME, "textarea")
    assert [GERMAN, FRENCH] == [json.loads(str(each.get_property("value"))) for each in fields]


def test_two_moments_are_compared(scene: Scene) -> None:
    """The same user with the live config and with the one before, which the history has."""
    scene.serve("past")
    scene.serve("present")
    status, body = scene.gateway.get("/api/v1/changes?limit=2", headers=login("vera"), diag=True)
    assert 200 == status
    (_, past) = json.loads(body)["changes"]
    scene.open("explain")
    scene.fill("Flag", "banner")
    scene.fill("User (attributes", json.dumps(GERMAN))
    scene.fill("Other moment", str(past["id"]))
    scene.button("Explain").click()
    scene.shows('"present"', '"past"', "The first decision that differs")


def test_impact_predicts_who_would_see_another_value(scene: Scene, streams: Streams, tmp_path: Path) -> None:
    """A German with an open stream is counted, and gets the predicted value when the file is published."""
    scene.serve("known")
    german, french = (streams.open(scene.gateway.port, stream_path("shop", user)) for user in (GERMAN, FRENCH))
    streams.read_until(lambda: "known" in str(german.payloads[-1:]) and bool(french.payloads))
    scene.open("streams")
    scene.shows("2 open streams", "all flags")
    scene.open("impact")
    candidate = tmp_path / "candidate.json"
    candidate.write_text(json.dumps(shop("candidate")), "utf-8")
    scene.browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(candidate))
    field = scene.browser.find_element(By.TAG_NAME, "textarea")
    eventually(lambda: "candidate" in str(field.get_property("value")))
    scene.button("Predict").click()
    scene.shows("1 flag would change", "1 of 2 users would see something else", '"known"', '"candidate"')
    heard = len(french.payloads)
    scene.publish(shop("candidate"))
    streams.read_until(lambda: "candidate" in str(german.payloads[-1]))
    assert heard == len(french.payloads)


def test_a_test_stream_shows_why_a_value_changed(scene: Scene) -> None:
    """The values at first, then each change for this user with what decided it; another user's change is none."""
    scene.serve("streamed")
    scene.open("streams")
    scene.fill("User (attributes", json.dumps(FRENCH), "test-stream")
    scene.button("Open the stream").click()
    scene.shows("3 flags of config")
    scene.serve("for Germans")
    scene.shows("nothing changed for this user")
    config = shop("for Germans")
    config["f"]["banner"]["v"]["s"] = "for all others"
    scene.publish(config)
    scene.shows('banner: "elsewhere" decided by default value', '"for all others" decided by default value')
    scene.button("Close").click()
    scene.shows("Open the stream")


def test_a_user_is_followed(scene: Scene, streams: Streams) -> None:
    """What the open streams of the user are sent, with what decided it, and a link to the change."""
    scene.serve("followed")
    german, french = (streams.open(scene.gateway.port, stream_path("shop", user)) for user in (GERMAN, FRENCH))
    streams.read_until(lambda: german.payloads and french.payloads)
    scene.open("streams")
    scene.fill("User (attributes", json.dumps({"Identifier": "anna"}), "tail")
    scene.button("Follow").click()
    scene.shows("1 open stream has these attributes")
    scene.publish(shop("sent"))
    scene.shows('banner: "followed"', '"sent"', "by rule 1", "1 stream of all flags")
    scene.link("Change ").click()
    scene.shows("Streams reached")


def test_clients_are_listed(scene: Scene) -> None:
    """With their SDK, and the flags that they name although no config has them."""
    headers = {"User-Agent": "till/7", "X-ConfigCat-UserAgent": "ConfigCat-Go/9.1.0"}
    body = json.dumps({"key": "baner"}).encode()
    assert 400 == scene.gateway.post("/api/shop/eval", body, headers=headers)[0]
    scene.open("clients")
    scene.shows("till/7", "ConfigCat-Go/9.1.0", "/api/{sdkId}/eval", "baner of shop", "Flags that no request has named")


def test_one_flag_is_edited_in_place(scene: Scene) -> None:
    """The definition in use is there to be edited; the edit is shown as a difference, and nothing is published."""
    scene.serve("in use")
    scene.open("impact")
    Select(scene.browser.find_elements(By.TAG_NAME, "select")[1]).select_by_visible_text("one flag")
    field = scene.browser.find_element(By.TAG_NAME, "textarea")

    def offered() -> bool:
        scene.fill("Flag", "banner")
        return "in use" in str(field.get_property("value"))

    eventually(offered)  # the config is being loaded
    fill = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', { bubbles: true }))"
    edited = str(field.get_property("value")).replace("in use", "edited")
    scene.browser.execute_script(fill, field, edited)
    scene.shows("Your edit", '"s": "in use"', '"s": "edited"')
    scene.button("Predict").click()
    scene.shows("1 flag would change")
    assert "in use" == answer(scene.gateway)


def test_the_last_hour_is_plotted(scene: Scene) -> None:
    """Each plot has a sentence for those who cannot see it."""
    scene.open("now")
    find = scene.browser.find_elements
    eventually(lambda: len(find(By.CSS_SELECTOR, "figure canvas")) == 6, lambda: scene.text)
    labels = [each.get_attribute("aria-label") for each in find(By.CSS_SELECTOR, "figure [role=img]")]
    assert labels[0].startswith("Open streams in the last hour, now ")


def test_a_mistake_in_the_form_is_explained(scene: Scene) -> None:
    """Invalid JSON is found in the page, an unknown flag by the gateway."""
    scene.open("explain")
    scene.fill("Flag", "baner")
    scene.fill("User (attributes", "{")
    scene.button("Explain").click()
    scene.shows("User: this is not JSON")
    scene.fill("User (attributes", "{}")
    scene.button("Explain").click()
    scene.shows("did you mean 'banner'?")


def test_a_held_config_is_rejected(scene: Scene) -> None:
    """The guard holds a config without flags; the page shows why, and a click drops it."""
    scene.open("configs")
    scene.shows("No config is held")
    scene.publish({"f": {}})
    scene.shows("SDK shop: a config is held")
    scene.button("Reject").click()
    scene.shows("No config is held")
    scene.publish(shop("last"))


def test_a_held_config_is_accepted(scene: Scene) -> None:
    """Clients get it at once."""
    scene.serve("kept")
    scene.open("configs")
    scene.publish(shop("accepted") | {"f": {"banner": shop("accepted")["f"]["banner"]}})
    scene.shows("SDK shop: a config is held", "2 of 3 flags would vanish")
    assert "kept" == answer(scene.gateway)
    scene.button("Accept").click()
    scene.shows("No config is held")
    eventually(lambda: answer(scene.gateway) == "accepted")
    scene.shows("accepted")


def test_a_viewer_sees_all_and_changes_nothing(scene: Scene) -> None:
    """Each button of an action is off and gives the reason; what only reads works."""
    scene.serve("first")
    scene.serve("second")
    scene.publish({"f": {}})
    scene.open("configs", "vera")
    scene.shows("vera (view)", "a config is held", "Serve it", "operators may act")
    for text in ("Accept", "Reject", "Serve it"):
        assert not scene.button(text).is_enabled()
        assert "diag.operators" in scene.button(text).get_attribute("title")
    scene.button("Compare with live").click()
    scene.shows("From")
    scene.open("deliveries", "vera")
    scene.shows("FLAG_UPDATED")
    assert not scene.button("Send all failed again").is_enabled()
    scene.link("FLAG_UPDATED").click()
    scene.shows("Body", '"type": "FLAG_UPDATED"')
    assert not scene.button("Send again").is_enabled()
    scene.open("impact", "vera")
    scene.shows("for operators")
    refused = scene.browser.execute_async_script(
        "fetch('api/v1/configs/shop/accept', { method: 'POST' }).then((answer) => arguments[0](answer.status))"
    )
    assert 403 == refused
    scene.open("configs", "olga")
    scene.shows("olga (operate)")
    scene.button("Reject").click()
    scene.shows("No config is held")
    scene.publish(shop("third"))


def test_a_login_that_is_no_longer_valid_is_explained(scene: Scene) -> None:
    """The page asks nothing by itself then, since the browser would open its dialog each time; a button does."""
    scene.serve("valid")
    scene.open("now", "vera")
    scene.shows("vera (view)", "Live")
    # Headless Chromium waits for its dialog for ever, so the answer of a cancelled one is made here.
    refusing = """
        window.asked = 0;
        window.fetch = async () => { window.asked += 1; return new Response('{"error": "log in"}', { status: 401 }); };
    """
    scene.browser.execute_script(refusing)
    scene.publish(shop("unseen"))
    scene.shows("Log in")
    asked = scene.browser.execute_script("return window.asked")
    known = re.findall(r"serves config (\w+)", scene.text)
    scene.publish(shop("unseen, too"))
    eventually(lambda: re.findall(r"serves config (\w+)", scene.text) != known)
    longer_than_the_least_pause = "setTimeout(arguments[0], 1500)"
    scene.browser.execute_async_script(longer_than_the_least_pause)
    assert asked == scene.browser.execute_script("return window.asked")
    scene.button("Log in").click()
    eventually(lambda: scene.browser.execute_script("return window.asked") is None)
    scene.shows("vera (view)", "Live", "All is well")


def test_an_earlier_config_is_served_and_released(scene: Scene) -> None:
    """It is compared, pinned, and the source decides again after the release."""
    scene.serve("good")
    scene.open("configs")
    scene.shows("live")
    scene.serve("broken")
    scene.open("configs")
    scene.shows("Serve it")
    scene.button("Compare with live").click()
    scene.shows("banner updated")
    scene.button("Serve it").click()
    scene.shows("is pinned since")
    assert "good" == answer(scene.gateway)
    scene.button("Release").click()
    eventually(lambda: answer(scene.gateway) == "broken", lambda: scene.text)
    eventually(lambda: "is pinned since" not in scene.text, lambda: scene.text)


def answer(gateway: GatewayProcess) -> str:
    """Return the value of the flag for a German."""
    _, body = gateway.post("/api/shop/eval", json.dumps({"key": "banner", "user": GERMAN}).encode())
    return str(json.loads(body)["value"])


def test_a_lost_gateway_is_shown(scene: Scene) -> None:
    """The page keeps what it had, and goes on by itself when the gateway is back."""
    scene.open("now")
    scene.shows("All is well")
    assert 0 == scene.gateway.stop()
    scene.shows("The gateway does not answer", "Connection lost", "shop")
    scene.gateway.restart()
    eventually(lambda: "does not answer" not in scene.text, lambda: scene.text)
    scene.shows("All is well", "Live")


def test_a_page_without_events_still_shows_the_state(scene: Scene, streams: Streams) -> None:
    """While all streams of events are taken the page asks now and then, and is live again when one is free."""
    scene.browser.get("about:blank")
    headers = f"Authorization: {login('olga')['Authorization']}\r\n"
    taken: list[Stream] = []
    while len(taken) < LISTENERS:
        stream = streams.open(scene.gateway.diag_port, "/api/v1/events", headers=headers)
        streams.read_until(lambda stream=stream: stream.status is not None)
        taken += [stream] if stream.status == 200 else []  # the page before may still have one
    scene.open("now")
    scene.shows("All is well", "Not live")
    for stream in taken:
        # A reset, which the gateway notices at once: it reads nothing from a stream.
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    streams.close()
    eventually(lambda: "Live" in scene.text and "Not live" not in scene.text, lambda: scene.text)


def test_the_filters_of_deliveries(scene: Scene) -> None:
    """A state without messages leaves a sentence."""
    scene.open("deliveries")
    scene.shows("Endpoint")
    Select(scene.browser.find_element(By.TAG_NAME, "select")).select_by_visible_text("failed")
    scene.shows("No message fits.")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("telephone", "dark")])
def test_the_page_is_accessible_and_fits(scene: Scene, size: str, scheme: str) -> None:
    """axe-core finds nothing in any view, nothing is wider than the window, and nothing violates the policy."""
    check_views(scene, size, scheme)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), list(itertools.product(SIZES, SCHEMES)))
def test_the_page_is_accessible_in_all_sizes_and_schemes(scene: Scene, size: str, scheme: str) -> None:
    """All four, with what the views show behind a link or a button."""
    check_views(scene, size, scheme)
    scene.look(size, scheme)
    scene.serve(f"{size} {scheme}")
    scene.open("changes")
    scene.shows("1 flag changed")
    scene.link("1 flag changed").click()
    scene.shows("equal lines")
    assert [] == scene.faults()
    scene.open("deliveries")
    scene.link("FLAG_UPDATED").click()
    scene.shows("Send again")
    assert [] == scene.faults()
    scene.open("explain")
    scene.fill("Flag", "banner")
    scene.fill("Other user", json.dumps(GERMAN))
    scene.button("Explain").click()
    scene.shows("The first decision that differs")
    assert [] == scene.faults()


def check_views(scene: Scene, size: str, scheme: str) -> None:
    """Open each view, and look for what is wrong in it."""
    if not AXE.exists():
        missing("the Node packages of tests/e2e are not installed (npm ci)")
    scene.look(size, scheme)
    scene.severe()  # of earlier tests
    for view in VIEWS:
        scene.open(view)
        eventually(lambda: "Loading" not in scene.text)
        assert [] == scene.faults(), (view, size, scheme)
    assert [] == scene.severe()


def test_the_browser_reports_violations_of_the_policy(scene: Scene) -> None:
    """So the log of Chromium, which the tests of the views read, is a proof."""
    scene.open("now")
    inline = "const made = document.createElement('script'); made.text = '1'; document.body.append(made)"
    scene.browser.execute_script(inline)
    assert "Content Security Policy" in scene.severe()[-1]["message"]


def test_everything_is_reached_by_keyboard(scene: Scene) -> None:
    """The first key jumps over the links; each link is reached, and opens its view, whose fields follow."""
    scene.look("desktop", "light")
    scene.open("now")
    keys = ActionChains(scene.browser)
    focused: list[str] = []
    for _ in range(len(VIEWS) + 2):
        keys.send_keys(Keys.TAB).perform()
        focused.append(str(scene.browser.switch_to.active_element.text or "").strip())
    names = [each.split("\n")[0].rstrip("0123456789 ").lower() for each in focused]
    assert ["skip to content", "flaggateway", *VIEWS] == names
    explain = scene.link("Explain")
    scene.browser.execute_script("arguments[0].focus()", explain)
    keys.send_keys(Keys.ENTER).perform()
    eventually(lambda: scene.browser.find_element(By.TAG_NAME, "h1").text == "Explain")
    fields = []
    for _ in range(8):
        keys.send_keys(Keys.TAB).perform()
        fields.append(scene.browser.switch_to.active_element.tag_name)
    assert ["select", "input", "textarea", "textarea", "input", "input", "button", "a"] == fields
