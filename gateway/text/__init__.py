"""Functions of text that every room may use: timestamps, amounts, hosts, codings, JSON, printable text, hashes, masks.

A leaf of the import graph: pure, and without imports of other rooms.
"""

from gateway.text.accept_encoding import WantedCodings, read_accept_encoding
from gateway.text.caller_key import (
    KEY_BYTES,
    UnknownKeyHash,
    hash_caller_key,
    make_caller_key,
    read_key_hash,
)
from gateway.text.counts import amount
from gateway.text.host import is_host
from gateway.text.json_encoding import canonical_json, json_digest, json_string, without_bom
from gateway.text.password_hash import (
    PASSWORD_BYTES,
    SALT_BYTES,
    PasswordHash,
    UnknownHash,
    hash_password,
    read_password_hash,
)
from gateway.text.printable import printable, replace_unprintable
from gateway.text.problem_text import ProblemText, log_command
from gateway.text.redact import redact
from gateway.text.timestamps import iso, milliseconds

__all__ = (
    "KEY_BYTES",
    "PASSWORD_BYTES",
    "SALT_BYTES",
    "PasswordHash",
    "ProblemText",
    "UnknownHash",
    "UnknownKeyHash",
    "WantedCodings",
    "amount",
    "canonical_json",
    "hash_caller_key",
    "hash_password",
    "is_host",
    "iso",
    "json_digest",
    "json_string",
    "log_command",
    "make_caller_key",
    "milliseconds",
    "printable",
    "read_accept_encoding",
    "read_key_hash",
    "read_password_hash",
    "redact",
    "replace_unprintable",
    "without_bom",
)
