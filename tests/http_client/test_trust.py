"""CA files: read once, and the errors that name the option."""

from __future__ import annotations

import pytest
import trustme

from gateway.http_client.trust import TrustError, load_trust

BROKEN = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"no certificate", "holds no certificate in PEM form"),
        (BROKEN, "holds a certificate that cannot be read"),
    ],
)
@pytest.mark.parametrize("option", ["upstream.ca_file", "exporter.ca_file"])
def test_errors_name_the_option(tmp_path, content, words, option):
    """The text is that of one sentence in the log: which option, and why."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrustError) as caught:
        load_trust(str(path), option)
    assert f"{option} {words}" == str(caught.value)


def test_trust_is_equal_for_equal_bytes(tmp_path):
    """A reload sees other bytes under the same name, and no change under another name."""
    paths = [tmp_path / name for name in ("one.pem", "two.pem", "other.pem")]
    authority = trustme.CA()
    for path in paths:
        (trustme.CA() if path.name == "other.pem" else authority).cert_pem.write_to_path(str(path))
    one, two, other = (load_trust(str(path), "x") for path in paths)
    assert one == two != other
    assert load_trust("", "x") == load_trust("", "x") != one
