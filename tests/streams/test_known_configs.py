"""The names of configs that were current, and the calls that wait for one."""

from __future__ import annotations

from gateway.streams import KnownConfigs
from gateway.streams.known_configs import NAME_COUNT_LIMIT


def test_a_call_can_wait_for_a_config_by_any_of_its_names() -> None:
    """Each waiting call is made once, unless it was cancelled; a cancellation that comes late has no effect."""
    configs = KnownConfigs()
    called: list[str] = []
    cancel = configs.wait_for("tag2", lambda: called.append("tag"))
    configs.wait_for("etag2", lambda: called.append("etag"))
    configs.wait_for("tag2", lambda: called.append("cancelled"))()
    configs.add("tag1", "etag1")
    assert [] == called
    configs.add("tag2", "etag2")
    configs.add("tag2", "etag2")
    cancel()
    assert ["tag", "etag"] == called
    assert all(name in configs for name in ("tag1", "etag1", "tag2", "etag2"))
    assert "other" not in configs


def test_the_number_of_names_is_limited() -> None:
    """The oldest are dropped, and a very long ETag is not kept."""
    configs = KnownConfigs()
    for number in range(3 * NAME_COUNT_LIMIT):
        configs.add(f"tag{number}", "x" * 1_000)
    assert ("tag0" in configs, "tag2999" in configs, "x" * 1_000 in configs) == (False, True, False)
    assert NAME_COUNT_LIMIT == len(configs._names)
