"""Why a port could not be opened."""

from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from os import strerror

import pytest
from twisted.internet.error import CannotListenError

from gateway.serving import listen_error_text
from gateway.settings import Settings
from gateway.settings.schema import Diag, Http

SETTINGS = Settings(http=Http(port=80), diag=Diag(port=81))
BOTH = Settings(http=Http(port=80, bind="127.0.0.1"), diag=Diag(port=80, bind="127.0.0.2"))


@pytest.mark.parametrize(
    ("settings", "interface", "port", "errno", "expected"),
    [
        (SETTINGS, "", 80, EACCES, "http.port: port 80 on all addresses cannot be opened: Permission denied; ports"),
        (SETTINGS, "::", 81, EADDRINUSE, "diag.port: port 81 on all addresses cannot be opened: Address already in"),
        (SETTINGS, "192.0.2.1", 80, EADDRNOTAVAIL, "http.bind: port 80 on 192.0.2.1 cannot be opened: Cannot assign"),
        (BOTH, "127.0.0.1", 80, EADDRINUSE, "http.port: port 80 on 127.0.0.1 cannot be opened"),
        (BOTH, "127.0.0.2", 80, EADDRINUSE, "diag.port: port 80 on 127.0.0.2 cannot be opened"),
    ],
)
def test_the_text_names_the_option_the_port_and_a_remedy(settings, interface, port, errno, expected):
    """The operator sees which option to change."""
    text = listen_error_text(CannotListenError(interface, port, OSError(errno, strerror(errno))), settings)
    assert text.startswith(expected)
    assert ";" in text
