"""Config JSON v6, evaluated: the heart of the gateway, and pure.

    upstream bytes ──► load() ──► Snapshot ──► evaluate(_all) ──► Result, Evaluation
                                     └──► difference(old, new) ──► ChangeSet

Everything here is a function of its arguments: no clock, no sockets, no chance.
"""

from __future__ import annotations

from gateway.flags.all_flags import PERSONAL_ATTRIBUTES, Evaluation
from gateway.flags.difference import ChangeSet, difference, unmoved
from gateway.flags.encoding import encode_value
from gateway.flags.errors import ConfigError, InvalidAttribute
from gateway.flags.explain import explain
from gateway.flags.explanation import Explanation
from gateway.flags.fingerprint import number_of, text_of
from gateway.flags.flag import Flag
from gateway.flags.lint import faults
from gateway.flags.result import Result
from gateway.flags.snapshot import Snapshot, load
from gateway.flags.user import Attribute, User, attributes_from_json, effective_user

__all__ = (
    "PERSONAL_ATTRIBUTES",
    "Attribute",
    "ChangeSet",
    "ConfigError",
    "Evaluation",
    "Explanation",
    "Flag",
    "InvalidAttribute",
    "Result",
    "Snapshot",
    "User",
    "attributes_from_json",
    "difference",
    "effective_user",
    "encode_value",
    "explain",
    "faults",
    "load",
    "number_of",
    "text_of",
    "unmoved",
)
