"""One readable message per change, for Slack, Teams and Discord."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.webhooks.formats import Author
from gateway.webhooks.formats.chat import DISCORD_LIMIT, SLACK_LIMIT, TEAMS_LIMIT
from gateway.webhooks.formats.summary import VALUE_LIMIT, one_line, summarize
from outbound_scene import boolean, change_of, check, config, in_segment, messages_about, rule, segment, textual

CHATS = ("slack", "teams", "discord")


def said(change, style):
    """The one message of a change as the service would show it, without its markup."""
    (message,) = messages_about(change, style)
    body = json.loads(message.body)
    check(style, body)
    if style == "slack":
        return body["text"]
    if style == "discord":
        return body["content"]
    blocks = body["attachments"][0]["content"]["body"]
    return "\n".join("".join(run["text"] for run in block["inlines"]) for block in blocks)


def plain(change):
    return ["".join(span.text for span in line) for line in summarize(change)]


def test_a_message_has_old_and_new_values_and_the_author():
    """Each service's message has the SDK, the author, the notes, each flag with old and new value."""
    old = config({"colour": textual("red"), "gone": boolean(True)})
    new = config({"colour": textual("blue"), "come": boolean(False)})
    change = change_of(old, new, notes="summer sale")
    assert said(change, "slack").splitlines() == [
        "Feature flags of *shop* changed by *Jane Doe*",
        "Notes: summer sale",
        "Updated `colour`: `red` → `blue`",
        "Created `come`: `false`",
        "Deleted `gone`, it was `true`",
    ]
    assert said(change, "discord").splitlines() == [
        "Feature flags of **shop** changed by **Jane Doe**",
        "Notes: summer sale",
        "Updated `colour`: `red` → `blue`",
        "Created `come`: `false`",
        "Deleted `gone`, it was `true`",
    ]
    assert said(change, "teams").splitlines() == plain(change)


def test_an_unknown_author_is_shown_as_unknown():
    """No author is made up."""
    change = change_of(config({}), config({"a": boolean(True)}), author=None)
    assert plain(change)[0] == "Feature flags of shop changed (author unknown)"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (boolean(False), boolean(False, rule(True, in_segment(0))), "Updated f: rule 1 none → true"),
        (boolean(False, rule(True, in_segment(0))), boolean(False), "Updated f: rule 1 true → none"),
        (
            boolean(False, rule(True, in_segment(0))),
            boolean(True, rule(False, in_segment(0))),
            "Updated f: false → true; rule 1 true → false",
        ),
        (
            boolean(False, rule(True, in_segment(0))),
            boolean(False, rule(True, in_segment(0, negated=True))),
            "Updated f: conditions of rule 1 changed, it serves true",
        ),
        (
            boolean(False),
            boolean(False, p=[{"p": 30, "v": {"b": True}}, {"p": 70, "v": {"b": False}}]),
            "Updated f: percentage options none → true 30 %, false 70 %",
        ),
        (
            boolean(False),
            boolean(False, *[rule(True, in_segment(0))] * 5),
            "Updated f: rule 1 none → true; rule 2 none → true; rule 3 none → true; 2 more rules",
        ),
        (boolean(False), boolean(False, a="Email"), "Updated f: still false, its definition changed"),
    ],
)
def test_what_changed_in_a_flag(old, new, line):
    """Default, rules and percentage options are shown with the old and the new value."""
    home = [segment("home", "DE")]
    assert plain(change_of(config({"f": old}, home), config({"f": new}, home)))[1:] == [line]


def test_segments_salt_and_preferences():
    """A segment's update has a line of its own and one for the flag that uses it; salt and preferences have a line."""
    flag = boolean(False, rule(True, in_segment(0)))
    old, new = config({"f": flag}, [segment("home", "DE")]), config({"f": flag}, [segment("home", "FR")])
    assert plain(change_of(old, new))[1:] == [
        "Updated f: still false, a segment that it uses changed",
        "Segment home updated",
    ]
    assert plain(change_of(config({}), config({}, salt="x")))[1:] == ["The salt changed"]
    assert plain(change_of(config({}), config({}, r=1)))[1:] == ["The preferences changed"]


