"""Request budgets: when may the next request go, and who must wait because a server asked for it.

Bookkeeping only: nothing here sends or waits by itself. `data.commoncrawl.org` answers 403 or 503 to clients that
hurry and blocks those that insist, so a cluster shares ONE budget for each host: `LocalBudget` among threads, the
engine's among processes, and `pipeline.engine.doorkeeper` among jobs.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

CAP = "CRAWLMILL_MAX_REQUESTS_PER_SECOND"
"""Environment variable: what the operator allows any job, whatever the job says."""
_PORTS = {"http": 80, "https": 443}


class Budget(Protocol):
    """The run's budget. A client reserves, sleeps so long, and reserves anew when there is a pause by then."""

    def reserve(self) -> float:
        """Take the next free slot; seconds until it comes."""

    def pause(self, seconds: float) -> None:
        """Nobody shall send anything for so many seconds from now."""

    def paused(self) -> float:
        """Seconds that a pause still lasts; 0 when there is none."""


class RequestBudget:
    """Slots `1 / per_second` seconds apart, none inside a pause. Times are seconds on a clock that never goes back."""

    def __init__(self, per_second: float) -> None:
        self._gap = gap(per_second)
        self._next = -math.inf
        self._resumes = -math.inf

    def reserve(self, now: float) -> float:
        """Book a slot; seconds until it comes. A slot that is not used is lost, never saved up into a burst."""
        slot = self.earliest(now)
        self.book(slot, self._gap)
        return slot - now

    def earliest(self, now: float) -> float:
        """When the next slot is."""
        return max(now, self._next, self._resumes)

    def book(self, slot: float, gap: float) -> None:
        """Take the slot; the next one is `gap` seconds after it: of who makes more haste, or less, than the others."""
        self._next = max(self._next, slot + gap)

    def pause(self, until: float) -> None:
        """No slot before `until`. A shorter pause never cuts a longer one.

        Slots booked before may fall into the pause: who sleeps towards one asks `paused` on waking and books anew.
        """
        self._resumes = max(self._resumes, until)

    def paused(self, now: float) -> float:
        """Seconds that a pause still lasts."""
        return max(0.0, self._resumes - now)


class LocalBudget:
    """A budget for the threads of one process."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock, self._lock = RequestBudget(per_second), clock, threading.Lock()

    def reserve(self) -> float:
        with self._lock:
            return self._budget.reserve(self._clock())

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._budget.pause(self._clock() + seconds)

    def paused(self) -> float:
        with self._lock:
            return self._budget.paused(self._clock())


def gap(per_second: float) -> float:
    """Seconds between two requests. Raises ValueError."""
    if not (math.isfinite(per_second) and per_second > 0):
        raise ValueError(f"requests_per_second: {per_second} is not a number above 0")
    return 1 / per_second


def allowed(per_second: float) -> float:
    """No more than the operator's cap in the environment, where there is one. Raises ValueError."""
    cap = os.environ.get(CAP, "").strip()
    if not cap:
        return per_second
    try:
        gap(float(cap))
    except ValueError as error:
        raise ValueError(f"{CAP}: {cap!r} is not a number above 0") from error
    return min(per_second, float(cap))


def hosts_among(places: Iterable[str]) -> tuple[str, ...]:
    """What budgets are kept for: scheme, host and port of those places that are http:// or https:// URLs, each once."""
    found = set()
    for place in places:
        url = urlsplit(place) if place.startswith(("http://", "https://")) else None
        if url is not None and url.hostname:
            found.add(f"{url.scheme}://{url.hostname.rstrip('.')}:{url.port or _PORTS[url.scheme]}")
    return tuple(sorted(found))


def take_turn(budget: Budget, sleep: Callable[[float], None]) -> None:
    """Return when one request may go, sleeping through the queue and through pauses that began meanwhile."""
    while (wait := budget.reserve()) > 0:
        sleep(wait)
        if budget.paused() <= 0:
            return
