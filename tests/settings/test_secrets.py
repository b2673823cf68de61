"""White space and control characters in every option that holds a secret."""

from __future__ import annotations

import pytest

from gateway.settings import load, masked
from gateway.settings.fields import dotted, options

KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
SDKS = f'{{"shop": "{KEY}"}}'
# Per option a YAML text with the secret as %s.
SECRETS = {
    "sdks.shop.key": "sdks: {shop: {key: %s}}",
    "sdks.shop.webhook_signing_key": "sdks: {shop: {webhook_signing_key: %s}}",
    "http.webhook.auth.password": "http: {webhook: {auth: {user: u, password: %s}}}",
    "http.webhook.auth_headers.X": "http: {webhook: {auth_headers: {X: %s}}}",
    "http.api.auth_headers.X": "http: {api: {auth_headers: {X: %s}}, ofrep: {enabled: false}, "
    "sse: {enabled: false}, cdn_proxy: {enabled: false}}",
    "http.sse.url_secret": "http: {sse: {url_secret: %s}}",
    "diag.auth_headers.X": "diag: {auth_headers: {X: %s}}",
    "webhooks[0].secret": "webhooks: [{name: ops, url: 'https://x.example', secret: %s}]",
    "webhooks[0].secrets[0]": "webhooks: [{name: ops, url: 'https://x.example', secrets: [%s]}]",
    "webhooks[0].headers.X": "webhooks: [{name: ops, url: 'https://x.example', headers: {X: %s}}]",
    "exporter.secret": "exporter: {endpoint_url: 'https://x.example', secret: %s}",
    "exporter.headers.X": "exporter: {endpoint_url: 'https://x.example', headers: {X: %s}}",
}
VALUE = "SECRETSECRETSECRETSECR/SECRETSECRETSECRETSECR"


def read(option: str, value: str):
    """Return the result with ``value`` as double-quoted YAML."""
    environ = {} if option == "sdks.shop.key" else {"CONFIGCAT_SDKS": SDKS}
    return load(SECRETS[option] % f'"{value}"', environ)


@pytest.mark.parametrize("option", SECRETS)
@pytest.mark.parametrize("value", [f"{VALUE}\\n", f" {VALUE}", f"{VALUE}\\t\\r\\n"])
def test_white_space_around_a_secret_is_ignored_with_a_warning(option: str, value: str) -> None:
    """It comes from a file or variable that ends with a line break; the secret itself is not shown."""
    loaded, plain = read(option, value), read(option, VALUE)
    assert () == loaded.problems
    (warning,) = loaded.warnings
    assert (option, "the value has white space around it, which is ignored") == (warning.path, warning.text)
    assert plain.settings == loaded.settings
    assert VALUE not in f"{warning}{masked(loaded.settings)}"


@pytest.mark.parametrize("option", SECRETS)
@pytest.mark.parametrize("value", [f"{VALUE}\\n{VALUE}", f"{VALUE}\\0", f"a\\x7f{VALUE}", "\\n", "  "])
def test_a_secret_that_cannot_be_used_is_refused(option: str, value: str) -> None:
    """One problem names the option and not the secret; a signing key of white space would protect nothing."""
    found = [problem for problem in read(option, value).problems if "SDK key is required" not in problem.text]
    (problem,) = found
    assert option == problem.path
    assert VALUE not in str(problem)


def test_bytes_in_a_variable_that_are_not_utf8_are_refused() -> None:
    """Python keeps them as lone surrogates, which no header can carry."""
    environ = {"CONFIGCAT_SDKS": SDKS, "CONFIGCAT_SHOP_WEBHOOK_SIGNING_KEY": "a\udcff"}
    (problem,) = load(None, environ).problems
    assert "CONFIGCAT_SHOP_WEBHOOK_SIGNING_KEY" == problem.variable


@pytest.mark.parametrize("option", ["webhooks[0].secret", "webhooks[0].secrets[0]", "exporter.secret"])
def test_the_version_before_a_secret_is_refused(option: str) -> None:
    """Some services show the secret as ``v1,whsec_…``."""
    (problem,) = read(option, f"v1,whsec_{VALUE}").problems
    assert (option, "begins with 'v1,', which is not a part of the secret") == (problem.path, problem.text)


def test_every_secret_of_the_schema_is_tried() -> None:
    """An option that is added as a secret is covered by the reader; this list follows."""
    tried = {name.replace("[0]", "").replace("shop", "<id>").removesuffix(".X") for name in SECRETS}
    secret = {dotted(option.path) for option in options() if option.info.hidden in {"key", "all"}}
    of_webhooks = {"webhooks.secret", "webhooks.secrets", "webhooks.headers"}  # options() does not enter lists
    unsupported = {name for name in secret if name.startswith(("cache.", "profile."))}
    elsewhere = {"http.ofrep.auth_headers", "diag.users"}  # a password hash has rules of its own: rules/test_access.py
    assert secret - unsupported - elsewhere == tried - of_webhooks
