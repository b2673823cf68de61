"""Which addresses are called, and which never."""

from __future__ import annotations

import pytest

from gateway.http_client.address_guard import Guard

NEVER = "link-local and cloud metadata addresses are never called"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
        "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe",
    ],
)  # fmt: skip
def test_link_local_and_metadata_addresses_are_refused_in_every_spelling(address: str) -> None:
    """No setting allows access to a cloud's credentials."""
    everything = Guard.from_settings(["0.0.0.0/0", "::/0"], [])
    assert everything.refusal(address) == NEVER
    assert Guard().refusal(address) == NEVER


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_addresses_of_no_single_host_are_refused(address: str) -> None:
    """Unspecified, multicast and broadcast addresses are never connected to."""
    assert Guard().refusal(address) == "not the address of one machine"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.0.2.9", "2001:db8::1", "::ffff:10.0.0.1"])
def test_other_addresses_are_allowed_by_default(address: str) -> None:
    """Most receivers are in private networks."""
    assert Guard().refusal(address) is None


def test_only_allowed_networks_are_called() -> None:
    """An address outside of them is refused."""
    guard = Guard.from_settings(["10.0.0.0/8"], [])
    assert guard.refusal("10.9.9.9") is None
    assert guard.refusal("::ffff:10.9.9.9") is None
    assert guard.refusal("192.0.2.1") == "in no network that delivery.allowed_networks names"


def test_denied_networks_win() -> None:
    """A denied network inside an allowed one is denied, through an IPv6 spelling too."""
    guard = Guard.from_settings(["10.0.0.0/8"], ["10.1.0.0/16"])
    assert guard.refusal("10.2.0.1") is None
    assert guard.refusal("10.1.0.1") == "in a network that delivery.denied_networks names"
    assert guard.refusal("64:ff9b::a01:1") == "in a network that delivery.denied_networks names"


def test_a_text_that_is_no_address_is_refused() -> None:
    """Only addresses are connected to, whatever a resolver returns."""
    assert Guard().refusal("example.org") == "not an address"