HOSTILE = "<!channel> <@U1> *x* _y_ ~z~ `c` & @everyone [a](https://evil) # > | \\"


def test_slack_markup_is_no_markup():
    """Names, values and notes cannot mention a user, add a link or end the code around them."""
    author = Author(first_name=HOSTILE)
    change = change_of(
        config({HOSTILE: textual("a")}), config({HOSTILE: textual(HOSTILE)}), author=author, notes=HOSTILE
    )
    shown = said(change, "slack")
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown)
    first, notes, flag = shown.splitlines()
    assert first.count("*") - first.count("\u2060*\u2060") == 4
    assert not re.search(r"(?<!\u2060)[*_~`]", notes)
    assert flag.count("`") == 6


def test_discord_markup_is_no_markup():
    """Marks are escaped, code cannot be left, and no mention is resolved."""
    author = Author(first_name=HOSTILE)
    change = change_of(
        config({HOSTILE: textual("a")}), config({HOSTILE: textual(HOSTILE)}), author=author, notes=HOSTILE
    )
    (message,) = messages_about(change, "discord")
    body = json.loads(message.body)
    assert body["allowed_mentions"] == {"parse": []}
    _, notes, flag = body["content"].splitlines()
    assert not re.search(r"(?<!\\)[*_~`<>\[\]()|#@]", notes.removeprefix("Notes: ").replace("\\\\", ""))
    assert flag.count("`") == 6


def test_teams_shows_texts_as_they_are():
    """Text runs have no markup, so nothing is escaped."""
    change = change_of(config({}), config({HOSTILE: boolean(True)}))
    assert said(change, "teams").splitlines()[1] == f"Created {HOSTILE}: true"


@pytest.mark.parametrize(("style", "limit"), [("slack", SLACK_LIMIT), ("discord", DISCORD_LIMIT), ("teams", 28 * 1024)])
def test_a_long_message_ends_with_how_much_is_missing(style, limit):
    """Thousands of flags make one message of bounded length with the number of lines left out."""
    flags = {f"<flag>-{number}-{'*' * 60}": textual("😀" * 100) for number in range(2000)}
    change = change_of(config({}), config(flags))
    shown = said(change, style)
    size = {"slack": len(shown), "discord": len(shown.encode("utf-16-le")) // 2, "teams": 0}[style]
    (message,) = messages_about(change, style)
    assert size <= limit
    assert len(message.body) <= 4 * limit
    assert style != "teams" or len(message.body) <= limit
    lines = shown.splitlines()
    missing = re.fullmatch(r"… and ([0-9]+) more", lines[-1])
    assert int(missing[1]) + len(lines) - 2 == 2000
    assert TEAMS_LIMIT < 28 * 1024


@settings(max_examples=40)
@given(key=st.text(min_size=1, max_size=30), value=st.text(max_size=300), name=st.text(max_size=50), notes=st.text())
def test_any_text_keeps_to_its_line(key, value, name, notes):
    """With any text, each message has one line per thing and fits its service."""
    try:
        json.dumps([key, value]).encode()
        change = change_of(
            config({key: textual("")}), config({key: textual(value + "!")}), author=Author(first_name=name), notes=notes
        )
    except UnicodeEncodeError:
        return
    expected = 2 + bool(one_line(notes, 500)) if notes.strip() else 2
    for style in CHATS:
        assert len(said(change, style).split("\n")) in {expected, expected + 1}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\n\tb", "a b"),
        ("x" * VALUE_LIMIT, "x" * VALUE_LIMIT),
        ("x" * (VALUE_LIMIT + 1), "x" * (VALUE_LIMIT - 1) + "…"),
        ("x" + " " * 10000, "x…"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("", ""),
    ],
)
def test_texts_on_one_line(text, shown):
    """Line breaks become blanks, misleading characters are removed, and truncated text ends in an ellipsis."""
    assert one_line(text, VALUE_LIMIT) == shown
