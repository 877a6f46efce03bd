"""Who is one client? An IPv4 address; of IPv6 a network of 64 bits, as anybody who has one address there has 2**64."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

NOBODY = "unknown"


@lru_cache(4096)
def client_of(address: str) -> str:
    """What is counted as one, and stands in the log: never anything but numbers, whatever a proxy's header held."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return NOBODY
    if isinstance(found, IPv4Address) or found.is_loopback:
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, 64), strict=False))
