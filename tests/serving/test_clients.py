import pytest

from serving.clients import NOBODY, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        *((address, NOBODY) for address in ("", "evil", "1.2.3.4\nERROR forged", "1.2.3.4, 5.6.7.8", "01.2.3.4")),
    ],
)
def test_a_client_is_an_address_in_numbers_or_a_network(address: str, client: str):
    assert client_of(address) == client
