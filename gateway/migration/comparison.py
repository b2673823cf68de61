"""The values of a user at a neighbour and at this gateway, and how they differ.

A protocol gives the HTTP call that evaluates all flags for a user, and reads the values in its answer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

User = Mapping[str, Any]
Values = dict[str, object]
ABSENT: Final = "(absent)"


class NotComparable(ValueError):
    """An answer that is not one of the protocol."""


@attrs.frozen
class Call:
    """One HTTP request; ``path`` follows the base URL."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@attrs.frozen
class Protocol:
    """How one kind of gateway evaluates all flags of a user."""

    call: Callable[[User, str], Call]  # of a user and an SDK id
    values: Callable[[object], Values]  # of the decoded answer; raises ``NotComparable``


@attrs.frozen
class Difference:
    """One flag with different values, or with a value on one side only (``ABSENT`` on the other)."""

    flag: str
    old: object
    new: object


def _json(path: str, content: object, **headers: str) -> Call:
    body = json.dumps(content, ensure_ascii=False).encode()
    return Call("POST", path, {"Content-Type": "application/json", **headers}, body)


def _proxy_call(user: User, sdk: str) -> Call:
    return _json(f"/api/{quote(sdk, safe='')}/eval-all", {"user": user})


def _proxy_values(answer: object) -> Values:
    if not isinstance(answer, dict) or not all(isinstance(each, dict) and "value" in each for each in answer.values()):
        raise NotComparable("not a mapping of flags to values")
    return {key: each["value"] for key, each in answer.items()}


def _ofrep_call(user: User, sdk: str) -> Call:
    context = dict(user)
    if "Identifier" in context:
        context["targetingKey"] = context.pop("Identifier")
    headers = {"X-ConfigCat-SdkId": sdk} if sdk else {}
    return _json("/ofrep/v1/evaluate/flags", {"context": context}, **headers)


def _ofrep_values(answer: object) -> Values:
    flags = answer.get("flags") if isinstance(answer, dict) else None
    if not isinstance(flags, list) or not all(isinstance(flag, dict) for flag in flags):
        raise NotComparable("not a bulk answer of OFREP")
    return {str(flag["key"]): flag.get("value") for flag in flags if "key" in flag}


def _unleash_call(user: User, sdk: str) -> Call:
    del sdk  # the token, which is a header, belongs to an environment
    pairs = [("userId", user["Identifier"])] if "Identifier" in user else []
    pairs += [(f"properties[{name}]", value) for name, value in user.items() if name != "Identifier"]
    return Call("GET", f"/api/frontend?{urlencode(pairs)}", {"Accept": "application/json"})


def _unleash_values(answer: object) -> Values:
    toggles = answer.get("toggles") if isinstance(answer, dict) else None
    if not isinstance(toggles, list):
        raise NotComparable("not an answer of /api/frontend")
    return {str(toggle["name"]): _unleash_value(toggle) for toggle in toggles}


def _unleash_value(toggle: Mapping[str, Any]) -> object:
    variant = toggle.get("variant") or {}
    payload = variant.get("payload") if variant.get("enabled") else None
    if not payload:
        return bool(toggle.get("enabled"))
    if payload.get("type") == "number":
        return float(payload["value"])
    return payload.get("value")


def _launchdarkly_call(user: User, sdk: str) -> Call:
    del sdk  # the SDK key, which is a header, belongs to an environment
    attributes = {name: value for name, value in user.items() if name != "Identifier"}
    context = {"kind": "user", "key": user.get("Identifier", ""), **attributes}
    encoded = base64.urlsafe_b64encode(json.dumps(context).encode()).decode()
    return Call("GET", f"/sdk/evalx/contexts/{encoded}", {"Accept": "application/json"})


PROTOCOLS: Final[dict[str, Protocol]] = {
    "configcat-proxy": Protocol(_proxy_call, _proxy_values),
    "ofrep": Protocol(_ofrep_call, _ofrep_values),
    "unleash-edge": Protocol(_unleash_call, _unleash_values),
    "ld-relay": Protocol(_launchdarkly_call, _proxy_values),
}


def differences(old: Values, new: Values) -> list[Difference]:
    """Return the flags that differ, sorted by key.

    A flag without a value on one side (it fails, or does not exist) is equal to one without a value on the other.
    ``3`` and ``3.0`` are equal, ``1`` and ``true`` are not.
    """
    found = []
    for flag in sorted(old.keys() | new.keys()):
        before, after = old.get(flag), new.get(flag)
        if not _equal(before, after):
            found.append(Difference(flag, ABSENT if before is None else before, ABSENT if after is None else after))
    return found


def _equal(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right
