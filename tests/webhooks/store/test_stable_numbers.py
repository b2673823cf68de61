"""Numbers are assigned once."""

from __future__ import annotations

import json

from recorder_scene import RecorderScene, config


def test_a_flag_keeps_its_number_and_its_first_default() -> None:
    """Also if it is deleted and added again."""
    scene = RecorderScene("environment")
    scene.record(config("a", off=("b",)), config("b"), config("a", "b"))
    with scene.store.connection as connection:
        numbers = scene.composer.numbers(connection, 5.0)
        first, second = numbers.feature("one", "a"), numbers.feature("one", "b")
    assert (first.initial_value, second.initial_value) == (True, False)
    assert first.created == second.created == scene.clock.seconds()
    assert first.id != second.id
    rows = scene.store.rows("SELECT body FROM messages WHERE type = 'FLAG_DELETED'")
    assert json.loads(rows[0][0])["data"]["previous_state"]["feature"]["id"] == first.id
