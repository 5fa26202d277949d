"""What all jobs of a cluster agree on before they ask a host for anything: the budget of requests, and whose turn.

Bookkeeping only, in the memory of one process (`pipeline.engine.ray` makes it an actor that outlives the jobs). Should
that process die with its node, what was booked is forgotten: the next requests go a little too soon, once. Hosts of
sources have budgets (`pipeline.budget`), hosts of refetched documents have turns (`stages.fetch.politeness.Turns`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.budget import RequestBudget, gap

GRACE_SECONDS = 2.0
"""Whoever was told to come again, and is later than that, has lost its place in the queue."""
LEAST_WAIT, MOST_WAIT = 0.05, 1.0
"""Until one asks again whether a turn has ended."""
SWEEP_EVERY = 1_000
IDLE_SECONDS = 3600.0
"""After which a host is forgotten: longer than any delay between two requests (`Refetch.max_crawl_delay`)."""


@dataclass
class _Door:
    """One host. Times are seconds on the doorkeeper's clock."""

    inside: dict[str, float] = field(default_factory=dict)
    """Turns that have been given, and when they end by themselves."""
    queue: dict[str, float] = field(default_factory=dict)
    """Who waits, first come first, and until when they are waited for."""
    last: float = -math.inf
    """When the last request began or ended."""
    next: float = -math.inf
    """The delay of whoever made it is over."""
    resumes: float = -math.inf


class Doorkeeper:
    """All methods return at once: what they say is how long to wait. Hosts and tickets are any strings."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._budgets: dict[str, RequestBudget] = {}
        self._doors: dict[str, _Door] = {}
        self._asked = 0

    def reserve(self, hosts: Sequence[str], per_second: float) -> float:
        """Take the next slot that is free at all these hosts; seconds until it comes.

        The next one is `1 / per_second` after it, whoever takes that: so a host never sees more than the fastest of
        its jobs may send, and no job sends more than it may.
        """
        now, budgets = self._clock(), [self._budget(host, per_second) for host in hosts]
        slot = max(budget.earliest(now) for budget in budgets)
        for budget in budgets:
            budget.book(slot, gap(per_second))
        return slot - now

    def pause(self, hosts: Sequence[str], seconds: float) -> None:
        """Nobody shall send these hosts anything for so many seconds."""
        for host in hosts:
            self._budget(host, 1.0).pause(self._clock() + seconds)

    def paused(self, hosts: Sequence[str]) -> float:
        """Seconds that a pause of any of these hosts still lasts."""
        return max(self._budget(host, 1.0).paused(self._clock()) for host in hosts)

    def ask(self, host: str, ticket: str, at_once: int, delay: float, lease: float) -> tuple[bool, float]:
        """For a turn at a host: (True, seconds until it begins), or (False, seconds until one may ask again).

        A turn ends when it is left, or by itself `lease` seconds after it began or was last asked for. at_once: turns
        that there may be together, in the eyes of who asks; delay: seconds from the last request until this one.
        """
        now, door = self._clock(), self._door(host)
        if ticket in door.inside:
            begins = max(now, door.resumes)
            door.inside[ticket] = begins + lease
            return True, begins - now
        if len(door.inside) < at_once and next(iter(door.queue), ticket) == ticket:
            door.queue.pop(ticket, None)
            begins = max(now, door.next, door.last + delay, door.resumes)
            door.last, door.next = begins, begins + delay
            door.inside[ticket] = begins + lease
            return True, begins - now
        wait = max(door.next - now, door.resumes - now, min(max(delay / 2, LEAST_WAIT), MOST_WAIT))
        door.queue[ticket] = now + wait + GRACE_SECONDS
        return False, wait

    def leave(self, host: str, ticket: str, delay: float) -> None:
        """The turn has ended: the next one begins `delay` later at the soonest."""
        now, door = self._clock(), self._door(host)
        door.queue.pop(ticket, None)
        if door.inside.pop(ticket, None) is not None:
            door.last, door.next = max(door.last, now), max(door.next, now + delay)

    def hold_off(self, host: str, seconds: float) -> None:
        """No turn at this host begins for so many seconds."""
        door = self._door(host)
        door.resumes = max(door.resumes, self._clock() + seconds)

    def _budget(self, host: str, per_second: float) -> RequestBudget:
        return self._budgets.setdefault(host, RequestBudget(per_second))

    def _door(self, host: str) -> _Door:
        now = self._clock()
        self._asked += 1
        if self._asked % SWEEP_EVERY == 0:
            self._doors = {
                name: door
                for name, door in self._doors.items()
                if max(door.next, door.resumes, *door.inside.values(), *door.queue.values()) + IDLE_SECONDS > now
            }
        door = self._doors.setdefault(host, _Door())
        door.inside = {ticket: ends for ticket, ends in door.inside.items() if ends > now}
        door.queue = {ticket: until for ticket, until in door.queue.items() if until > now}
        return door
