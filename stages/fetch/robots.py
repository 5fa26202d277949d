"""robots.txt as RFC 9309 has it: who may ask for what, read once for each scheme, host and port.

Protego parses and matches. Here is what comes before: how an answer, or none, is understood (2.3.1), which bytes are
read, and that only lines for us or for everybody reach the parser, since a hostile file of thousands of agents and
thousands of rules would make millions of them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

from protego import Protego

from stages.fetch.address import Address
from stages.fetch.client import Answer
from stages.fetch.faults import Fault

AGENT = "crawlmill"
"""Our product token (RFC 9309, 2.2.1)."""
PATH = "/robots.txt"
MOST = 500 * 2**10
"""Bytes that are parsed: what RFC 9309, 2.5, asks for at least."""
REDIRECTS = 5  # RFC 9309, 2.3.1.2
REDIRECT = frozenset({301, 302, 303, 307, 308})
MAX_AGE = 24 * 3600  # RFC 9309, 2.4
_AGENT_LINE = re.compile(r"\s*user(?:-|\s*)agent(?:\s*:|\s)\s*(\*(?=\s*(?:#|$))|[a-z_-]*)", re.IGNORECASE)

Ask = Callable[[Address, int], Awaitable[Answer | Fault]]
"""Sends a GET with the host's manners, again where that helps; takes the address and the most bytes to read."""


@dataclass(frozen=True)
class Robots:
    """What one origin's robots.txt comes to. `reason`: why nothing there may be asked, if nothing may."""

    origin: str
    fetched_at: float
    """Seconds since 1970."""
    rules: str = ""
    reason: str | None = None
    status: int | None = None

    @property
    def verdict(self) -> str:
        """`rules`, `none` (everything may be asked) or `unreachable` (nothing)."""
        return "unreachable" if self.reason else "rules" if self.rules else "none"

    def allows(self, address: Address) -> bool:
        """Whether an address of this origin may be asked."""
        return self.reason is None and self._parsed.can_fetch(address.url, AGENT)

    @property
    def crawl_delay(self) -> float | None:
        """Seconds between requests that the file asks of us (no part of RFC 9309, and widely used)."""
        return self._parsed.crawl_delay(AGENT)

    @cached_property
    def _parsed(self) -> Protego:
        return Protego.parse(self.rules)


async def read_robots(origin: Address, ask: Ask, now: float) -> Robots:
    """Fetch and understand the robots.txt of an address's origin, over five redirects, also to other hosts."""
    address: Address | None = origin.at(PATH)
    answer: Answer | Fault = Fault("bad_redirect")
    for _ in range(REDIRECTS + 1):
        if address is None:
            break
        answer = await ask(address, MOST)
        if isinstance(answer, Fault) or answer.status not in REDIRECT or "location" not in answer.headers:
            return _understood(origin.origin, answer, now)
        address = address.followed(answer.headers["location"])
    else:
        return Robots(origin.origin, now)  # more redirects: "unavailable", 2.3.1.2
    return _understood(origin.origin, Fault("bad_redirect"), now)


def _understood(origin: str, answer: Answer | Fault, now: float) -> Robots:
    status = answer.status
    if isinstance(answer, Answer) and answer.body is not None:
        with answer.body as body:
            return Robots(origin, now, rules_for_us(body.read()), status=status)
    # "Unavailable", 2.3.1.3; but who was told to slow down, to the last try, is not told to go on.
    if status is not None and 400 <= status < 500 and status != 429:
        return Robots(origin, now, status=status)
    reason = answer.reason if isinstance(answer, Fault) and answer.reason in _OWN else "robots_unreachable"
    return Robots(origin, now, reason=reason, status=status)  # "unreachable", 2.3.1.4


_OWN = frozenset(
    {"private_address", "bad_port", "host_refuses", "host_unreachable", "host_budget_spent", "host_time_spent"}
    | {"job_budget_spent"}
)
"""Faults that would have met the page as well, and say more."""


def rules_for_us(data: bytes) -> str:
    """The text of a robots.txt with all other agents made one. What is no text has no lines that mean anything."""
    if len(data) >= MOST:
        data = data[: data.rfind(b"\n") + 1] or data  # a rule that is cut in the middle would be another rule
    return "\n".join(map(_simplified, data.decode("utf-8-sig", "replace").splitlines()))


def _simplified(line: str) -> str:
    found = _AGENT_LINE.match(line)
    if found is None:
        return line
    agent = found[1].lower()
    return f"User-agent: {agent if agent in ('*', AGENT) else 'other'}"
