"""The JSON Schema for editors."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from gateway.settings import json_schema


def test_valid_settings_match_the_schema():
    """The JSON Schema passes the uncommented sample and typical settings."""
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    good = """
        sdks: {a: {key: k, default_user_attributes: {n: 1, f: 1.5, s: x, l: [a]}, offline: {enabled: true}}}
        tls: {min_version: 1.3, certificates: [{cert: c, key: k}]}
        workers: auto
        webhooks: [{name: x, url: "http://x", headers: {A: [b], C: d}, users: [{Identifier: "1"}]}]
        exporter: {endpointUrl: x}
    """
    assert [] == list(validator.iter_errors(yaml.safe_load(good)))


@pytest.mark.parametrize(
    "text",
    [
        "http: {prt: 1}",
        "http: {port: 0}",
        "log: {level: x}",
        "sdks: {a: {data_governance: us}}",
        "http: [a]",
        "tls: {min_version: 1.4}",
    ],
)
def test_invalid_settings_do_not_match_the_schema(text):
    """The JSON Schema rejects unknown keys, numbers out of range and wrong values."""
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid(yaml.safe_load(text))
