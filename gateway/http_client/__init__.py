"""All outgoing HTTP: connections, trust, proxies, address checks, bounded bodies, signed posts.

    upstream ──► HttpAgent.send ──► response ──► read_body (bounded) ──► body, or classify(exception)
    webhooks, export ──► Sender.send ──► HttpAgent.send ──► Attempt

Each caller has agents of its own; they share no connection.
"""

from gateway.http_client.agent import ENCODING_HEADER, USER_AGENT, HttpAgent, Limits, Reactor
from gateway.http_client.attempt import Attempt
from gateway.http_client.bounded_body import Inflater, read_body
from gateway.http_client.errors import NetworkError, classify
from gateway.http_client.post import MakeSender, Route, Sender, make_sender
from gateway.http_client.proxies import ProxyRules
from gateway.http_client.signing import extra_headers, headers_for
from gateway.http_client.trust import Trust, TrustError, load_trust
from gateway.http_client.wire_url import wire_form

__all__ = (
    "ENCODING_HEADER",
    "USER_AGENT",
    "Attempt",
    "HttpAgent",
    "Inflater",
    "Limits",
    "MakeSender",
    "NetworkError",
    "ProxyRules",
    "Reactor",
    "Route",
    "Sender",
    "Trust",
    "TrustError",
    "classify",
    "extra_headers",
    "headers_for",
    "load_trust",
    "make_sender",
    "read_body",
    "wire_form",
)
