"""All flags for one user at once: the same as flag by flag, whatever is shared, remembered or carried over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import Snapshot, User, all_flags, batch, fingerprint_of, fingerprint_text, load
from gateway.flags.all_flags import CACHE_ENTRIES, PERSONAL_ATTRIBUTES

COUNTRIES = ("DE", "FR", "JP")
EVERYBODY = [
    None,
    User({}),
    User({"Country": "DE", "Account": 7.0}),
    *[User({"Identifier": f"u{n}", "Country": COUNTRIES[n % 3], "Account": f"a{n % 2}"}) for n in range(6)],
]


def rule(attribute: str, values: list[str], *, served: Any = True) -> dict[str, Any]:
    """A flag that serves something else to users with one of the values."""
    condition = {"u": {"a": attribute, "c": 0, "l": values}}
    return {"t": 0, "v": {"b": False}, "i": "off", "r": [{"c": [condition], "s": {"v": {"b": served}, "i": "on"}}]}


def share(percent: int, attribute: str = "Identifier", *, rest: int = 100) -> dict[str, Any]:
    """A percentage flag; its options may end before a hundred."""
    options = [{"p": percent, "v": {"b": True}, "i": "on"}, {"p": rest - percent, "v": {"b": False}, "i": "off"}]
    return {"t": 0, "v": {"b": False}, "i": "none", "p": options, "a": attribute}


def digests(comparator: int, user: str, key: str) -> dict[str, Any]:
    """A flag with one condition on the hashed identifier; negated where the comparator is odd."""
    digest = sha256(f"{user}salt{key}".encode()).hexdigest()
    operand = {"l": [digest, "0" * 64]} if comparator < 20 else {"s": digest}
    condition = {"u": {"a": "Identifier", "c": comparator, **operand}}
    return {"t": 0, "v": {"b": False}, "i": "off", "r": [{"c": [condition], "s": {"v": {"b": True}, "i": "on"}}]}


def constant(text: str) -> dict[str, Any]:
    """A flag that is the same for everybody."""
    return {"t": 1, "v": {"s": text}, "i": text}


def made(flags: dict[str, Any], previous: Snapshot | None = None, segments: Sequence[Any] = ()) -> Snapshot:
    """A config of these flags, and of segments that they may name."""
    return load(json.dumps({"p": {"s": "salt"}, "s": list(segments), "f": flags}).encode(), "", previous)


def member(segment: int, comparator: int) -> dict[str, Any]:
    """A flag that is on inside a segment, or outside where negated."""
    condition = {"s": {"s": segment, "c": comparator}}
    return {"t": 0, "v": {"b": False}, "i": "off", "r": [{"c": [condition], "s": {"v": {"b": True}, "i": "on"}}]}


def segment(*conditions: dict[str, Any]) -> dict[str, Any]:
    """A segment of all these conditions."""
    return {"n": "segment", "r": list(conditions)}


def check(snapshot: Snapshot, users: list[User | None]) -> None:
    """Compare every text and number with what the flags say one by one."""
    for user in users:
        expected = evaluate_each(snapshot, user)
        for remember in (False, True, True):
            evaluation = snapshot.evaluate_all(user, remember=remember)
            assert b"{%b}" % b",".join(result.entry for result in expected) == evaluation.json()
            assert sum(result.fingerprint for result in expected) % 2**64 == evaluation.fingerprint()
            assert b'{"flags":[%b]}' % b",".join(result.ofrep for result in expected) == evaluation.ofrep()
            assert sum(result.ofrep_fingerprint for result in expected) == evaluation.ofrep_fingerprint()
            assert set(expected) == set(evaluation.results())
            assert len(expected) == len(evaluation.results())


def attributes_of(snapshot: Snapshot) -> frozenset[str]:
    """The attributes that make a flag personal."""
    assert snapshot.partition is not None
    return snapshot.partition.personal_attributes


def cached(snapshot: Snapshot) -> int:
    """How many combinations of shared attributes are cached."""
    assert snapshot._all_flags is not None
    return len(snapshot._all_flags.cache)


KINDS = st.one_of(
    st.sampled_from("abc").map(constant),
    st.lists(st.sampled_from(COUNTRIES)).map(lambda values: rule("Country", values)),
    st.lists(st.sampled_from(["u1", "u2", "u3"])).map(lambda values: rule("Identifier", values)),
    st.integers(1, 99).map(share),
    st.integers(1, 50).map(lambda percent: share(percent, "Account", rest=60)),
    st.integers(1, 50).map(lambda percent: share(percent, "Identifier", rest=60)),
    st.tuples(
        st.sampled_from([16, 17, 20, 21]), st.sampled_from(["u1", "u4"]), st.sampled_from(["f1", "f2", "f3"])
    ).map(lambda parts: digests(*parts)),
    st.tuples(st.integers(0, 3), st.integers(0, 1)).map(lambda parts: member(*parts)),
    st.just(digests(16, "u1", "f1") | {"r": 7}),
    st.just(rule("Country", ["DE"], served="no boolean")),
    st.just(7),
)
SEGMENTS = st.sampled_from(
    [
        segment({"a": "Identifier", "c": 0, "l": ["u1", "u2"]}),
        segment({"a": "Identifier", "c": 0, "l": ["u2"]}, {"a": "Country", "c": 1, "l": ["FR"]}),
        segment({"a": "Country", "c": 0, "l": ["DE"]}, {"a": "Identifier", "c": 16, "l": 7}),
        segment({"a": "Identifier", "c": 99, "l": ["u1"]}),
        segment(),
        7,
    ]
)
CONFIGS = st.dictionaries(st.sampled_from([f"f{n}" for n in range(8)]), KINDS)


@settings(deadline=None)
@given(st.lists(st.tuples(CONFIGS, st.lists(SEGMENTS, max_size=3)), min_size=1, max_size=5))
def test_all_flags_at_once_are_the_flags_one_by_one(configs: list[tuple[dict[str, Any], list[Any]]]) -> None:
    """Through any edits, for users whose own outcomes are remembered from config to config."""
    snapshot = None
    for flags, segments in configs:
        snapshot = made(flags, snapshot, segments)
        check(snapshot, EVERYBODY)
        check(snapshot, EVERYBODY)


def asked(key: str, *, on: bool) -> dict[str, Any]:
    """A flag that is on where its prerequisite, and percentages of users, have it so."""
    condition = {"p": {"f": key, "c": 0, "v": {"b": on}}}
    options = [{"p": 50, "v": {"b": True}, "i": "half"}, {"p": 50, "v": {"b": False}, "i": "other"}]
    return {"t": 0, "v": {"b": False}, "i": "off", "r": [{"c": [condition], "p": options}]}


NAMES = [f"f{n}" for n in range(8)]
EDITS = st.tuples(
    st.dictionaries(
        st.sampled_from(NAMES),
        KINDS | st.builds(asked, st.sampled_from(NAMES), on=st.booleans()) | st.none(),  # None: the flag goes
        max_size=2,
    ),
    st.lists(SEGMENTS, max_size=2) | st.none(),  # None: they stay
    st.sampled_from(["salt", "salt", "pepper"]),
)
VISITS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(EVERYBODY), st.booleans()))


@settings(deadline=None)
@given(st.lists(st.tuples(EDITS, VISITS), min_size=1, max_size=6), st.booleans())
def test_what_is_carried_is_what_a_fresh_start_would_say(steps: list[Any], crowded: bool) -> None:
    """Whoever asks, in whatever order, of this config or of one before: as if nothing had ever been remembered."""
    with pytest.MonkeyPatch.context() as patch:
        if crowded:  # what is shared is forgotten all the time, and attributes become personal
            patch.setattr(all_flags, "CACHE_ENTRIES", (2, 3))
        flags: dict[str, Any] = {}
        segments: list[Any] = []
        loaded: list[tuple[Snapshot, Snapshot]] = []
        for (edits, others, salt), visits in steps:
            flags = {key: flag for key, flag in {**flags, **edits}.items() if flag is not None}
            segments = segments if others is None else others
            body = json.dumps({"p": {"s": salt}, "s": segments, "f": flags}).encode()
            loaded.append((load(body, "", loaded[-1][0] if loaded else None), load(body, "")))
            for back, user, remember in visits:
                carried, fresh = loaded[-min(back, len(loaded))]
                expected = evaluate_each(fresh, user)
                evaluation = carried.evaluate_all(user, remember=remember)
                assert b"{%b}" % b",".join(result.entry for result in expected) == evaluation.json()
                assert sum(result.fingerprint for result in expected) % 2**64 == evaluation.fingerprint()
                assert b'{"flags":[%b]}' % b",".join(result.ofrep for result in expected) == evaluation.ofrep()
                assert sum(result.ofrep_fingerprint for result in expected) == evaluation.ofrep_fingerprint()
                assert sorted(result.json for result in expected) == sorted(
                    result.json for result in evaluation.results()
                )


@pytest.mark.parametrize("comparator", [16, 17, 20, 21])
def test_hashed_conditions_in_one_loop_see_who_is_meant(comparator: int) -> None:
    """One flag per user it names, decided together: each is on for that user alone, or off where negated."""
    flags = {f"f{n}": digests(comparator, f"u{n}", f"f{n}") for n in range(4)}
    for n in range(4):
        shown = json.loads(made(flags).evaluate_all(User({"Identifier": f"u{n}"})).json())
        meant = {f"f{other}": (other == n) is (comparator % 2 == 0) for other in range(4)}
        assert meant == {key: value["value"] for key, value in shown.items()}
    nobody = json.loads(made(flags).evaluate_all(User({"Country": "DE"})).json())
    assert {False} == {value["value"] for value in nobody.values()}


def test_a_segment_is_looked_at_once_for_all_its_flags() -> None:
    """Inside, outside, and of whom nobody can say: each flag has its own outcome, negated ones the other."""
    flags = {"in": member(0, 0), "out": member(0, 1), "inside": member(0, 0), "other": member(1, 0)}
    staff = segment({"a": "Email", "c": 2, "l": ["@example.com"]})
    snapshot = made(flags, None, [staff, segment({"a": "Identifier", "c": 0, "l": ["u1"]})])
    for user, expected in (
        ({"Email": "a@example.com"}, [True, True, False, False]),
        ({"Email": "a@example.org"}, [False, False, True, False]),
        ({"Identifier": "u1"}, [False, False, False, True]),
    ):
        shown = json.loads(snapshot.evaluate_all(User(user)).json())
        assert expected == [shown[key]["value"] for key in ("in", "inside", "out", "other")]
    looked: list[User] = []
    group = snapshot.flags["in"].form.segment  # type: ignore[union-attr]
    whole = group.matches[0]
    object.__setattr__(group, "matches", (lambda user: (looked.append(user), whole(user))[1],))
    anna = User({"Email": "anna@example.com"})
    snapshot.evaluate_all(anna).json()
    assert [anna] == looked


def test_an_edit_decides_only_the_edited_flag_again() -> None:
    """What took a hash of a user is kept for the next config, but for the flag that changed and those that came."""
    user = User({"Identifier": "u1"})
    old = made({"a": share(10), "b": share(20), "c": share(30)})
    old.evaluate_all(user, remember=True)
    asked: list[str] = []
    new = made({"a": share(10), "aa": share(50), "b": share(99), "c": share(30)}, old)
    new.evaluate_all(None)
    assert new.partition is not None
    resolvers = new.partition._resolvers
    for place, flag in enumerate(new.partition.personal):

        def spy(who: User, key: str = flag.key, resolve: Any = flag.resolve) -> Any:
            asked.append(key)
            return resolve(who)

        resolvers[place] = spy
    new.evaluate_all(user, remember=True)
    assert ["aa", "b"] == asked
    new.evaluate_all(user, remember=True)
    assert ["aa", "b"] == asked


def test_a_change_of_shared_flags_leaves_what_is_remembered_in_place() -> None:
    """The order of personal flags keeps its token, so nothing is decided again."""
    old = made({"a": share(10), "b": constant("one")})
    old.evaluate_all(User({}))
    new = made({"a": share(10), "b": constant("two"), "c": rule("Country", ["DE"])}, old)
    new.evaluate_all(User({}))
    assert old.partition is not None
    assert new.partition is not None
    assert old.partition.token is new.partition.token


def test_an_attribute_that_hardly_two_users_share_becomes_personal() -> None:
    """Memory that finds nothing is not kept up: after one fill the widest attribute counts as each user's own."""
    snapshot = made({"a": rule("Account", ["n1"]), "b": rule("Country", ["DE"]), "c": constant("x")})
    users = [User({"Account": f"n{n}", "Country": COUNTRIES[n % 3]}) for n in range(CACHE_ENTRIES[1] + 50)]
    check(snapshot, users)  # type: ignore[arg-type]
    own = attributes_of(snapshot)
    # Each user was asked about four times in a row, so the memory paid; asked once each, it does not.
    assert own == PERSONAL_ATTRIBUTES
    fresh = made({"a": rule("Account", ["n1"]), "b": rule("Country", ["DE"]), "c": constant("x")})
    texts = [fresh.evaluate_all(user).json() for user in users]
    assert {"Account", *PERSONAL_ATTRIBUTES} == attributes_of(fresh)
    assert [snapshot.evaluate_all(user).json() for user in users] == texts
    check(fresh, users)  # type: ignore[arg-type]
    after = made({"d": constant("y")}, fresh)
    after.evaluate_all(None)
    assert attributes_of(fresh) == attributes_of(after)


