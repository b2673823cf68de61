"""Changes, endpoints, integer ids that count up, and the schemas of messages."""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from gateway.flags import difference, load
from gateway.settings import Endpoint
from gateway.webhooks.formats import Author, Change, Feature, compose

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
AT = 1583589547.04  # 2020-03-07T13:59:07.040Z
FIRST_SEEN = 1582668676.355547  # 2020-02-25T22:11:16.355547Z
JANE = Author(email="jane@example.org", first_name="Jane", last_name="Doe")
META = {"hostname": "server01"}

FORMATS = ("envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord")


def boolean(value, *rules, **more):
    """A boolean flag."""
    return {"t": 0, "v": {"b": value}, "i": f"v-{value}".lower(), **({"r": list(rules)} if rules else {}), **more}


def textual(value, *rules, **more):
    """A flag of texts."""
    return {"t": 1, "v": {"s": value}, "i": f"v-{value}", **({"r": list(rules)} if rules else {}), **more}


def rule(value, *conditions, field="b"):
    """A targeting rule that serves one value."""
    return {"c": list(conditions), "s": {"v": {field: value}, "i": f"r-{value}".lower()}}


def in_segment(index, *, negated=False):
    """The condition that a user is, or is not, in a segment."""
    return {"s": {"s": index, "c": int(negated)}}


def is_one_of(*names, attribute="Identifier", comparator=0):
    """The condition that an attribute is one of some texts in clear."""
    return {"u": {"a": attribute, "c": comparator, "l": list(names)}}


def segment(name, country):
    """A segment of the users of one country."""
    return {"n": name, "r": [is_one_of(country, attribute="Country")["u"]]}


def config(flags, segments=(), salt="salt", **preferences):
    """A config JSON."""
    return {"p": {"u": "https://cdn", "r": 0, "s": salt, **preferences}, "s": list(segments), "f": flags}


def change_of(old, new, *, author=JANE, notes="", count=1, sdk="shop", at=AT, etags=('"1"', '"2"')):
    """The change between two configs."""
    before = load(json.dumps(old).encode(), etags[0])
    after = load(json.dumps(new).encode(), etags[1], before)
    return Change(sdk, before, after, difference(before, after), author, notes, at, count)


class CountedIds:
    """Integers in the order of asking, from 1 for each kind; flags were first seen at ``FIRST_SEEN``."""

    def __init__(self, initial=None, project=(12, "Shop", 7)):
        """``initial`` holds the first default values by key."""
        self.initial = initial or {}
        self._project = project
        self._known = {}

    def environment(self, sdk_id):
        """See ``IntegerIds``."""
        return self._number("environment", sdk_id)

    def project(self):
        """See ``IntegerIds``."""
        return self._project

    def feature(self, sdk_id, key):
        """See ``IntegerIds``."""
        return Feature(self._number("feature", sdk_id, key), FIRST_SEEN, self.initial.get(key))

    def state(self, sdk_id, key, target):
        """See ``IntegerIds``."""
        return self._number("state", sdk_id, key, target)

    def segment(self, sdk_id, name):
        """See ``IntegerIds``."""
        return self._number("segment", sdk_id, name)

    def _number(self, kind, *name):
        numbers = self._known.setdefault(kind, {})
        return numbers.setdefault(name, len(numbers) + 1)


def endpoint(style, **options):
    """An endpoint of a format."""
    return Endpoint(**{"name": style, "url": "https://example.org/hook", "format": style, **options})


def messages_about(change, style, ids=None, defaults=None, **options):
    """The messages of a change in one format."""
    return list(compose(change, endpoint(style, **options), ids or CountedIds(), META, defaults).messages)


def bodies(messages):
    """The decoded bodies."""
    return [json.loads(message.body) for message in messages]


def check(style, body):
    """Raise unless ``body`` has the form that the shipped schema describes."""
    _validator(style).validate(body)


@cache
def _validator(style):
    schema = json.loads((SCHEMAS / f"{style}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def shape(value):
    """The names of all members, nested, so that two bodies can be compared field by field; a leaf is None."""
    return {name: shape(item) for name, item in value.items()} if isinstance(value, dict) else None
