"""Log lines in text and JSON: levels per component, no secrets, no forged lines, no exceptions."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from gateway.settings import Sdk, Settings
from gateway.telemetry import LogLevels, dropped_line, log_observer
from gateway.telemetry.log_levels import component

AT = 1685378200.1234
TOO_SLOW = "the reader of the log, or its disk, was too slow"
KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"


class Lines(list):
    """The lines that were written."""

    write = list.append

    def __str__(self):
        return "".join(line + "\n" for line in self)


def logged(form="text", lowest="debug", namespace="http", text="hello", overrides=None, **fields):
    """Log one event through a real Logger and return what was written."""
    lines = Lines()
    observer = log_observer(form, LogLevels(lowest, overrides), lines.write, fields.pop("worker", 0))

    def timed(event):
        observer({**event, "log_time": AT})

    emit_level = fields.pop("at", LogLevel.info)
    Logger(namespace=namespace, observer=timed).emit(emit_level, text, **fields)
    return str(lines)


def broken(text="boom"):
    try:
        raise ValueError(text)
    except ValueError:
        return Failure()


def test_text_line_has_the_format_of_configcat_proxy():
    """Date, time in UTC, level, component, message."""
    assert "2023/05/29 16:36:40 [info] <http> hello 7\n" == logged(text="hello {n}", n=7)


@pytest.mark.parametrize(
    ("level", "tag"),
    [
        (LogLevel.debug, "debug"),
        (LogLevel.info, "info"),
        (LogLevel.warn, "warning"),
        (LogLevel.error, "error"),
        (LogLevel.critical, "error"),
    ],
)
def test_text_tags_are_those_of_configcat_proxy(level, tag):
    """Its four tags; Twisted's critical is an error."""
    assert f"[{tag}] " in logged(at=level)


def test_report_lines_are_written_at_every_level_without_a_tag():
    """The lines at start and stop are written at any level."""
    assert "2023/05/29 16:36:40 <http> listening\n" == logged(lowest="error", text="listening", report=True)


@pytest.mark.parametrize(
    ("namespace", "fields", "name"),
    [
        ("http", {}, "http"),
        ("http", {"sdk": "prod"}, "http"),
        ("http.sse", {"sdk": "prod"}, "http.sse"),
        ("sdks", {"sdk_id": "prod"}, "sdks.prod"),
        ("sdks", {"sdk": "prod"}, "sdks.prod"),
        ("sdks", {}, "sdks"),
        ("offline", {"sdk_id": "prod"}, "sdks.prod.offline"),
        ("offline", {}, "offline"),
        ("diag", {}, "diag"),
        ("gateway", {}, "gateway"),
        ("twisted.web.http", {}, "http"),
        ("twisted.internet.tcp", {}, "twisted"),
        ("log_legacy", {}, "twisted"),
        ("twistedlike", {}, "twistedlike"),
        ("otherlib", {}, "otherlib"),
        (None, {}, "gateway"),
    ],
)
def test_component_follows_namespace_and_sdk(namespace, fields, name):
    """The component is the settings path whose log level governs the event."""
    assert name == component({"log_namespace": namespace, **fields})


@pytest.mark.parametrize("namespace", ["twisted.internet.protocol", "log_legacy"])
def test_what_twisted_calls_info_is_debug(namespace):
    """Its lines about factories are for developers; its warnings keep their level."""
    assert [False, True, True] == [
        bool(logged(lowest="info", namespace=namespace, at=LogLevel.info)),
        "[debug]" in logged(lowest="debug", namespace=namespace, at=LogLevel.info),
        "[warning]" in logged(lowest="info", namespace=namespace, at=LogLevel.warn),
    ]


def test_levels_come_from_the_settings_path_of_the_component():
    """A component without a level of its own uses log.level, not that of its parent."""
    overrides = {"http": "debug", "sdks.prod": "error"}

    def seen(namespace, level, **fields):
        return bool(logged(lowest="warn", namespace=namespace, overrides=overrides, at=level, **fields))

    assert [True, False, True, False, True, False] == [
        seen("http", LogLevel.debug),
        seen("http.sse", LogLevel.info),
        seen("http.sse", LogLevel.warn),
        seen("sdks", LogLevel.warn, sdk_id="prod"),
        seen("sdks", LogLevel.warn, sdk_id="dev"),
        seen("gateway", LogLevel.info),
    ]


def test_levels_are_read_from_the_settings():
    """Every log.level of the settings applies to its component."""
    settings = Settings(sdks={"prod": Sdk(key=KEY)})
    levels = LogLevels.from_settings(settings)
    assert [False, True] == [levels.allows("sdks.prod", LogLevel.info), levels.allows("sdks.prod", LogLevel.warn)]


