"""The result of one POST: which are deliveries, and the words for metrics and logs."""

import pytest

from gateway.http_client.attempt import TIMED_OUT, Attempt


@pytest.mark.parametrize(("status", "delivered"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_2xx_is_delivered(status, delivered):
    """The statuses from 200 to 299 are a delivery, everything else is a refusal."""
    assert Attempt(status, "", 0.0).delivered is delivered


@pytest.mark.parametrize(
    ("attempt", "label", "text"),
    [
        (Attempt(204, "", 0.0), "delivered", "answered 204"),
        (Attempt(302, "", 0.0), "refused", "answered 302"),
        (Attempt(None, TIMED_OUT, 0.0), "timeout", "timed out"),
        (Attempt(200, TIMED_OUT, 0.0), "timeout", "timed out"),
        (Attempt(200, "the answer is too long", 0.0), "broken", "the answer is too long"),
        (Attempt(None, "the connection was lost", 0.0), "broken", "the connection was lost"),
    ],
)
def test_each_result_has_a_label_and_a_text(attempt, label, text):
    """An error after a 2xx status is no delivery."""
    assert (attempt.label, attempt.text) == (label, text)
    assert attempt.delivered == (label == "delivered")
