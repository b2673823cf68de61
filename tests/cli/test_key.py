"""``flaggateway key``: the key that it makes is one that the gateway accepts by the hash beside it."""

import json

from click.testing import CliRunner

from gateway.cli import main
from gateway.text import hash_caller_key, read_key_hash


def test_a_key_and_its_hash():
    """Two lines; each call makes another key of 256 random bits."""
    made = set()
    for _ in range(2):
        result = CliRunner().invoke(main, ["key"])
        assert 0 == result.exit_code
        lines = dict(line.split(": ") for line in result.output.splitlines())
        assert hash_caller_key(lines["key"].encode()) == lines["hash"]
        assert 32 == len(read_key_hash(lines["hash"]))
        assert (True, 47) == (lines["key"].startswith("fgk_"), len(lines["key"]))
        made.add(lines["key"])
    assert 2 == len(made)


def test_as_json():
    shown = json.loads(CliRunner().invoke(main, ["key", "--json"]).output)
    assert hash_caller_key(shown["key"].encode()) == shown["hash"]
