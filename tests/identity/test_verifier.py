"""Which tokens are accepted, which are refused, and why."""

import json
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from gateway.identity import Identity, IdentityError, InvalidToken, IssuerKeys, UnknownKey, open_verifier
from gateway.identity.verifier import CACHE_LIMIT, TOKEN_BYTES, Verifier
from gateway.settings import Identity as Settings
from gateway.settings import IdentityKey
from tokens import SECRET, ec_key, ed_key, key_set, public_pem, raw, rsa_key, sign, weak_rsa_pem

NOW = 1_800_000_000.0
GOOD = {"sub": "zoe", "exp": NOW + 100}
URL = "https://id.example.com/jwks.json"
RSA, EC, ED = rsa_key(), ec_key(), ed_key()


def hs256(**options: Any) -> IdentityKey:
    return IdentityKey(**{"alg": "HS256", "secret": SECRET, **options})


def verifier(*keys: IdentityKey, issuers: IssuerKeys | None = None, **options: Any) -> Verifier:
    made_of = Settings(keys=list(keys) or [hs256()], **{"leeway": 0, **options})
    made = open_verifier(made_of, issuers or IssuerKeys())
    assert made is not None
    return made


FIXED = verifier(claims={"sub": "Identifier", "email": "Email"}, open_attributes=["Theme"])


def refusal(checked: Verifier, token: bytes, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as refused:
        checked.verify(token, now)
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "alg", "setting"),
    [
        (SECRET, "HS256", hs256()),
        (SECRET, "HS384", hs256(alg="HS384")),
        (SECRET, "HS512", hs256(alg="HS512")),
        (RSA, "RS256", IdentityKey(alg="RS256", public_key=public_pem(RSA))),
        (EC, "ES256", IdentityKey(alg="ES256", public_key=public_pem(EC))),
        (ED, "Ed25519", IdentityKey(alg="EdDSA", public_key=public_pem(ED))),
    ],
    ids=["HS256", "HS384", "HS512", "RS256", "ES256", "Ed25519"],
)
def test_each_algorithm(key, alg, setting):
    assert verifier(setting).verify(sign(GOOD, key, alg), NOW) == Identity({"Identifier": "zoe"}, NOW + 100)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_eddsa_by_its_old_name():
    """RFC 8037 names the algorithm EdDSA, RFC 9864 after its curve; issuers use the first."""
    setting = IdentityKey(alg="EdDSA", public_key=public_pem(ED))
    assert verifier(setting).verify(sign(GOOD, ED, "EdDSA"), NOW).attributes == {"Identifier": "zoe"}


def test_alg_none():
    checked = verifier()
    for name in ("none", "None", "NONE", "nOnE"):
        assert refusal(checked, raw({"alg": name}, GOOD)) == "the token is not signed with a key of this gateway"
        assert refusal(checked, raw({"alg": name}, GOOD, SECRET.encode())).startswith("the token is not signed")
    assert refusal(checked, raw({"alg": "HS256"}, GOOD)) == "the signature of the token is not valid"
    assert refusal(checked, raw({}, GOOD)) == "the token is not a signed JWT"


def test_key_confusion():
    """The text of a public key, which everybody has, is not the secret of an HMAC; nor is a secret a public key."""
    public = public_pem(RSA)
    checked = verifier(IdentityKey(alg="RS256", public_key=public), hs256(kid="mac"))
    for secret in (public, public.strip(), public + "\n"):
        assert (
            refusal(checked, raw({"alg": "HS256"}, GOOD, secret.encode())) == "the signature of the token is not valid"
        )
    assert refusal(checked, raw({"alg": "RS256", "kid": "mac"}, GOOD, SECRET.encode())).startswith("the signature")
    alone = verifier(IdentityKey(alg="RS256", public_key=public))
    assert refusal(alone, raw({"alg": "HS256"}, GOOD, public.encode())).startswith("the token is not signed with a key")