@pytest.mark.parametrize("long", ["x" * 2_000, tuple("" for _ in range(100)), ("x" * 2_000,)])
def test_long_attributes_are_not_kept(long: Any) -> None:
    """Whoever sends large users fills no memory with them; they are shown what they should be all the same."""
    snapshot = made({"a": rule("Note", ["n1"]), "b": rule("Tags", ["t"]), "c": share(50)})
    users = [User({"Note": f"n{n}", "Tags": long, "Identifier": f"u{n}"}) for n in range(20)]
    check(snapshot, users)  # type: ignore[arg-type]
    assert 0 == cached(snapshot)
    check(snapshot, [User({"Note": "n1", "Tags": ("x", "y")})])
    assert 1 == cached(snapshot)


def test_fewer_sets_are_kept_of_long_texts() -> None:
    """What is remembered of a config with large values takes no more memory than of any other."""
    kept = {}
    for length in (10, 50_000):
        snapshot = made({"a": rule("Note", ["n1"]), "b": constant("x" * length)})
        for n in range(400):
            snapshot.evaluate_all(User({"Note": f"n{n % 200}"})).json()
            snapshot.evaluate_all(User({"Note": f"n{n % 200}"})).json()
        kept[length] = cached(snapshot)
    assert 200 == kept[10]
    assert kept[50_000] < 100


