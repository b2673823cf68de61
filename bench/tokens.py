"""What signed users cost: verifications by algorithm, and a whole answer with and without a token.

    python -m bench.tokens

One process, one core; nothing is sent.  Each figure is the best of five rounds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from gateway.identity import IssuerKeys, open_verifier
from gateway.settings import Identity, IdentityKey
from gateway.web.values import Call
from tokens import SECRET, ec_key, ed_key, key_set, now, rsa_key, sign
from web_memory import MemorySite

ROUNDS = 5
URL = "https://id.example.com/jwks.json"
CONFIG = {"f": {"who": {"t": 1, "v": {"s": "nobody"}, "i": "v0"}}}


def microseconds(work, count: int) -> float:
    """Return the time of one call of ``work``, which gets its number."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for number in range(count):
            work(number)
        best = min(best, time.perf_counter() - began)
    return best / count * 1e6


def verification(name: str, key, alg: str, settings: Identity, issuers: IssuerKeys) -> None:
    """Print the cost of a token that is new, and of one that is known."""
    at = now()
    tokens = [sign({"sub": str(number), "exp": at + 900}, key, alg, {"kid": name}) for number in range(200 * ROUNDS)]
    verifier = open_verifier(settings, issuers)
    unused = iter(tokens)
    fresh = microseconds(lambda _: verifier.verify(next(unused), at), 200)
    known = microseconds(lambda _: verifier.verify(tokens[0], at), 20_000)
    print(f"{name}: new {fresh:.0f} µs, known {known:.1f} µs")


def answer(users: str) -> None:
    """Print the cost of one answer, from the parsed request to the reply; the token is known."""
    body = json.dumps({"key": "who", "user": {"Identifier": "zoe"}}).encode()
    identity = {"keys": [{"alg": "HS256", "secret": SECRET}]}
    site = MemorySite(CONFIG, {"http": {"api": {"users": users}}, "identity": identity})
    token = sign({"sub": "zoe", "exp": site.clock.seconds() + 900})
    headers = {b"authorization": [b"Bearer " + token]}
    call = Call("POST", "/api/sdk1/eval", {"sdkId": "sdk1"}, headers=headers, body=body)
    bound = next(each for each in site.site.routes.dispatcher.routes if each.route.pattern == "/api/{sdkId}/eval")
    print(f"evaluate one, {users}: {microseconds(lambda _: bound.answer(call), 20_000):.1f} µs")


def main() -> None:
    """Print all figures."""
    rsa, ec, ed = rsa_key(), ec_key(), ed_key()
    issuers = IssuerKeys()
    issuers.use(URL, key_set(RS256=rsa, ES256=ec, EdDSA=ed))
    settings = Identity(keys=[IdentityKey(kid="HS256", alg="HS256", secret=SECRET), IdentityKey(jwks_url=URL)])
    for name, key, alg in (("HS256", SECRET, "HS256"), ("RS256", rsa, "RS256"), ("ES256", ec, "ES256")):
        verification(name, key, alg, settings, issuers)
    verification("EdDSA", ed, "Ed25519", settings, issuers)
    answer("open")
    answer("signed")


if __name__ == "__main__":
    main()