def test_a_key_is_used_with_its_own_algorithm_only():
    assert refusal(verifier(), sign(GOOD, alg="HS512")) == "the token is not signed with a key of this gateway"
    same_key = raw({"alg": "HS384"}, GOOD, SECRET.encode())
    assert refusal(verifier(), same_key) == "the token is not signed with a key of this gateway"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW}, "the token has expired"),
        ({"exp": NOW - 1000}, "the token has expired"),
        ({"exp": None}, "the token lacks a claim that is required: exp, or iss or aud"),
        ({"exp": "1900000000"}, "a claim of the token is not valid"),
        ({"exp": True}, "a claim of the token is not valid"),
        ({"exp": float("nan")}, "a claim of the token is not valid"),
        ({"exp": float("inf")}, "a claim of the token is not valid"),
        ({"nbf": NOW + 1}, "the token is not valid yet"),
        ({"iat": NOW + 1}, "the token is not valid yet"),
        ({"iss": "https://evil.example.com"}, "the token is from another issuer"),
        ({"iss": ["https://id.example.com"]}, "the token is from another issuer"),
        ({"iss": None}, "the token lacks a claim that is required: exp, or iss or aud"),
        ({"aud": "billing"}, "the token is for another audience"),
        ({"aud": ["billing", "mail"]}, "the token is for another audience"),
        ({"aud": {"flags": 1}}, "the token is for another audience"),
        ({"aud": None}, "the token lacks a claim that is required: exp, or iss or aud"),
        ({"sub": 7}, "a claim of the token is not valid"),
    ],
)
def test_claims_that_are_refused(claims, reason):
    checked = verifier(issuer="https://id.example.com", audience="flags")
    good = {**GOOD, "iss": "https://id.example.com", "aud": ["flags", "billing"], "nbf": NOW, "iat": NOW}
    assert checked.verify(sign(good), NOW).attributes == {"Identifier": "zoe"}
    changed = {name: value for name, value in (good | claims).items() if value is not None}
    assert refusal(checked, sign(changed)) == reason


def test_leeway():
    checked = verifier(leeway=60)
    assert checked.verify(sign({**GOOD, "exp": NOW - 59}), NOW).ends == NOW + 1
    assert refusal(checked, sign({**GOOD, "exp": NOW - 60})) == "the token has expired"
    assert checked.verify(sign({**GOOD, "nbf": NOW + 60, "iat": NOW + 60}), NOW)


def test_an_end_that_is_very_far_away():
    assert verifier(leeway=60).verify(sign({**GOOD, "exp": 10**400}), NOW).ends == 2.0**53 + 60


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR 1=1 --", "k1\x00", "http://evil.example.com/key", "", "K1", "k1 ", "/etc/passwd"],
)
def test_kid_injection(kid):
    """A key id is compared with those of the known keys, and never opened, requested or executed."""
    checked = verifier(hs256(kid="k1"))
    for secret in (b"", b"\0", b"k1"):
        assert "key" in refusal(checked, raw({"alg": "HS256", "kid": kid}, GOOD, secret)) or kid == ""
    assert refusal(checked, raw({"alg": "HS256", "kid": "k2"}, GOOD, SECRET.encode())).startswith("the token is not si")


@pytest.mark.parametrize("kid", [7, None, ["k1"], {"k1": 1}, True])
def test_a_kid_that_is_no_text(kid):
    token = raw({"alg": "HS256", "kid": kid}, GOOD, SECRET.encode())
    assert refusal(verifier(hs256(kid="k1")), token) == "the token is not a signed JWT"


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_keys_in_the_token_are_not_used(name):
    """RFC 8725, 3.10: a token must not bring its own key, or the address of one."""
    own = rsa_key()
    public = own.as_dict(private=False)
    value = {"jku": "https://evil.example.com", "x5u": "https://evil.example.com", "jwk": public, "x5c": ["MIIB"]}[name]
    token = sign(GOOD, own, "RS256", {name: value})
    assert refusal(verifier(IdentityKey(alg="RS256", public_key=public_pem(RSA))), token).startswith("the ")


def test_extensions_that_must_be_understood():
    secret = SECRET.encode()
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": True}, {"b64": False, "crit": ["b64"]}):
        assert refusal(verifier(), raw({"alg": "HS256", **header}, GOOD, secret)) == "the token is not a signed JWT"


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"..",
        b"a.b.c",
        b"a.b",
        b"a.b.c.d.e",
        b"\xff\xfe.\x00.\x00",
        "é.ü.ß".encode(),
        raw([], GOOD, b"x"),
        raw("HS256", GOOD, b"x"),
        raw({"alg": ["HS256"]}, GOOD, b"x"),
        raw(b"[" * 5000, GOOD, b"x"),
        raw(b'{"alg":' * 300, GOOD, b"x"),
        raw({"alg": "HS256"}, [GOOD], SECRET.encode()),
        raw({"alg": "HS256"}, b"\xff", SECRET.encode()),
        raw({"alg": "HS256"}, b"[" * 5000, SECRET.encode()),
        raw({"alg": "HS256"}, b'{"exp":' + b"9" * 5000 + b"}", SECRET.encode()),
    ],
)
def test_what_is_not_a_token(token):
    assert refusal(verifier(), token) in {"the token is not a signed JWT", "the signature of the token is not valid"}