def test_a_flag_of_very_many_outcomes_is_decided_anew() -> None:
    """More outcomes than a byte counts: nothing is remembered, and nothing is wrong."""
    rules = [
        {"c": [{"u": {"a": "Identifier", "c": 28, "s": f"u{n}"}}], "s": {"v": {"s": f"v{n}"}, "i": f"{n}"}}
        for n in range(300)
    ]
    flags = {"many": {"t": 1, "v": {"s": "none"}, "i": "none", "r": rules}}
    check(made(flags), [User({"Identifier": f"u{n}"}) for n in range(300)])


def test_numbers_depend_on_the_item_alone() -> None:
    """Two nodes give one name to one view, in sixteen hexadecimal digits whatever the sum."""
    assert fingerprint_of(b"a") == fingerprint_of(bytes([97]))
    assert fingerprint_of(b"a") != fingerprint_of(b"b")
    assert "ca978112ca1bbdca" == fingerprint_text(fingerprint_of(b"a"))  # the beginning of SHA-256("a")
    assert "0000000000000001" == fingerprint_text(1 + (1 << 64))
    assert "ffffffffffffffff" == fingerprint_text(-1)


def depending(key: str, comparator: int, wanted: Any = True, *, served: Any = True) -> dict[str, Any]:
    """A flag that is on if another flag has a value; negated for comparator 1."""
    condition = {"p": {"f": key, "c": comparator, "v": {"b": wanted}}}
    return {"t": 0, "v": {"b": False}, "i": "off", "r": [{"c": [condition], "s": {"v": {"b": served}, "i": "on"}}]}


