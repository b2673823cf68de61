"""The wire format of all streams.

Format: WHATWG HTML, section "Server-sent events".
Payloads are JSON without line feeds, so one ``data:`` line is enough.

Every block, which an empty line ends, contains ``data``: a browser ignores other blocks, but several libraries
(``httpx-sse``, ``@microsoft/fetch-event-source``) pass them on as empty events. ``retry`` and ``id`` therefore stand
in a block with data, and comments have no empty line after them.
"""

import re

import msgspec

DELETED_FLAG = b'{"value":null,"variationId":""}'  # payload of a stream in plain mode whose flag is deleted
# Comments: EventSource ignores them, proxies in between see traffic.
HEARTBEAT = b":\n"
WAITING = b": waiting for the first config\n"

# ``<config tag>.<digest>``. Other versions of the gateway may have tags of another length: no config here has them.
EVENT_ID = re.compile(r"([0-9a-f]{1,64})\.([0-9a-f]{16})")


def event(tag: str, digest: str, payload: bytes, name: bytes = b"") -> bytes:
    """Return an event with the id of a config ``tag`` and the ``digest`` of the client's values after the event.

    ``EventSource.onmessage`` receives events without a ``name``.
    """
    head = b"event: %b\n" % name if name else b""
    return b"%bid: %b.%b\ndata: %b\n\n" % (head, tag.encode(), digest.encode(), payload)


def recovered(tag: str, digest: str, payload: bytes = b"{}") -> bytes:
    """Return the event for a client whose values are current: it stores the id, and has nothing else to do.

    Its name keeps it from ``EventSource.onmessage``; an id without data would be no block with data.
    """
    return event(tag, digest, payload, b"recovered")


def refetch_payload(etag: str, modified: int) -> bytes:
    """Return the payload that makes an OFREP provider evaluate again; ``modified`` is in seconds since 1970."""
    return msgspec.json.encode({"type": "refetchEvaluation", "etag": etag, "lastModified": modified})


def parse_event_id(text: str) -> tuple[str, str]:
    """Return the config tag and the digest of an event id, both empty if the gateway cannot have made it."""
    found = EVENT_ID.fullmatch(text)
    return (found[1], found[2]) if found else ("", "")


def first_frame(milliseconds: int, frame: bytes) -> bytes:
    """Return what a stream begins with: the time that a browser waits before it reconnects, and ``frame``.

    Clients take the time from its line at once, also where ``frame`` is a comment only.
    """
    return b"retry: %d\n%b" % (milliseconds, frame)
