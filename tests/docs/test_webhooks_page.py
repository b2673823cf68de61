"""The page on web hooks: its examples are what is sent, its snippets run, its table is the schedule."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import attrs
import pytest

from gateway.cli.deliveries import deliveries
from gateway.http_client import headers_for
from gateway.telemetry.outbox_pages import LIMIT, MOST
from gateway.webhooks.admin import BODY_LIMIT, READ_SECONDS
from gateway.webhooks.delivery.retry import DELAYS, LONGEST_DELAY
from gateway.webhooks.store.queries import CHANGE_LIMIT, Delivery
from outbound_scene import FORMATS, CountedIds, change_of, check, config, messages_about

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, EXPORTER_PAGE = (DOCS / "webhooks.md").read_text(), (DOCS / "exporter.md").read_text()
NEW, OLD = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "an old text"
BODY = '{"text": "grün"}'.encode()
EXAMPLES = (
    *(style for style in FORMATS if style != "envelope"),
    "envelope FLAG_UPDATED",
    "envelope USER_FLAGS_UPDATED",
)


def flag(value, variation):
    return {"t": 0, "v": {"b": value}, "i": variation}


def example(name):
    """What is sent in the story that the page tells."""
    style, _, kind = name.partition(" ")
    old, new = config({"checkout": flag(False, "5e6f7a8b")}), config({"checkout": flag(True, "1a2b3c4d")})
    change = change_of(old, new, notes="for the summer sale", etags=('W/"5f1c"', 'W/"9d02"'))
    users = [{"Identifier": "42", "Country": "DE"}]
    messages = messages_about(change, style, ids=CountedIds({"checkout": False}), users=users)
    return json.loads(next(message.body for message in messages if kind in {"", message.type}))


def block(marker, page=PAGE):
    """The code block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```[a-z]+\n(.*?)```", page, re.DOTALL)
    assert found is not None, marker
    return found[1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_what_is_sent(name):
    """Each example of the page is, field by field, what the gateway sends, and fits its schema."""
    shown = json.loads(block(f"example: {name}"))
    assert shown == example(name)
    check(name.partition(" ")[0], shown)


def test_the_sample_of_evaluation_events_fits_the_schema():
    """The exporter's page, and the original's documentation, are as the schema says."""
    check("exporter", json.loads(block("sample: exporter", EXPORTER_PAGE)))
    original = {
        "kind": "feature",
        "contextKind": "anonymousUser",
        "userKey": "14613538188334553206",
        "creationDate": 1618909178,
        "key": "test-flag",
        "variation": "Default",
        "value": False,
        "default": False,
        "source": "SERVER",
    }
    check("exporter", {"meta": {"hostname": "server01"}, "events": [original]})


def calls():
    """Calls that are genuine, and how they are when something about them is not: (headers, body, secrets, answers)."""
    now = int(time.time())  # noqa: TID251 - the snippets compare with the real clock
    good = dict(headers_for("an-id", "envelope", BODY, [NEW, OLD], now, 1))
    late = dict(headers_for("an-id", "envelope", BODY, [NEW], now - 400, 1))
    return [
        (good, BODY, [NEW], (True, True)),
        (good, BODY, [OLD], (False, True)),
        (good, BODY, ["other", NEW], (True, True)),
        (good, BODY, ["other"], (False, False)),
        (good, BODY + b" ", [NEW, OLD], (False, False)),
        ({**good, "webhook-id": "x"}, BODY, [NEW], (True, False)),
        ({**good, "webhook-timestamp": "soon"}, BODY, [NEW], (True, False)),
        (late, BODY, [NEW], (True, False)),
        ({}, BODY, [NEW], (False, False)),
    ]


def test_the_python_snippet_verifies():
    """The page's Python accepts genuine calls under any accepted secret, and refuses everything else."""
    names = {}
    exec(compile(block("snippet: python"), "webhooks.md", "exec"), names)
    for headers, body, secrets, expected in calls():
        found = names["hub_is_genuine"](headers, body, secrets), names["envelope_is_genuine"](headers, body, secrets)
        assert found == expected


DRIVER = """
const answers = JSON.parse(require("node:fs").readFileSync(0, "utf8")).map(([headers, body, secrets]) => {
  const bytes = Buffer.from(body);
  return [hubIsGenuine(headers, bytes, secrets), envelopeIsGenuine(headers, bytes, secrets)];
});
console.log(JSON.stringify(answers));
"""


def test_the_node_snippet_verifies(tmp_path, require_tool):
    """The page's JavaScript gives the same answers as its Python."""
    script = tmp_path / "verify.cjs"
    script.write_text(block("snippet: javascript") + DRIVER)
    cases = [({n.lower(): v for n, v in h.items()}, b.decode(), s) for h, b, s, _ in calls()]
    ended = subprocess.run(
        [require_tool("node"), str(script)],
        input=json.dumps(cases).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.stderr == b""
    assert [tuple(each) for each in json.loads(ended.stdout)] == [expected for *_, expected in calls()]


GO_DRIVER = """
package hooks

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestCalls(t *testing.T) {
	var calls []struct {
		Headers map[string]string
		Body    string
		Secrets []string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&calls); err != nil {
		t.Fatal(err)
	}
	answers := [][2]bool{}
	for _, call := range calls {
		headers, body := http.Header{}, []byte(call.Body)
		for name, value := range call.Headers {
			headers.Set(name, value)
		}
		hub := HubIsGenuine(headers, body, call.Secrets)
		answers = append(answers, [2]bool{hub, EnvelopeIsGenuine(headers, body, call.Secrets, 5*time.Minute)})
	}
	file, err := os.Create("answers.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := json.NewEncoder(file).Encode(answers); err != nil {
		t.Fatal(err)
	}
}
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_go_snippet_verifies(tmp_path):
    """The page's Go gives the same answers as its Python."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not on the PATH, and no other test needs it")
    (tmp_path / "go.mod").write_text("module example.org/hooks\n\ngo 1.21\n")
    (tmp_path / "hooks.go").write_text(block("snippet: go"))
    (tmp_path / "hooks_test.go").write_text(GO_DRIVER)
    cases = [{"headers": headers, "body": body.decode(), "secrets": secrets} for headers, body, secrets, _ in calls()]
    binary = tmp_path / "hooks.test"
    # Whatever the machine's own settings are: no download, and nothing linked with C.
    env = os.environ | {"GOFLAGS": "", "GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0"}
    for command, told in (([go, "test", "-c", "-o", str(binary), "."], None), ([str(binary)], json.dumps(cases))):
        ended = subprocess.run(
            command, cwd=tmp_path, env=env, input=told, capture_output=True, text=True, check=False, timeout=240
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "answers.json").read_text())
    assert [tuple(each) for each in found] == [expected for *_, expected in calls()]


def test_the_retry_table_is_the_schedule():
    """The pauses of the page's table are those that are kept."""
    units = {"s": 1, "min": 60, "h": 3600}
    rows = re.findall(r"^\| (?:[0-9]+|10 and on) \|[^|]*\| ([0-9]+) (s|min|h) \|$", PAGE, re.MULTILINE)
    assert [int(number) * units[unit] for number, unit in rows] == [*DELAYS, LONGEST_DELAY]


def test_the_listed_delivery_has_the_fields_of_one():
    """What the page shows of the diagnostics port is what is there."""
    (shown,) = json.loads(block("listed: deliveries"))["deliveries"]
    assert [each.name for each in attrs.fields(Delivery)] == list(shown)


@pytest.mark.parametrize("command", ["list", "show", "retry", "test", "purge"])
def test_every_command_is_on_the_page(command):
    """Each with the options that it has."""
    line = re.findall(rf"flaggateway deliveries {command} ([^\n#]*)", PAGE)[0]
    options = {name for each in deliveries.commands[command].params for name in each.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= options


def test_the_bounds_on_the_page_are_those_of_the_code():
    """An operator can rely on them."""
    assert f"from 1 to {MOST}, {LIMIT} if it is not given" in PAGE
    assert f"cut at {BODY_LIMIT // 1024} KiB" in PAGE
    assert f"over {CHANGE_LIMIT // 2**20} MiB" in PAGE
    assert f"within {READ_SECONDS:.0f} s" in PAGE
