"""OpenFeature applications reach the gateway through the OFREP providers of Python and JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError
from openfeature.flag_evaluation import Reason

from cdn_stand_in import SDK_KEY
from child_lines import ChildLines
from eventually import eventually
from shop import shop

HERE = Path(__file__).resolve().parent
HEADERS = pytest.mark.parametrize(
    ("header", "value"),
    [("X-ConfigCat-SdkId", "shop"), ("X-ConfigCat-SdkKey", SDK_KEY)],
    ids=["by SDK id", "by SDK key"],
)
GERMAN = EvaluationContext("anna", {"Country": "Germany"})
FRENCH = EvaluationContext("zoe", {"Country": "France"})


@HEADERS
def test_the_python_provider_sees_a_change(gateway, upstream, header, value):
    """The Python provider resolves values, variants and reasons, and the next value after a change."""
    provider = OFREPProvider(gateway.url, headers_factory=lambda: {header: value})
    try:
        details = provider.resolve_string_details("banner", "default", GERMAN)
        assert ("before", "v-before", Reason.TARGETING_MATCH) == (details.value, details.variant, details.reason)
        details = provider.resolve_string_details("banner", "default", FRENCH)
        assert ("elsewhere", "v-elsewhere", Reason.DEFAULT) == (details.value, details.variant, details.reason)
        assert provider.resolve_boolean_details("checkout", default_value=False).value is True
        assert 3 == provider.resolve_integer_details("limit", 0).value
        with pytest.raises(FlagNotFoundError):
            provider.resolve_string_details("nothing", "default", GERMAN)

        config = shop("after")
        config["f"]["price"] = {"t": 3, "v": {"d": 3.0}, "i": "v-price"}
        upstream.set(config)
        eventually(lambda: "after" == provider.resolve_string_details("banner", "default", GERMAN).value)
        # The provider refuses the integer 3 as TYPE_MISMATCH.
        assert 3.0 == provider.resolve_float_details("price", 0.0).value
    finally:
        provider.session.close()


@HEADERS
def test_the_web_provider_in_node_sees_a_change(gateway, upstream, node, header, value):
    """The web provider, in Node, gets all flags in one answer and notices a change by the bulk ETag."""
    with ChildLines([node, "clients/ofrep.mjs", gateway.url, header, value], cwd=HERE) as client:
        assert ["before", "v-before", "TARGETING_MATCH", True, 3] == client.next()
        upstream.set(shop("after"))
        assert ["after", "v-after", "TARGETING_MATCH", True, 3] == client.next()
