"""``POST /api/v1/explain``: why a user has a value, and where two users or two moments part."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gateway import flags
from gateway.console.schema import Compared, ExplainAnswer, ExplainBody, Explained
from gateway.flags import InvalidAttribute, attributes_from_json, effective_user, first_difference
from gateway.slices import in_turns
from gateway.telemetry import RequestError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gateway.console.facade import Facade
    from gateway.flags import Explanation, Snapshot, User
    from gateway.upstream import Sdk


async def explained(facade: Facade, body: ExplainBody) -> ExplainAnswer:
    """Return the explanations; a few per turn of the reactor.

    :raises RequestError: for an unknown SDK or flag, an invalid user, a moment that is not kept
    """
    if (body.key is None) == (body.keys is None):
        raise RequestError(400, "give either key or keys")
    keys = body.keys if body.keys is not None else [body.key or ""]
    sdk = find_sdk(facade, body.sdk)
    user = read_user(body.user, sdk)
    snapshot = await find_snapshot(facade, sdk, body.at)
    first = await in_turns(facade.clock, _explanations(snapshot, keys, user))
    shown = [_shown(each) for each in first]
    if body.compare is None:
        return ExplainAnswer(sdk.id, snapshot.tag, shown, None, [])
    other_user = user if body.compare.user is None else read_user(body.compare.user, sdk)
    moment = body.at if body.compare.at is None else body.compare.at
    other = snapshot if moment == body.at else await find_snapshot(facade, sdk, moment)
    second = await in_turns(facade.clock, _explanations(other, keys, other_user))
    compared = [Compared(_shown(b), first_difference(a, b)) for a, b in zip(first, second, strict=True)]
    return ExplainAnswer(sdk.id, snapshot.tag, shown, other.tag, compared)


def find_sdk(facade: Facade, sdk_id: str) -> Sdk:
    """Return an SDK of the settings.

    :raises RequestError: with 404 for an unknown one
    """
    sdk = facade.registry.by_id(sdk_id)
    if sdk is None:
        raise RequestError(404, f"the settings have no SDK {sdk_id[:100]!r}")
    return sdk


def read_user(attributes: dict[str, Any] | None, sdk: Sdk) -> User | None:
    """Return the user that a request describes, with the default attributes of the SDK.

    :raises RequestError: with 400 for an invalid attribute
    """
    try:
        return effective_user(None if attributes is None else attributes_from_json(attributes), sdk.defaults)
    except InvalidAttribute as error:
        raise RequestError(400, str(error)) from None


async def find_snapshot(facade: Facade, sdk: Sdk, at: str | None) -> Snapshot:
    """Return the live config, or the one that was in use ``at`` a time or after a change.

    :raises RequestError: with 503 before the first config, with 400 for a moment that is not kept
    """
    if at is not None:
        return await facade.config_at(sdk.id, at)
    if sdk.snapshot is None:
        raise RequestError(503, f"SDK {sdk.id} has no config yet")
    return sdk.snapshot


def _explanations(
    snapshot: Snapshot, keys: Sequence[str], user: User | None
) -> Generator[None, None, list[Explanation]]:
    found = []
    for key in keys:
        try:
            found.append(flags.explain(snapshot, key, user))
        except KeyError:
            near = get_close_matches(key[:200], snapshot.keys, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise RequestError(404, f"the config has no flag {key[:200]!r}{meant}") from None
        yield
    return found


def _shown(explanation: Explanation) -> Explained:
    return Explained(
        explanation.key,
        explanation.value,
        explanation.variation_id,
        explanation.decided_by,
        explanation.error,
        explanation.text(),
        explanation,
    )
