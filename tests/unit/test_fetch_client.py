"""One request, bounded whatever the server does; TLS is verified against names."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import brotli
import pytest
import trustme
from origin import PDF, Behaviour, Handler, Origin, body, redirect, status

from stages.fetch.address import Address
from stages.fetch.client import Answer, Client, Patience
from stages.fetch.faults import Fault
from stages.fetch.guard import Guard

BOUND = 100_000


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def client(origin: Origin, tls: ssl.SSLContext | None = None, **patience: float) -> Client:
    guard = Guard([(host, origin.port) for host in ("127.0.0.1", "origin.example", "other.example")], here)
    terms = Patience(**({"connect": 2.0, "read": 1.0, "whole": 3.0} | patience))
    return Client("crawlmill/9 (+ops@example.org)", guard, tls or ssl.create_default_context(), terms)


def get(
    origin: Origin, path: str = "/", host: str = "127.0.0.1", whole: bool = True, **how: Any
) -> tuple[Answer, bytes]:
    address = Address.of(origin.url(path, host))
    assert address is not None
    answer = asyncio.run(client(origin, **how).get(address, BOUND, whole=whole))
    if answer.body is None:
        return answer, b""
    with answer.body as stream:
        return answer, stream.read()


def raw(*pieces: bytes, pause: float = 0.0) -> Behaviour:
    return lambda handler: handler.raw(*pieces, pause=pause)


def drip(handler: Handler) -> None:
    """A byte now and then, each in time."""
    handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", *[b"x"] * 10_000, pause=0.05)


def endless(handler: Handler) -> None:
    handler.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not handler.server.origin.closed.is_set():
        handler.raw(b"x" * 65_536)


def silent(handler: Handler) -> None:
    handler.server.origin.closed.wait(10)


def test_a_body() -> None:
    with Origin({"/a?b": body()}) as origin:
        answer, content = get(origin, "/a?b", "origin.example")
    assert (answer.status, content, answer.size) == (200, PDF, len(PDF))
    assert answer.sha256 == hashlib.sha256(PDF).hexdigest()
    assert answer.headers["content-type"] == "application/pdf"
    (asked,) = origin.log
    assert (asked.host, asked.agent) == (f"origin.example:{origin.port}", "crawlmill/9 (+ops@example.org)")


@pytest.mark.parametrize("code", [204, 301, 304, 400, 404, 429, 500, 503])
def test_other_answers_are_answers(code: int) -> None:
    with Origin({"/": status(code, {"Retry-After": "7"})}) as origin:
        answer, content = get(origin)
    assert (answer.status, content, answer.headers["retry-after"]) == (code, b"", "7")


def test_redirects_are_not_followed() -> None:
    with Origin({"/": redirect("/b"), "/b": body()}) as origin:
        assert get(origin)[0].status == 302
    assert origin.asked("/b") == 0


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 499), "short_body"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"), "short_body"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "short_body"),
        (body(b"x" * (BOUND + 1)), "too_large"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "too_large"),
        (endless, "too_large"),
        (drip, "timed_out"),
        (silent, "timed_out"),
        (raw(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 200, pause=0.05), "timed_out"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000), "protocol_error"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol_error"),
        (raw(b""), "protocol_error"),
        (status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000_000)), "too_large"),
        (status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"x")[:12] + b"\xff" * 90), "undecodable_body"),
    ],
)
def test_what_servers_do_to_a_client(behaviour: Behaviour, reason: str) -> None:
    start = time.monotonic()
    with Origin({"/": behaviour}) as origin, pytest.raises(Fault) as found:
        get(origin)
    assert found.value.reason == reason
    assert time.monotonic() - start < 60  # the slow one would take minutes


def test_what_lies_beyond_the_announced_length_is_nobodys_answer() -> None:
    """Two answers in one go: the second one is never taken for that to another request."""
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    with Origin({"/": raw(smuggled + b"good" + smuggled + b"evil"), "/b": body(b"mine")}) as origin:
        assert get(origin)[1] == b"good"
        assert get(origin, "/b")[1] == b"mine"


def test_an_encoding_that_nobody_asked_for() -> None:
    with Origin({"/": status(200, {"Content-Encoding": "gzip"}, gzip.compress(PDF))}) as origin:
        answer, content = get(origin)
    assert (content, answer.sha256) == (PDF, hashlib.sha256(PDF).hexdigest())


@pytest.mark.parametrize("behaviour", [endless, body(b"x" * BOUND * 2)])
def test_of_some_files_the_beginning_will_do(behaviour: Behaviour) -> None:
    with Origin({"/": behaviour}) as origin:
        assert get(origin, whole=False)[1] == b"x" * BOUND


LINES = b"".join(b"Disallow: /%d\n" % n for n in range(100_000))
"""More than BOUND packed, too, where the packing is one that makes nothing smaller."""


def packed(content: bytes, encoding: str = "gzip") -> Behaviour:
    return status(200, {"Content-Encoding": encoding}, content)


@pytest.mark.parametrize(
    "behaviour",
    [
        packed(gzip.compress(LINES)),
        packed(gzip.compress(LINES, 0)),
        packed(zlib.compress(LINES, 0), "deflate"),
        packed(brotli.compress(LINES), "br"),
        packed(gzip.compress(gzip.compress(LINES)), "gzip, gzip"),
        packed(gzip.compress(LINES[: 2 * BOUND]) + b"\xff" * 90),
        packed(LINES, "utf-8"),
    ],
    ids=["gzip", "stored", "deflate", "brotli", "twice", "and more", "none"],
)
def test_of_packed_files_the_beginning_will_do_too(behaviour: Behaviour) -> None:
    with Origin({"/": behaviour}) as origin:
        answer, content = get(origin, whole=False)
    assert content == LINES[:BOUND]
    assert (answer.size, answer.sha256) == (BOUND, hashlib.sha256(content).hexdigest())


def test_a_bomb_costs_no_more_memory_than_one_bite() -> None:
    """512 MiB of zeros, of which one call to a decoder gives some 17 MB."""
    bomb = packed(gzip.compress(bytes(2**29)))
    with Origin({"/": bomb}) as origin:
        tracemalloc.start()
        try:
            assert get(origin, whole=False)[0].size == BOUND
            assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
        finally:
            tracemalloc.stop()


def test_nobody_listens() -> None:
    with Origin({}) as origin:
        pass
    with pytest.raises(Fault, match="connection_failed"):
        get(origin)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_goes_by_the_name_though_the_connection_goes_by_the_address(authority: trustme.CA) -> None:
    with Origin({"/": body()}, serving(authority.issue_cert("origin.example"))) as origin:
        assert get(origin, host="origin.example", tls=trusting(authority))[1] == PDF
        with pytest.raises(Fault, match="tls_failed") as found:
            get(origin, host="other.example", tls=trusting(authority))
    assert not found.value.again, "a certificate does not become right by asking again"


LONG_AGO = datetime.now(UTC) - timedelta(days=90)


@pytest.mark.parametrize(
    "issue",
    [
        lambda authority: authority.issue_cert(
            "origin.example", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=30)
        ),
        lambda authority: trustme.CA().issue_cert("origin.example"),
    ],
    ids=["expired", "of an authority that nobody knows"],
)
def test_certificates_that_do_not_hold(authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert]) -> None:
    with Origin({"/": body()}, serving(issue(authority))) as origin, pytest.raises(Fault, match="tls_failed"):
        get(origin, host="origin.example", tls=trusting(authority))
    assert origin.asked("/") == 0


def test_https_of_a_server_that_speaks_none() -> None:
    with Origin({"/": body()}) as origin, pytest.raises(Fault, match="tls_failed|connection_failed"):
        address = Address("https", "127.0.0.1", origin.port, "/")
        asyncio.run(client(origin).get(address, BOUND))
