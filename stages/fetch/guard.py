"""The way to the network: connects to public addresses only, and to the very address that was checked.

A crawl's URLs and redirects are written by strangers, and some lead to this machine, its neighbours or its cloud's
metadata. Names are resolved here, every address of the answer is looked at, and the connection goes to one of them, so
that another answer a moment later changes nothing. Names stay what TLS and the Host header go by.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

from stages.fetch.faults import Fault

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a host and a port, gives addresses; raises OSError."""

WEB_PORTS = frozenset({80, 443})
BAD_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080}
)
"""Of those above 1023: WHATWG Fetch, 2.9 "port blocking". Below, nothing but the web's own is asked."""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1
_NEVER: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, RFC 7526
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291, 2.5.5.1
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of somebody's own, RFC 8215
    IPv6Network("2001::/23"),  # Teredo and other assignments of the IETF, RFC 2928
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address in disguise, RFC 3056
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
)
"""Not public, or a detour to what may not be, whatever `is_global` of a Python version says."""
_TRIED = 3
"""Addresses of one name, one after the other."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody on the Internet could be meant."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address.version == network.version and address in network for network in _NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard(httpcore.AsyncNetworkBackend):
    """Connects where it may. `allowed`: (host, port) of tests and demonstrations, which may be private."""

    def __init__(
        self,
        allowed: Iterable[tuple[str, int]] = (),
        resolver: Resolver = system_resolver,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allowed, self._resolver = frozenset(allowed), resolver
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses. Raises Fault, and httpcore's errors where nobody answers."""
        addresses = await self._addresses(host, port, timeout)
        for at, address in enumerate(addresses, 1):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if at == len(addresses):
                    raise
        raise AssertionError("the last address connects or raises")

    async def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        free = (host, port) in self._allowed
        if not free and (port in BAD_PORTS or (port < 1024 and port not in WEB_PORTS)):
            raise Fault("bad_port")
        try:
            async with asyncio.timeout(timeout):
                found = [ip_address(address) for address in await self._resolver(host, port)]
        except TimeoutError as silence:
            raise Fault("unresolved", again=True) from silence
        except socket.gaierror as error:
            raise Fault("unresolved", again=error.errno == socket.EAI_AGAIN) from error
        except (OSError, ValueError) as error:  # ValueError: a label that is too long for IDNA, a scoped address
            raise Fault("unresolved") from error
        if not found:
            raise Fault("unresolved")
        if not free and not all(map(is_public, found)):
            raise Fault("private_address")
        return [str(address) for address in found[:_TRIED]]
