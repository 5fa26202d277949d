"""Turns at a host: how many requests at once, how far apart, how long a pause, and when it is enough.

A `Gate` holds for all that passes through it. That no two gates stand before one host is its owner's care, unless they
have `Turns` in common: then their requests take turns as if they passed through one. Clocks and waiting are asyncio's
own; nothing here sends.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from stages.fetch.faults import Fault

FIRST_WAIT = 2.0
"""In delays of the host: after the first trouble, doubled with each that follows without a success between."""
FAULTS_IN_A_ROW = 12
"""Connections that fail one after the other until a host is left alone."""

LEASE_SECONDS = 30.0
"""After which a turn that nobody asks for any more has ended: whoever had it has died."""
_RENEWALS = 3
"""Of a turn, in the time of its lease."""
_AT_ONCE = 0.01
"""Seconds: what two clocks may differ by; so short a wait need not be asked for again."""


class Turns(Protocol):
    """What gates before the same host in other processes agree by. Times are seconds."""

    async def ask(self, host: str, ticket: str, at_once: int, delay: float, lease: float) -> tuple[bool, float]:
        """For a turn: (True, until it begins), or (False, until one may ask again). To ask again with the ticket of a
        turn that was given prolongs it by `lease`, after which it ends by itself.
        """

    def leave(self, host: str, ticket: str, delay: float) -> None:
        """The turn has ended, or is not wanted any more; the next may begin after `delay`. Waits for nothing."""

    def hold_off(self, host: str, seconds: float) -> None:
        """No turn begins for so long. Waits for nothing."""


class Alone:
    """The turns of a gate that shares its host with nobody."""

    async def ask(self, host: str, ticket: str, at_once: int, delay: float, lease: float) -> tuple[bool, float]:
        return True, 0.0

    def leave(self, host: str, ticket: str, delay: float) -> None:
        pass

    def hold_off(self, host: str, seconds: float) -> None:
        pass


def retry_after(value: str, today: float) -> float:
    """Seconds that a Retry-After (RFC 9110, section 10.2.3) asks for, as a number or a date; nonsense asks for none."""
    if (seconds := whole_number(value)) is not None:
        return float(seconds)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - today)
    except (ValueError, OverflowError):
        return 0.0


def whole_number(text: str) -> int | None:
    """The number that a header field says; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


@dataclass(frozen=True, slots=True)
class Manners:
    """What a host is spared. Times are seconds; requests count those for robots.txt, and those made `already`."""

    delay: float
    at_once: int
    longest_delay: float
    """Of a robots.txt's Crawl-delay; a longer one is taken for this."""
    longest_wait: float
    """That a server may ask for; one that asks for more is not asked again."""
    requests: int
    seconds: float


class Allowance:
    """Requests that all hosts together may still cost; None: as many as they like."""

    def __init__(self, requests: int | None) -> None:
        self._left = requests

    def take(self) -> None:
        """Use one. Raises Fault where none is left."""
        if self._left is not None:
            if self._left <= 0:
                raise Fault("job_budget_spent")
            self._left -= 1


class Gate:
    """One host's turns. Requests start at least `delay` after the one before them started, and after it ended."""

    def __init__(
        self, host: str, manners: Manners, allowance: Allowance, already: int = 0, turns: Turns | None = None
    ) -> None:
        self.host, self._manners, self._allowance = host, manners, allowance
        self._turns = turns or Alone()
        self._asking: set[str] = set()
        self._places = asyncio.Semaphore(manners.at_once)
        self._jitter = random.Random(host)
        self._delay = manners.delay
        self._next = 0.0
        self._resumes = 0.0
        self._since: float | None = None
        self._troubles = self._faults = 0
        self.closed: str | None = None
        """The reason for which no request may go any more."""
        self.requests = already

    @property
    def rest(self) -> float:
        """Seconds for which the host is still left in peace, after trouble."""
        return max(0.0, self._resumes - asyncio.get_running_loop().time())

    def go_on(self, rest: float, closed: str | None) -> None:
        """Begin where an earlier gate of the host left off. rest: seconds, if any are left; of more than `longest_wait`
        a clock must have gone wrong, since who asks for that is not asked again.
        """
        self.closed = closed
        if rest > 0:
            self._pause(min(rest, self._manners.longest_wait))

    def slow_down(self, delay: float | None) -> None:
        """Take a Crawl-delay into account."""
        self._delay = max(self._delay, min(delay or 0.0, self._manners.longest_delay))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one request may go, and be in it. Raises Fault where none may go any more."""
        loop, ticket = asyncio.get_running_loop(), secrets.token_hex(8)
        async with self._places:
            try:
                while (wait := await self._wait(ticket)) > 0:
                    self._check(loop.time() + wait)
                    await asyncio.sleep(wait)
                self._check(loop.time())
                self._allowance.take()
                self.requests += 1
                self._next = loop.time() + self._delay
                renewing = asyncio.create_task(self._renew(ticket))
                try:
                    yield
                finally:
                    renewing.cancel()
                    self._next = max(self._next, loop.time() + self._delay)
            finally:
                if ticket in self._asking:
                    self._asking.remove(ticket)
                    self._turns.leave(self.host, ticket, self._delay)

    async def _wait(self, ticket: str) -> float:
        """Seconds until one may look again whether it is one's turn; 0 when it is."""
        if (wait := self._own_wait()) > 0:
            return wait
        self._check(asyncio.get_running_loop().time())
        given, wait = await self._ask(ticket)
        if not given or wait > _AT_ONCE:
            return max(wait, _AT_ONCE)
        if wait > 0:
            await asyncio.sleep(wait)
        return max(0.0, self._own_wait())  # another coroutine may have been here while this one asked

    def _own_wait(self) -> float:
        return max(self._next, self._resumes) - asyncio.get_running_loop().time()

    async def _ask(self, ticket: str) -> tuple[bool, float]:
        self._asking.add(ticket)
        return await self._turns.ask(self.host, ticket, self._manners.at_once, self._delay, LEASE_SECONDS)

    async def _renew(self, ticket: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / _RENEWALS)
            await self._ask(ticket)

    def went_well(self) -> None:
        """The host answered like one that minds nothing."""
        self._troubles = self._faults = 0

    def went_wrong(self, fault: Fault) -> None:
        """Pause for all requests to the host: at least as long as it asks for, longer each time."""
        growing = self._delay * FIRST_WAIT * 2.0 ** min(self._troubles, 30)
        wait = max(fault.wait, min(growing * self._jitter.uniform(1.0, 1.5), self._manners.longest_wait))
        self._troubles += 1
        self._faults += fault.status is None
        if fault.wait > self._manners.longest_wait:
            self.closed = "host_refuses"
        elif self._faults >= FAULTS_IN_A_ROW:
            self.closed = "host_unreachable"
        self._pause(wait)

    def _pause(self, seconds: float) -> None:
        self._resumes = max(self._resumes, asyncio.get_running_loop().time() + seconds)
        self._turns.hold_off(self.host, seconds)

    def _check(self, when: float) -> None:
        self._since = when if self._since is None else self._since
        if self.closed is not None:
            raise Fault(self.closed)
        if self.requests >= self._manners.requests:
            raise Fault("host_budget_spent")
        if when - self._since > self._manners.seconds:
            raise Fault("host_time_spent")
