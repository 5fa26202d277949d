"""One GET, bounded in every direction: bytes, time, and where it may connect to.

httpcore speaks HTTP/1.1 and TLS. It is the part of httpx below cookies, proxies, redirects and the environment, none of
which belong here, and the one that takes a network of ours (`stages.fetch.guard`). Each request has a connection of its
own: what a server sends beyond the length it announced can never pass for the answer to the next one. Redirects,
retries and manners are not known here.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpcore

from stages.fetch.address import Address
from stages.fetch.faults import Fault
from stages.fetch.guard import Guard
from stages.fetch.politeness import whole_number
from stages.read.http import read_message

IN_MEMORY = 2**20
"""Bytes of a body that is still coming; what is beyond goes to a file, since many come at once."""
_MAX_HEADER = 2**10
_MOST_PACKED = 2
"""Times what is wanted of a body, so that enough comes of one that its encoding did not make smaller."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for a connection, for silence within an answer, and for the whole request."""

    connect: float
    read: float
    whole: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. Only a success has a body, without its content encoding, to be closed by who takes it."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; of several of a name the last."""
    body: IO[bytes] | None = None
    size: int = 0
    sha256: str = ""


class NoRoom(Exception):
    """This machine could not keep a body while it came. That says nothing of the host, so it is no Fault."""


class Client:
    """Asks in the name of `agent`."""

    def __init__(self, agent: str, guard: Guard, tls: ssl.SSLContext, patience: Patience) -> None:
        self._agent, self._guard, self._tls, self._patience = agent, guard, tls, patience

    async def get(self, address: Address, most: int, *, whole: bool = True) -> Answer:
        """The answer with at most `most` bytes of body; without `whole` a longer body is cut there.

        Raises Fault, NoRoom.
        """
        try:
            async with asyncio.timeout(self._patience.whole):
                return await self._get(address, most, whole)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise Fault("timed_out", again=True) from error
        except (httpcore.NetworkError, OSError) as error:
            cause = error if isinstance(error, ssl.SSLError) else error.__cause__
            if isinstance(cause, ssl.SSLError):
                raise Fault("tls_failed", again=not isinstance(cause, ssl.SSLCertVerificationError)) from error
            raise Fault("connection_failed", again=True) from error
        except httpcore.ProtocolError as error:
            raise Fault("protocol_error", again=True) from error

    async def _get(self, address: Address, most: int, whole: bool) -> Answer:
        origin = httpcore.Origin(address.scheme.encode(), address.host.encode(), address.port)
        url = httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=address.target.encode("ascii")
        )
        headers = {
            "Host": address.authority,
            "User-Agent": self._agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        patience = {"connect": self._patience.connect, "read": self._patience.read, "write": self._patience.read}
        async with (
            httpcore.AsyncHTTPConnection(origin, ssl_context=self._tls, network_backend=self._guard) as connection,
            connection.stream("GET", url, headers=list(headers.items()), extensions={"timeout": patience}) as response,
        ):
            head = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if not 200 <= response.status < 300:
                return Answer(response.status, head)
            body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
            try:
                encoded = head.get("content-encoding", "identity").strip().lower() not in ("", "identity")
                taken = _MOST_PACKED * most if encoded and not whole else most
                size, sha256 = await _receive(response, head, body, taken, whole)
                if encoded:
                    size, sha256 = _decode(head["content-encoding"], body, most, whole)
                body.seek(0)
            except BaseException:
                body.close()
                raise
            return Answer(response.status, head, body, size, sha256)


async def _receive(
    response: httpcore.Response, head: Mapping[str, str], body: IO[bytes], most: int, whole: bool
) -> tuple[int, str]:
    """Takes the body as it comes; its size and digest."""
    if whole and (whole_number(head.get("content-length", "")) or 0) > most:
        raise Fault("too_large")
    size, digest = 0, hashlib.sha256()
    try:
        async for chunk in response.aiter_stream():
            if size + len(chunk) > most:
                if whole:
                    raise Fault("too_large")
                chunk = chunk[: most - size]
            with _keeping():
                body.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            if size == most and not whole:
                break
    except (httpcore.RemoteProtocolError, httpcore.ReadError) as error:  # h11 counts against Content-Length and chunks
        raise Fault("short_body", again=True) from error
    return size, digest.hexdigest()


def _decode(encoding: str, body: IO[bytes], most: int, whole: bool) -> tuple[int, str]:
    """Undo, within bounds, an encoding that nobody asked for; without `whole` as far as `most`."""
    body.seek(0)
    block = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode("latin-1") + body.read()
    message = read_message(block, most, _MAX_HEADER, whole=whole)
    if message.fault is not None:
        raise Fault("too_large" if message.fault == "payload_too_large" else "undecodable_body")
    with _keeping():
        body.seek(0)
        body.truncate()
        body.write(message.payload)
    return len(message.payload), hashlib.sha256(message.payload).hexdigest()


@contextmanager
def _keeping() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoRoom(f"{tempfile.gettempdir()}: {error.strerror or error}") from error