def test_levels_change_at_run_time():
    """The next event after a change is filtered by the new levels."""
    lines = Lines()
    levels = LogLevels("error")
    log = Logger(namespace="http", observer=log_observer("text", levels, lines.write))
    log.info("before")
    levels.replace(LogLevels("error", {"http": "info"}))
    log.info("after")
    assert ["after"] == [line.rsplit("> ")[1] for line in lines]


def test_json_line_has_time_level_component_message_and_fields():
    """One object per line, with the event's own fields as they are."""
    line = json.loads(
        logged("json", text="took {ms} ms", ms=7, sdk="prod", ratio=0.5, on=True, none=None, at=LogLevel.warn)
    )
    assert {
        "time": "2023-05-29T16:36:40.123Z",
        "level": "warn",
        "component": "http",
        "message": "took 7 ms",
        "ms": 7,
        "sdk": "prod",
        "ratio": 0.5,
        "on": True,
        "none": None,
    } == line


def test_json_fields_cannot_replace_our_own():
    """A field named like one of ours gets an underscore."""
    line = json.loads(logged("json", text="m", component="fake"))
    assert ("http", "fake") == (line["component"], line["component_"])


def test_json_failure_is_a_traceback_in_one_string():
    """A failure's traceback comes as text, and the line stays one line."""
    out = logged("json", text="failed", log_failure=broken())
    assert 1 == out.count("\n")
    assert json.loads(out)["failure"].endswith("builtins.ValueError: boom")


def test_text_failure_is_indented_so_that_it_cannot_forge_a_line():
    """Every line of a traceback is indented, an exception's own line breaks included."""
    out = logged(text="failed", log_failure=broken("x\n2023/05/29 16:36:40 [error] <http> forged"))
    head, *trace = out.splitlines()
    assert head.endswith("failed")
    assert trace
    assert all(line.startswith("    ") for line in trace)


@pytest.mark.parametrize("form", ["text", "json"])
def test_control_characters_cannot_forge_lines(form):
    """Line breaks and terminal codes in a message or component are written as escapes."""
    out = logged(form, text="{x}", x="a\r\nb\x1b[31m\u2028c\u202ed", namespace="odd\nname")
    assert 1 == out.count("\n")
    assert len(out.splitlines()) == 1 or form == "json"
    assert "\x1b" not in out
    assert "\r" not in out


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_masked_in_messages_fields_and_tracebacks(form):
    """An SDK key is nowhere in the line, whichever way it came in."""
    out = logged(form, text="key {key}", key=KEY, odd=[KEY], log_failure=broken(f"no {KEY}"), sdk=KEY)
    assert "AAAAAA" not in out
    assert "BBBBBB" not in out


class Awkward:
    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"x": Awkward()},
        {"x": "\ud800"},
        {"x": b"\xff"},
        {"x": float("nan")},
        {"x": 10**400},
        {"x": "y" * 1_000_000},
        {f"f{n}": n for n in range(1000)},
    ],
    ids=["repr", "surrogate", "bytes", "nan", "huge", "long", "many"],
)
def test_awkward_values_make_one_bounded_line(form, fields):
    """Values that cannot be shown never raise, and a line has a bound."""
    out = logged(form, text="{x}", **fields)
    out.encode()
    assert 1 == out.count("\n")
    assert len(out) < 64 * 1024


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())))
def test_any_event_gives_exactly_one_line_in_both_forms(event):
    """Whatever is in an event, the observer neither raises nor writes more than one line."""
    for form in ("text", "json"):
        lines = Lines()
        log_observer(form, LogLevels("debug"), lines.write)(event)
        assert 1 == str(lines).count("\n")


def test_events_that_cannot_be_formatted_are_logged_as_such():
    """A format that does not match its fields becomes a line about it."""
    assert "Unable to format event" in logged(text="{missing.attribute}")


def test_lines_of_a_worker_have_its_number_in_json():
    """The leading process has no number."""
    assert [2, None] == [json.loads(logged("json", worker=number)).get("worker") for number in (2, 0)]


def test_the_line_about_dropped_lines_has_their_number():
    """In both forms, and from a worker with its number."""
    assert dropped_line("text", 7).endswith("[warning] <gateway> 7 log lines were dropped here: " + TOO_SLOW)
    line = json.loads(dropped_line("json", 7, worker=2))
    assert ("warn", "gateway", 7, 2) == (line["level"], line["component"], line["dropped"], line["worker"])
    assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(minutes=10)


def test_events_of_the_old_log_module_have_a_message():
    """Events of twisted.python.log are formatted too."""
    lines = Lines()
    event = {"log_level": LogLevel.info, "log_namespace": "log_legacy", "log_text": "old", "log_format": "{log_text}"}
    log_observer("json", LogLevels("debug"), lines.write)({**event, "isError": 0, "message": (), "system": "-"})
    line = json.loads(str(lines))
    assert ("old", {"time", "level", "component", "message"}) == (line["message"], set(line))
