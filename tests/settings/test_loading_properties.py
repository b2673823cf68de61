"""Laws: loading never raises, and never tells a secret."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Settings, load, masked
from gateway.settings.fields import Option, options

CANARY = "hunter2-canary"
OPTIONS = list(options())
SECRETS = [option for option in OPTIONS if option.hidden]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["warn", "1.2", "eu"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
# What a secret may be wrapped in, by a slip of typing or of thinking.
wrapped = st.recursive(
    st.just(CANARY),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["X-A", "b"]), inner, min_size=1, max_size=2)
        | inner.map(lambda value: [value, None, 7, True])
    ),
    max_leaves=3,
)


def placed(option: Option, value: object) -> dict[str, object]:
    tree: object = value
    for part in reversed(option.path):
        tree = {str(part).replace("<id>", "a"): tree}
    assert isinstance(tree, dict)
    return tree


def merged(trees: list[dict[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for tree in trees:
        for key, value in tree.items():
            old = made.get(key)
            made[key] = merged([old, value]) if isinstance(old, dict) and isinstance(value, dict) else value
    return made


@given(
    st.text() | st.text(alphabet="abc:{}[]-&*!|>'\"\n \t#%@,?<~0", max_size=60),
    st.dictionaries(
        st.sampled_from([name.replace("<ID>", "A") for option in OPTIONS for name in option.names]),
        st.text(),
        max_size=4,
    ),
)
def test_no_text_makes_loading_raise(text, environ):
    """Any text and any values of variables give an outcome: settings or problems, never both."""
    loaded = load(text, environ)
    assert (loaded.settings is None) == bool(loaded.problems)


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), values), max_size=5))
def test_no_values_make_loading_raise(pairs):
    """Any value at any option gives an outcome, and settings have the types of the schema."""
    text = json.dumps(merged([placed(option, value) for option, value in pairs]))
    loaded = load(text, {"CONFIGCAT_SDKS": '{"a":"k"}'})
    assert (loaded.settings is None) == bool(loaded.problems)
    if loaded.settings is not None:
        assert isinstance(loaded.settings, Settings)
        json.dumps(masked(loaded.settings))
    assert all(str(problem).isprintable() for problem in (*loaded.problems, *loaded.warnings))


@given(
    st.lists(st.tuples(st.sampled_from(SECRETS), wrapped), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["", "\n  ]", "\nx: *y"]),
)
def test_no_problem_tells_a_secret_of_the_file(pairs, block, ruin):
    """Whatever shape a secret is written in, and however broken the file, no message holds it."""
    tree = merged([placed(option, value) for option, value in pairs])
    text = yaml.safe_dump(tree, default_flow_style=not block) + ruin
    loaded = load(text, {})
    assert CANARY not in repr((loaded.problems, loaded.warnings))
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))


@given(
    st.sampled_from(SECRETS),
    st.sampled_from(
        [
            CANARY,
            f"*{CANARY}",
            f"!{CANARY} x",
            f"{{{CANARY}",
            f'"{CANARY}',
            f"[{CANARY}, {CANARY}",
            f"%{CANARY}",
            f"@{CANARY}",
            f"&{CANARY} x",
            f"| {CANARY}",
            f"{CANARY}: {CANARY}",
        ]
    ),
)
def test_an_unquoted_secret_is_not_told(option, written):
    """A secret with a character that YAML takes for its own breaks the file and stays secret."""
    names = [str(part).replace("<id>", "a") for part in option.path]
    text = "\n".join("  " * depth + name + ":" for depth, name in enumerate(names))
    loaded = load(text + " " + written + "\n", {})
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))


@given(st.sampled_from(SECRETS), wrapped | st.just(CANARY), st.sampled_from(["", "}", ","]))
def test_no_problem_tells_a_secret_of_the_environment(option, value, ruin):
    """Whatever a variable of a secret holds, no message does."""
    environ = {
        name.replace("<ID>", "A"): (value if isinstance(value, str) else json.dumps(value)) + ruin
        for name in option.names
    }
    loaded = load("sdks: {a: {}}", environ)
    assert CANARY not in " ".join(str(problem) for problem in (*loaded.problems, *loaded.warnings))
