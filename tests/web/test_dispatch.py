"""Building the routes of one state of the settings."""

from __future__ import annotations

import pytest

from gateway.web.dispatch import build_dispatcher
from web_memory import MemorySite, settings_of

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
BAD_PATTERN = {"cors": {"allowed_origins_regex": {"patterns": ["("], "if_no_match": "x"}}}


def test_building_changes_nothing_that_is_shared() -> None:
    """Building routes, successfully or not, does not change the state that outlives a reload."""
    site = MemorySite(CONFIG)
    state = site.site.routes.dispatcher.context.state
    debug = {"http": {"sse": {"log": {"level": "debug"}}}}
    built = build_dispatcher(site.site.routes.dispatcher.context, settings_of(debug))
    with pytest.raises(ValueError, match="pattern"):
        build_dispatcher(built.context, settings_of({"http": {**debug["http"], "api": BAD_PATTERN}}))
    assert built.context.state is state
    assert not state.streams.log_changes


def test_a_reload_switches_the_log_of_streams_only_when_it_succeeds() -> None:
    """The new level of streams holds from a reload that succeeds; one that fails leaves the old level."""
    site = MemorySite(CONFIG)
    streams = site.site.routes.dispatcher.context.state.streams
    debug = {"sse": {"log": {"level": "debug"}}}
    with pytest.raises(ValueError, match="pattern"):
        site.site.use(site.site.prepare(settings_of({"http": {**debug, "api": BAD_PATTERN}})))
    assert not streams.log_changes
    site.site.use(site.site.prepare(settings_of({"http": debug})))
    assert streams.log_changes


@pytest.mark.parametrize(
    ("sections", "tokens"),
    [({}, True), ({"sse": {"enabled": False}}, False), ({"ofrep": {"enabled": False}}, False)],
)
def test_ofrep_streams_need_both_sections(sections: dict[str, object], tokens: bool) -> None:
    """Tokens are issued only where the route that takes them is enabled: OFREP and SSE both are."""
    context = MemorySite(CONFIG, {"http": sections}).site.routes.dispatcher.context
    assert tokens == (context.stream_tokens is not None)
