"""A visit: one URL asked, with its host's robots.txt, manners and patience, and what came of it.

A redirect is the end of a visit: where it leads may be another host's, and so another's turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import IO

from stages.fetch.address import Address
from stages.fetch.client import Answer, Client
from stages.fetch.faults import Fault
from stages.fetch.politeness import Gate, retry_after
from stages.fetch.robots import MAX_AGE, REDIRECT, Robots, read_robots

AGAIN = frozenset({408, 425, 429})
"""Refusals that ask to be asked again (RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4); of others, those above 499."""

MOST_OF_A_TYPE = 255
"""Characters of a Content-Type that are kept; a type itself has no more (RFC 6838, 4.2), a header may have 100 kB."""


@dataclass(frozen=True)
class Visit:
    """What came of asking for a URL: a body, the URL that it redirects to (`location`), or a reason for neither."""

    url: str
    fetched_at: str
    """ISO 8601, UTC."""
    seconds: float = 0.0
    attempts: int = 0
    status: int | None = None
    reason: str | None = None
    robots: str | None = None
    """The verdict of `Robots`."""
    location: str | None = None
    content_type: str | None = None
    size: int = 0
    sha256: str | None = None
    body: IO[bytes] | None = field(default=None, compare=False)
    """To be closed by who takes the visit."""


@dataclass
class Visitor:
    """Visits the URLs of some hosts. `gate_of` gives the one gate of a host; `robots` has files that are known already,
    by origin, and gets those that are read here.
    """

    client: Client
    gate_of: Callable[[str], Gate]
    robots: dict[str, Robots]
    note: Callable[[Robots, int], Awaitable[None]]
    """Is told of each robots.txt that was read, and of the requests that it took."""
    note_trouble: Callable[[Gate], Awaitable[None]]
    """Is told of each gate whose host is to be left in peace, before that is waited for."""
    attempts: int
    max_bytes: int
    robots_max_age: float = MAX_AGE
    today: Callable[[], float] = time.time
    _reading: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def visit(self, address: Address) -> Visit:
        """Ask for one URL, if its robots.txt allows it."""
        start = time.monotonic()
        robots = await self._robots_of(address)
        found = Visit(address.url, _now(self.today()), robots=robots.verdict)
        if not robots.allows(address):
            return replace(found, reason=robots.reason or "disallowed", seconds=_since(start))
        answer, attempts = await self._ask(address, self.max_bytes, whole=True)
        found = replace(found, attempts=attempts, status=answer.status, seconds=_since(start))
        if isinstance(answer, Fault):
            return replace(found, reason=answer.reason)
        if answer.status in REDIRECT and "location" in answer.headers:
            return _redirected(found, address, answer.headers)
        if answer.body is None:
            return replace(found, reason="http_error")
        if answer.status != 200 or not answer.size:  # 206: a part that nobody asked for
            answer.body.close()
            return replace(found, reason="empty_body" if answer.status in (200, 204) else "http_error")
        return replace(
            found,
            content_type=answer.headers.get("content-type", "")[:MOST_OF_A_TYPE] or None,
            size=answer.size,
            sha256=answer.sha256,
            body=answer.body,
        )

    async def _robots_of(self, address: Address) -> Robots:
        """Read once by whoever comes first; read again when it has become too old."""
        async with self._reading.setdefault(address.origin, asyncio.Lock()):
            known = self.robots.get(address.origin)
            if known is None or self.today() - known.fetched_at > self.robots_max_age:
                requests = 0

                async def ask(place: Address, most: int) -> Answer | Fault:
                    nonlocal requests
                    answer, attempts = await self._ask(place, most, whole=False)
                    requests += attempts
                    return answer

                known = self.robots[address.origin] = await read_robots(address, ask, self.today())
                await self.note(known, requests)
        self.gate_of(address.host).slow_down(known.crawl_delay)
        return known

    async def _ask(self, address: Address, most: int, *, whole: bool) -> tuple[Answer | Fault, int]:
        """The answer, or the last fault, and how many requests were made."""
        gate, made = self.gate_of(address.host), 0
        while True:
            try:
                async with gate.turn():
                    made += 1
                    answer: Answer | Fault = await self._once(address, most, whole)
            except Fault as closed:  # the gate's own
                return closed, made
            if isinstance(answer, Answer) or not answer.again:
                gate.went_well()
                return answer, made
            gate.went_wrong(answer)
            await self.note_trouble(gate)
            if made >= self.attempts:
                return answer, made

    async def _once(self, address: Address, most: int, whole: bool) -> Answer | Fault:
        try:
            answer = await self.client.get(address, most, whole=whole)
        except Fault as fault:
            return fault
        if answer.status in AGAIN or answer.status >= 500:
            wait = retry_after(answer.headers.get("retry-after", ""), self.today())
            return Fault("http_error", again=True, wait=wait, status=answer.status)
        return answer


def _redirected(found: Visit, address: Address, headers: Mapping[str, str]) -> Visit:
    target = address.followed(headers["location"])
    if target is None:
        return replace(found, reason="bad_redirect")
    if address.scheme == "https" != target.scheme:
        return replace(found, reason="insecure_redirect")
    return replace(found, location=target.url)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)


def _now(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
