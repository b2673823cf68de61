"""Typical mistakes in settings: each message shows a stranger where it is and what to do."""

from __future__ import annotations

import pytest

from gateway.settings import load

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
ONE = f"sdks:\n  shop:\n    key: {KEY}\n"
TAB = "the line is indented with a tab, YAML allows only spaces"
REGEX = "http: {api: {cors: {allowed_origins_regex: {patterns: ['(a'], if_no_match: 'https://x'}}}}"
# Each row: what is wrong, the file, the environment, and parts of the message.
MISTAKES = [
    ("a tab", "sdks:\n\tshop:\n\t\tkey: x\n", {}, ["line 2, column 1", TAB]),
    ("a tab further down", f"{ONE}http:\n\tport: 8050\n", {}, ["line 5, column 1", TAB]),
    ("a tab after spaces", "sdks:\n  shop:\n  \tkey: x\n", {}, ["line 3, column 3", TAB]),
    ("indented too far", f"{ONE}http:\n  port: 1\n   bind: ::1\n", {}, ["line 6", "the line is indented too far"]),
    ("indented too little", f"{ONE}http:\n    port: 1\n  bind: ::1\n", {}, ["line 6", "not indented like those"]),
    ("key as id", f"sdks: {{{KEY}: {{key: shop}}}}", {}, ["this SDK id is an SDK key", "SDK ids as keys"]),
    ("port as text", f"{ONE}http: {{port: eighty}}", {}, ["http.port (line 4", "'eighty'", "a whole number from 1"]),
    ("port 0", f"{ONE}http: {{port: 0}}", {}, ["http.port (line 4", "invalid port 0", "from 1 to 65535"]),
    ("a list for text", f"{ONE}http: {{bind: [127.0.0.1]}}", {}, ["http.bind (line 4", "found a list; allowed: text"]),
    ("text for a list", f"{ONE}http: {{trusted_proxies: 10.1.2.3}}", {}, ["http.trusted_proxies", "a list of text"]),
    ("text for a list in JSON", ONE, {"CONFIGCAT_HTTP_TRUSTED_PROXIES": "10.0.0.0/8"}, ['such as ["a","b"]']),
    ("a near name", f"{ONE}http: {{ports: 1}}", {}, ["http.ports (line 4", "did you mean http.port?"]),
    ("the wrong level", f"{ONE}port: 1", {}, ["unknown option 'port'", "did you mean http.port?"]),
    ("a section at the wrong level", f"{ONE}api: {{enabled: true}}", {}, ["did you mean http.api?"]),
    ("a key twice", f"{ONE}http: {{}}\nhttp: {{}}\n", {}, ["line 5", "the key already exists in line 4"]),
    ("no file", f"{ONE}upstream: {{ca_file: /nowhere.pem}}", {}, ["upstream.ca_file", "couldn't find the file /nowh"]),
    ("no folder", f"{ONE}exporter: {{kind: file, path: /nowhere/x}}", {}, ["exporter.path", "/nowhere does not exist"]),
    ("a bad pattern", ONE + REGEX, {}, ["patterns[0] (line 4", "not a regular expression: missing )", "'(a'"]),
    ("a bad network", f"{ONE}http: {{trusted_proxies: [10.0.0.0/99]}}", {}, ["'10.0.0.0/99'", "such as 192.0.2.0/24"]),
    (
        "no scheme",
        f"sdks: {{a: {{key: {KEY}, base_url: x.example}}}}",
        {},
        ["sdks.a.base_url", "http://… or https://…"],
    ),
    ("a negative interval", f"sdks: {{a: {{key: {KEY}, poll_interval: -5}}}}", {}, ["below 0, so that 60 seconds"]),
    ("a negative number", f"{ONE}http: {{sse: {{heart_beat_interval: -5}}}}", {}, ["'-5'", "at least 0"]),
    ("a line break", ONE, {"CONFIGCAT_SHOP_WEBHOOK_SIGNING_KEY": "s\n"}, ["SIGNING_KEY: the value has white space"]),
    ("an empty header", f"{ONE}diag: {{auth_headers: {{X: ''}}}}", {}, ["diag.auth_headers.X (line 4", "empty"]),
    ("broken JSON", "", {"CONFIGCAT_SDKS": "{shop: x}"}, ["CONFIGCAT_SDKS", "column 2", '{"my-sdk":"<SDK key>"}']),
    ("an unknown SDK", ONE, {"CONFIGCAT_SHOPS_KEY": "x"}, ["CONFIGCAT_SHOPS_KEY", "did you mean CONFIGCAT_SHOP_KEY?"]),
    ("no certificate", f"{ONE}tls: {{enabled: true}}", {}, ["without a certificate", "cert: <file>, key: <file>"]),
    ("no URL", f"{ONE}webhooks: [{{name: ops}}]", {}, ["webhooks[0].url (line 4", "an endpoint needs a URL"]),
    ("one port twice", f"{ONE}http: {{port: 8051}}", {}, ["diag.port", "the same port as http.port", "another port"]),
    ("no SDK", "", {}, ["at least 1 SDK must be configured", "CONFIGCAT_SDKS"]),
    ("no space after a colon", f"{ONE}http:\n  port:80\n", {}, ["http (line 5", "a colon and a space after it"]),
    ("an open quote", f'{ONE}log:\n  level: "info\n', {}, ["a quote is not closed"]),
    ("an open bracket", f"{ONE}http: {{port: 80\nlog: {{}}\n", {}, ["line 5", "bracket"]),
    ("an at sign", f"{ONE}diag: {{auth_headers: {{X: @a}}}}", {}, ["line 4", "needs quotes"]),
    ("an address that begins with a colon", f"{ONE}http: {{bind: ::1}}", {}, ["line 4, column 14", "needs quotes"]),
    ("an id to escape", f"sdks: {{'my shop': {{key: {KEY}}}}}", {}, ["must escape this SDK id in URLs"]),
    ("an id of dots", f"sdks: {{..: {{key: {KEY}}}}}", {}, ["must escape this SDK id in URLs"]),
]


@pytest.mark.parametrize(("text", "environ", "parts"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_the_message_shows_the_mistake(text: str, environ: dict[str, str], parts: list[str]) -> None:
    """One problem or warning contains all parts."""
    loaded = load(text, environ, exists=lambda path: not path.startswith("/nowhere"))
    messages = [str(found) for found in (*loaded.problems, *loaded.warnings)]
    (message,) = messages
    assert [] == [part for part in parts if part not in message], message