def test_flags_with_a_prerequisite_use_its_result() -> None:
    """Chains, negated conditions and failing prerequisites, in front of and behind their prerequisites by key."""
    flags = {
        "m1": digests(16, "u1", "m1"),
        "m2": rule("Identifier", ["u2"], served="not a boolean"),  # fails for u2
        "a": depending("m1", 0),
        "z": depending("a", 1),
        "b": depending("z", 0, wanted=False),
        "c": depending("m2", 0),
        "d": depending("m2", 0, wanted="not a boolean"),
        "e": depending("missing", 0),
        "f": depending("d", 1),
        "g": depending("m1", 0, served="not a boolean"),
        "x": share(50),
        "y": depending("x", 1),
    }
    snapshot = made(flags)
    check(snapshot, EVERYBODY)
    decided = {key: snapshot.evaluate(key, EVERYBODY[4]).value for key in "azby"}
    assert decided["a"] is not decided["z"]
    assert decided["z"] is not decided["b"]
    check(made({**flags, "m1": digests(17, "u1", "m1"), "x": share(30)}, snapshot), EVERYBODY)


def test_a_prerequisite_is_decided_once_for_all_flags_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation of all flags hashes an attribute once per hashed flag, however many flags depend on it."""
    hashed = []

    def counting(data: bytes) -> Any:
        hashed.append(data)
        return sha256(data)

    monkeypatch.setattr(batch, "sha256", counting)
    monkeypatch.setattr("gateway.flags.conditions.hashed.sha256", counting)
    depend = {f"d{number}": depending("secret", number % 2) for number in range(9)}
    made({"secret": digests(16, "u1", "secret"), **depend}).evaluate_all(EVERYBODY[4])
    assert 1 == len(hashed)
