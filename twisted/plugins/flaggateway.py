"""Makes ``twistd flaggateway`` known to Twisted; imports nothing else, because every twistd on the host loads it."""

from twisted.application.service import ServiceMaker

flaggateway = ServiceMaker(
    "Flag gateway",
    "gateway.tap",
    "A streaming gateway between applications and a feature-flag service.",
    "flaggateway",
)