def test_a_huge_token_is_refused_before_it_is_read():
    huge = sign({**GOOD, "x": "y" * 2 * TOKEN_BYTES})
    assert refusal(verifier(), huge) == "the token is longer than 8192 bytes"
    assert refusal(verifier(), b"a" * 100_000_000) == "the token is longer than 8192 bytes"
    long = sign({**GOOD, "x": "y" * (TOKEN_BYTES // 2)})
    assert verifier().verify(long, NOW).attributes == {"Identifier": "zoe"}


def test_no_text_of_a_token_is_in_a_refusal():
    """Refusals are shown to clients and may be logged; the user of a token is private."""
    checked = verifier(issuer="https://id.example.com")
    for header in ({"alg": "private"}, {"alg": "HS256", "kid": "private"}, {"alg": "HS256", "private": 1}):
        for claims in ({"iss": "private"}, {"sub": ["private"], "iss": "https://id.example.com"}, {"exp": "private"}):
            assert "private" not in refusal(checked, raw(header, {**GOOD, **claims}, SECRET.encode()))


def test_claims_become_attributes():
    claims = {
        "sub": "Identifier",
        "email": "Email",
        "age": "Age",
        "groups": "Groups",
        "vip": "Vip",
        "address": "Address",
    }
    token = sign(
        {**GOOD, "email": "zoe@example.com", "age": 7, "groups": ["a", 1, "b"], "vip": True, "address": {"x": 1}}
    )
    assert verifier(claims=claims).verify(token, NOW).attributes == {
        "Identifier": "zoe",
        "Email": "zoe@example.com",
        "Age": 7.0,
        "Groups": ("a", "b"),
        "Vip": "true",
    }


def test_attributes_beside_the_token():
    token = sign({**GOOD, "country": "France"})
    sent = {"Identifier": "root", "Country": "Spain", "Theme": "dark", "Email": "root@example.com"}
    closed = verifier(claims={"sub": "Identifier", "country": "Country"}).verify(token, NOW)
    assert closed.attributes_with(sent) == closed.attributes_with(None) == {"Identifier": "zoe", "Country": "France"}
    opened = verifier(claims={"sub": "Identifier", "country": "Country"}, open_attributes=["Theme", "Country"])
    expected = {"Identifier": "zoe", "Country": "France", "Theme": "dark"}
    assert opened.verify(token, NOW).attributes_with(sent) == expected


def test_several_keys_and_rotation():
    """Old and new key are both accepted while both are configured, by key id or without one."""
    old, new = "old-" * 10, "new-" * 10
    both = verifier(hs256(kid="old", secret=old), hs256(kid="new", secret=new), hs256())
    for secret, kid in ((old, "old"), (new, "new"), (old, None), (new, None), (SECRET, "any"), (SECRET, None)):
        header = {"alg": "HS256"} if kid is None else {"alg": "HS256", "kid": kid}
        assert both.verify(raw(header, GOOD, secret.encode()), NOW).attributes == {"Identifier": "zoe"}
    assert refusal(both, raw({"alg": "HS256", "kid": "new"}, GOOD, old.encode())).startswith("the signature")
    after = verifier(hs256(kid="new", secret=new))
    assert refusal(after, raw({"alg": "HS256", "kid": "old"}, GOOD, old.encode())).startswith("the token is not signed")


def test_a_key_set():
    issuers = IssuerKeys()
    checked = verifier(IdentityKey(jwks_url=URL), issuers=issuers)
    token = sign(GOOD, RSA, "RS256", {"kid": "one"})
    assert checked.incomplete
    with pytest.raises(UnknownKey):
        checked.verify(token, NOW)
    issuers.use(URL, key_set(one=RSA, two=EC, three=ED))
    assert not checked.incomplete
    for key, alg, kid in ((RSA, "RS256", "one"), (EC, "ES256", "two"), (ED, "Ed25519", "three"), (EC, "ES256", None)):
        header = {} if kid is None else {"kid": kid}
        assert checked.verify(sign(GOOD, key, alg, header), NOW).attributes == {"Identifier": "zoe"}
    with pytest.raises(UnknownKey):
        checked.verify(sign(GOOD, rsa_key(), "RS256", {"kid": "four"}), NOW)
    assert refusal(checked, sign(GOOD, rsa_key(), "RS256", {"kid": "one"})) == "the signature of the token is not valid"


def test_a_new_key_set_ends_what_was_verified_with_the_old_one():
    issuers = IssuerKeys()
    checked = verifier(IdentityKey(jwks_url=URL), issuers=issuers)
    issuers.use(URL, key_set(one=RSA))
    token = sign(GOOD, RSA, "RS256", {"kid": "one"})
    assert checked.verify(token, NOW) is checked.verify(token, NOW)
    issuers.use(URL, key_set(two=EC))
    with pytest.raises(UnknownKey):
        checked.verify(token, NOW)


@pytest.mark.filterwarnings("ignore:Key size")
def test_keys_of_a_set_that_are_not_used():
    """A set may contain keys for other purposes; secrets in it would be public."""
    private = {**RSA.as_dict(private=True), "kid": "private"}
    rest = [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXM", "alg": "HS256", "kid": "mac"},
        {**RSA.as_dict(private=False), "use": "enc", "kid": "enc"},
        {**EC.as_dict(private=False), "key_ops": ["deriveKey"], "kid": "ops"},
        {**RSA.as_dict(private=False), "alg": "RS512", "kid": "rs512"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "no key"},
        {**RSAKey.import_key(weak_rsa_pem()).as_dict(), "kid": "weak"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
        {"kty": "new", "kid": "new"},
        "text",
        None,
    ]
    issuers = IssuerKeys()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        issuers.use(URL, json.dumps({"keys": [*rest, private]}).encode())
    found = issuers.keys(URL, None)
    assert found is not None
    assert [key.kid for key in found] == ["private"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AA"}]}', b"[" * 100_000, b"\xff"],
)
def test_a_body_that_is_no_key_set_changes_nothing(body):
    issuers = IssuerKeys()
    issuers.use(URL, key_set(one=RSA))
    with pytest.raises(ValueError, match=r"key set|Key Set"):
        issuers.use(URL, body)
    assert (issuers.version, len(issuers.keys(URL, None) or ())) == (1, 1)


def test_the_algorithm_of_a_key_set_can_be_fixed():
    issuers = IssuerKeys()
    issuers.use(URL, key_set(one=RSA, two=EC))
    checked = verifier(IdentityKey(jwks_url=URL, alg="ES256"), issuers=issuers)
    assert checked.verify(sign(GOOD, EC, "ES256", {"kid": "two"}), NOW)
    with pytest.raises(UnknownKey):
        checked.verify(sign(GOOD, RSA, "RS256", {"kid": "one"}), NOW)


def test_a_kept_result_ends_with_its_token():
    checked = verifier()
    token = sign(GOOD)
    assert checked.verify(token, NOW) is checked.verify(token, NOW + 99.9)
    assert refusal(checked, token, NOW + 100) == "the token has expired"


def test_the_number_of_kept_results_is_bounded(monkeypatch):
    monkeypatch.setattr("gateway.identity.verifier.CACHE_LIMIT", 10)
    checked = verifier()
    first = sign({**GOOD, "sub": "first"})
    kept = checked.verify(first, NOW)
    for number in range(10):
        checked.verify(sign({**GOOD, "sub": str(number)}), NOW)
    assert checked.verify(first, NOW) is not kept
    assert CACHE_LIMIT == 10_000


@settings(max_examples=100)
@given(st.one_of(st.binary(max_size=300), st.text(".-_abcXYZ019=", max_size=300).map(str.encode)))
def test_no_bytes_do_more_than_be_refused(token):
    assert refusal(FIXED, token) in {"the token is not a signed JWT", "the signature of the token is not valid"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "jwk", "x5c", "cty", "zip", "epk", "p2c"])
CLAIMS = st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "email"])


@settings(max_examples=60)
@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(CLAIMS, JSON, max_size=5), st.booleans())
def test_whatever_is_signed_gives_an_identity_or_a_refusal(header, claims, usual):
    """An issuer may sign anything; no value of a header or a claim causes another error."""
    token = raw({**header, **({"alg": "HS256"} if usual else {})}, claims, SECRET.encode())
    try:
        identity = FIXED.verify(token, NOW)
    except InvalidToken:
        return
    assert NOW < identity.ends
    assert set(identity.attributes) <= {"Identifier", "Email"}
    assert isinstance(identity.attributes_with({"Theme": "dark"}), dict)


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
def test_private_keys_are_not_for_the_gateway(key):
    """Its holder can sign tokens; an operator who gives it to the gateway has mixed up two files."""
    alg = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[key.key_type]
    private = key.as_pem(private=True).decode()
    with pytest.raises(IdentityError, match=r"identity.keys\[0\]: a private key, which the issuer alone should have"):
        verifier(IdentityKey(alg=alg, public_key=private))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (IdentityKey(alg="RS256", public_key="-----BEGIN PUBLIC KEY-----"), "not a public key of RS256 in PEM"),
        (IdentityKey(alg="RS256", public_key=public_pem(EC)), "not a public key of RS256 in PEM"),
        (IdentityKey(alg="ES256", public_key=public_pem(ec_key("P-384"))), "not a key of ES256"),
        (IdentityKey(alg="RS256", public_key=weak_rsa_pem()), "an RSA key of less than 2048 bits"),
    ],
)
def test_keys_of_another_kind(setting, reason):
    with pytest.raises(IdentityError, match=f"identity.keys.0.: {reason}"):
        verifier(setting)


def test_200_identities():
    """Each token gives its own user, in whatever order tokens come and however often."""
    checked = verifier()
    tokens = {str(number): sign({**GOOD, "sub": str(number)}) for number in range(200)}
    for _ in range(2):
        for name, token in tokens.items():
            assert checked.verify(token, NOW).attributes == {"Identifier": name}
