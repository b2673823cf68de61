"""Config JSON v6: compilation, evaluation, difference and explanation; pure.

    upstream bytes ──► load() ──► Snapshot ──► evaluate(_all) ──► Result, Evaluation
                                     └──► difference(old, new) ──► ConfigDiff

Results depend on the arguments alone: no clock, no sockets, no random numbers.
"""

from gateway.flags.all_flags import PERSONAL_ATTRIBUTES, Evaluation
from gateway.flags.coercion import number_text
from gateway.flags.comparison import Difference, first_difference
from gateway.flags.config_json import ConfigError, with_flag_in_steps
from gateway.flags.difference import ConfigDiff, difference, difference_in_steps, unchanged_test
from gateway.flags.encoding import encode_value
from gateway.flags.explain import explain
from gateway.flags.explanation import Explanation
from gateway.flags.flag import Flag
from gateway.flags.lint import find_failing_flags, find_failing_flags_in_steps
from gateway.flags.reached_users import reach
from gateway.flags.result import Result, fingerprint_of, fingerprint_text
from gateway.flags.snapshot import Snapshot, load, load_in_steps, replaced_flags_in_steps
from gateway.flags.steps import finish, pieces
from gateway.flags.user import Attribute, InvalidAttribute, User, attributes_from_json, effective_user
from gateway.flags.words import ConditionWords, rule_conditions

__all__ = (
    "PERSONAL_ATTRIBUTES",
    "Attribute",
    "ConditionWords",
    "ConfigDiff",
    "ConfigError",
    "Difference",
    "Evaluation",
    "Explanation",
    "Flag",
    "InvalidAttribute",
    "Result",
    "Snapshot",
    "User",
    "attributes_from_json",
    "difference",
    "difference_in_steps",
    "effective_user",
    "encode_value",
    "explain",
    "find_failing_flags",
    "find_failing_flags_in_steps",
    "fingerprint_of",
    "fingerprint_text",
    "finish",
    "first_difference",
    "load",
    "load_in_steps",
    "number_text",
    "pieces",
    "reach",
    "replaced_flags_in_steps",
    "rule_conditions",
    "unchanged_test",
    "with_flag_in_steps",
)
