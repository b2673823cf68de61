"""Options of predictions; not in ConfigCat Proxy."""

from typing import Annotated

from gateway.settings.schema.base import Section
from gateway.settings.schema.option import option


class Impact(Section, frozen=True):
    """What a candidate config would change for users."""

    sample_users: Annotated[
        int,
        option(
            "Recently evaluated users that each process keeps in memory, with their attributes, to predict what a"
            " config would change for them; 0 keeps none.",
            ge=0,
            le=1_000_000,
        ),
    ] = 10_000
