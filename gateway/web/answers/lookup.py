"""From what a call says to the SDK and user it means, and waiting for an SDK's first fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.flags import InvalidAttribute, attributes_from_json, effective_user
from gateway.web.answers.go_json import Unreadable
from gateway.web.values import text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.flags import Attribute, Snapshot, User
    from gateway.web.ports import Sdk
    from gateway.web.values import Answered, Outcome

SDK_UNKNOWN_TEXT = "could not identify a configured SDK"
SDK_NOT_LOADED_TEXT = "requested SDK is in an invalid state; please check the logs for more details"
REQUEST_FAILED_TEXT = "the request failed; please check the logs for more details"

SDK_UNKNOWN = text(404, SDK_UNKNOWN_TEXT)
SDK_NOT_LOADED = text(500, SDK_NOT_LOADED_TEXT)
REQUEST_FAILED = text(500, REQUEST_FAILED_TEXT)

SDK_KEY = b"x-configcat-sdkkey"
SDK_ID = b"x-configcat-sdkid"


def loaded(sdk: Sdk, go: Callable[[Snapshot], Answered], invalid: Answered) -> Outcome:
    """Return ``go(snapshot)``, at once when the SDK has a config, else after its first fetch has ended.

    ``invalid`` is the answer when there is none even then.
    """
    if sdk.snapshot is not None:
        return go(sdk.snapshot)
    if sdk.loading:
        return _after_loading(sdk, go, invalid)
    return invalid


def attributes(value: object) -> dict[str, Attribute]:
    """Return the attributes of a ``user`` or ``context`` that is present: ``null`` is an empty one.

    :raises Unreadable: for an attribute of a type that is not allowed.
    """
    if value is None:
        return {}
    try:
        return attributes_from_json(value)
    except InvalidAttribute as error:
        raise Unreadable(str(error)) from None


def user_of(sdk: Sdk, request: Mapping[str, Attribute] | None) -> User | None:
    """Return the user to evaluate for: the request's attributes over the SDK's defaults."""
    return effective_user(request, sdk.defaults)


def key_text(header: bytes) -> str:
    """Return an SDK key or id as it came in a header."""
    return header.decode("utf-8", "replace")


def _after_loading(sdk: Sdk, go: Callable[[Snapshot], Answered], invalid: Answered) -> Awaitable[Answered]:
    async def wait() -> Answered:
        await sdk.when_loaded()
        return go(sdk.snapshot) if sdk.snapshot is not None else invalid

    return wait()
