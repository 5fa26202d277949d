"""No address that is not public is ever connected to, however it is written, resolved or rebound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import httpcore
import pytest
from origin import Origin, body

from stages.fetch.address import Address
from stages.fetch.faults import Fault
from stages.fetch.guard import Guard, is_public, system_resolver


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fc00::1", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::127.0.0.1"),
        *("::ffff:10.0.0.1", "2002:7f00:1::", "2002:808:808::", "2001::1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("64:ff9b:1::808:808", "fe80::1%1"),
    ],
)
def test_addresses_that_are_nobodys_business(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


def connect(guard: Guard, host: str, port: int) -> str:
    """The reason why not, or "" where a connection came about."""

    async def trial() -> str:
        try:
            stream = await guard.connect_tcp(host, port, timeout=5)
        except Fault as fault:
            return fault.reason
        await stream.aclose()
        return ""

    return asyncio.run(trial())


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "0.0.0.0", "127.1", "2130706433", "0x7f000001"),
        *("0177.0.0.1", "169.254.169.254", "10.0.0.1"),
    ],
)
def test_this_machine_and_its_neighbours_as_the_systems_resolver_reads_them(host: str) -> None:
    with Origin({"*": body()}) as origin:
        there = Guard()
        assert connect(there, host, origin.port) == "private_address"
    assert origin.log == []


def answering(addresses: Sequence[str]) -> Guard:
    """A guard whose resolver knows one answer."""

    async def resolver(host: str, port: int) -> Sequence[str]:
        return addresses

    return Guard(resolver=resolver)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:169.254.169.254"]])
def test_a_name_that_leads_to_a_private_address_among_others(addresses: list[str]) -> None:
    assert connect(answering(addresses), "example.org", 80) == "private_address"


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer is never asked for, and the network never sees the name."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    connected: list[str] = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    class Network(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, *arguments: object) -> httpcore.AsyncNetworkStream:
            connected.append(host)
            raise httpcore.ConnectError("far away")

    with pytest.raises(httpcore.ConnectError):
        asyncio.run(Guard((), resolver, Network()).connect_tcp("rebound.example", 80))
    assert (connected, answers) == (["8.8.8.8"], [["127.0.0.1"]])


def test_where_the_first_address_does_not_answer_the_next_one_is_tried() -> None:
    with Origin({}) as origin:

        async def resolver(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.2", "127.0.0.1"]  # nobody listens on the first

        guard = Guard([("origin.example", origin.port)], resolver)
        assert connect(guard, "origin.example", origin.port) == ""


@pytest.mark.parametrize("port", [22, 25, 110, 1023, 6000, 6667, 10080])
def test_ports_of_other_protocols(port: int) -> None:
    assert connect(answering(["8.8.8.8"]), "example.org", port) == "bad_port"


def test_what_is_allowed_is_allowed_for_its_port_alone() -> None:
    with Origin({}) as origin:
        guard = Guard([("127.0.0.1", origin.port)])
        assert connect(guard, "127.0.0.1", origin.port) == ""
        assert connect(Guard([("127.0.0.1", origin.port + 1)]), "127.0.0.1", origin.port) == "private_address"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (UnicodeError("label too long"), False),
    ],
)
def test_names_without_an_address(error: Exception, again: bool) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        raise error

    with pytest.raises(Fault, match="unresolved") as found:
        asyncio.run(Guard(resolver=resolver).connect_tcp("nowhere.example", 80))
    assert found.value.again is again


def test_the_systems_resolver_gives_addresses() -> None:
    assert "127.0.0.1" in asyncio.run(system_resolver("127.0.0.1", 80))


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("HTTP://Example.ORG:80", "http://example.org/"),
        ("https://example.org:443/a?b#c", "https://example.org/a?b"),
        ("http://example.org:8080/a b/ü", "http://example.org:8080/a%20b/%C3%BC"),
        ("http://bücher.example/%7e", "http://xn--bcher-kva.example/%7e"),
        ("http://[::FFFF:7f00:1]/x", "http://[::ffff:7f00:1]/x"),
        ("http://a/b\r\nHost: c", "http://a/bHost:%20c"),
        ("http://a/b/../c/./d.pdf?e=/../f", "http://a/c/d.pdf?e=/../f"),
        ("http://a/b/%2e%2E/%2e/.%2e/c", "http://a/c"),
        ("http://a/b//../c/..", "http://a/b/"),
        ("http://a/..//b/.", "http://a//b/"),
        ("http://a/b/...;/..c/%2ed", "http://a/b/...;/..c/%2ed"),
        ("http://a/b/../../..", "http://a/"),
        *((url, None) for url in ("ftp://a/", "file:///etc/passwd", "http://u:p@a/", "http://@a/", "http:///a")),
        *((url, None) for url in ("http://a:99999/", "http://a:0/", "http://[", "", None, "http://a/" + "b" * 5000)),
    ],
)
def test_what_is_an_address(url: str | None, asked: str | None) -> None:
    found = Address.of(url)
    assert (found and found.url) == asked


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "https://a.example/b"),
        ("?c", "https://a.example/x/y?c"),
        ("//b.example/z", "https://b.example/z"),
        ("../z", "https://a.example/z"),
        ("%2e%2e/%2e%2e/z", "https://a.example/z"),
        ("/\xc3\xa9 \x85", "https://a.example/%C3%A9%20%85"),  # the header's bytes, which may be UTF-8 or not
        ("//b\xc3\xbccher.example/", "https://xn--bcher-kva.example/"),
        ("http://a.example:81/", "http://a.example:81/"),
        *((location, None) for location in ("file:///etc/passwd", "javascript:alert(1)", "http://u@a/", "http://[")),
    ],
)
def test_where_a_redirect_leads(location: str, leads_to: str | None) -> None:
    here = Address.of("https://a.example/x/y")
    assert here is not None
    found = here.followed(location)
    assert (found and found.url) == leads_to


def test_limits_hold_for_a_host_whatever_scheme_and_port() -> None:
    addresses = [Address.of(url) for url in ("http://a.example/x", "https://a.example:8443/y", "http://b.example/x")]
    hosts = [address.keys[0] for address in addresses if address is not None]
    assert hosts[0] == hosts[1] != hosts[2]
