"""Finding the SDK and the user that a call names, and waiting for an SDK's first fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import InvalidAttribute, attributes_from_json
from gateway.slices import evaluate_in_slices
from gateway.web.answers.go_json import InvalidJson
from gateway.web.values import Reply, StreamReply, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.flags import Attribute, Snapshot, User
    from gateway.web.context import Context
    from gateway.web.ports import Sdk
    from gateway.web.values import AnyReply, EventualReply

SDK_UNKNOWN_TEXT = "could not identify a configured SDK"
SDK_NOT_LOADED_TEXT = "requested SDK is in an invalid state; please check the logs for more details"

SDK_UNKNOWN = text(404, SDK_UNKNOWN_TEXT)
SDK_NOT_LOADED = text(500, SDK_NOT_LOADED_TEXT)
REQUEST_FAILED = text(500, "the request failed; please check the logs for more details")

SDK_KEY = b"x-configcat-sdkkey"
SDK_ID = b"x-configcat-sdkid"


def with_snapshot(sdk: Sdk, answer: Callable[[Snapshot], EventualReply], not_loaded: AnyReply) -> EventualReply:
    """Return ``answer(snapshot)``, at once when the SDK has a config, else when its first fetch has ended.

    ``not_loaded`` is the reply when there is no config even then.
    """
    if sdk.snapshot is not None:
        return answer(sdk.snapshot)
    return _when_loaded(sdk, answer, not_loaded) if sdk.loading else not_loaded


async def _when_loaded(sdk: Sdk, answer: Callable[[Snapshot], EventualReply], not_loaded: AnyReply) -> AnyReply:
    await sdk.when_loaded()
    if sdk.snapshot is None:
        return not_loaded
    outcome = answer(sdk.snapshot)
    return outcome if isinstance(outcome, (Reply, StreamReply)) else await outcome


async def when_evaluated(
    context: Context, snapshot: Snapshot, user: User | None, answer: Callable[[], EventualReply]
) -> AnyReply:
    """Return ``answer()`` once all flags of a large config are evaluated for ``user``, which is done in slices."""
    await evaluate_in_slices(context.clock, snapshot.evaluate_all_in_steps(user))
    outcome = answer()
    return outcome if isinstance(outcome, (Reply, StreamReply)) else await outcome


def read_attributes(value: object) -> dict[str, Attribute]:
    """Return the attributes of a ``user`` or ``context`` that is present; ``null`` has none.

    :raises InvalidJson: for an attribute of a type that is not allowed.
    """
    if value is None:
        return {}
    try:
        return attributes_from_json(value)
    except InvalidAttribute as error:
        raise InvalidJson(str(error)) from None


def header_text(value: bytes) -> str:
    """Return an SDK key or id from its header."""
    return value.decode("utf-8", "replace")
