"""What takes its time, a few at a time, in threads of its own: checking jobs, planning them, searching a ledger.

Each kind has its own turns, so that plans hold up no submits; and within a kind each caller has a share, so that nobody
holds up the others, not even who asked and hung up: what was begun goes on. Whatever waits here holds no thread of
those that answer everybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import anyio
from anyio import to_thread
from fastapi import Depends, Request

from pipeline.service.api.problems import Problem
from pipeline.service.tokens import Caller

MOST = 36
"""Of a kind, begun or waiting; more than these are asked to come again."""
MOST_OF_ONE = 12

_T = TypeVar("_T")


class Turns:
    """Those of one kind. at_once: of all callers; share: of one."""

    def __init__(self, at_once: int, share: int) -> None:
        self._all, self._share = anyio.CapacityLimiter(at_once), share
        self._own: dict[str, anyio.CapacityLimiter] = {}
        self._here: Counter[str] = Counter()

    async def take(self, caller: Caller, work: Callable[[], _T]) -> _T:
        """What `work` returns. Raises Problem where too many wait already."""
        name = caller.name
        if self._here.total() >= MOST or self._here[name] >= MOST_OF_ONE:
            said = "too many requests of this kind at once; try again in a moment"
            raise Problem(503, said, "busy", {"Retry-After": "5"})
        self._here[name] += 1
        try:
            async with self._own.setdefault(name, anyio.CapacityLimiter(self._share)):
                return await to_thread.run_sync(work, limiter=self._all)
        finally:
            self._here[name] -= 1
            if not self._here[name]:
                del self._here[name], self._own[name]


@dataclass(frozen=True)
class Slow:
    """One for each app: limiters belong to an event loop."""

    checks: Turns = field(default_factory=lambda: Turns(4, 2))
    plans: Turns = field(default_factory=lambda: Turns(2, 1))
    """Each is a process of some gigabytes, for a minute at most."""
    searches: Turns = field(default_factory=lambda: Turns(4, 2))
    """Each keeps the interpreter busy."""
    logs: Turns = field(default_factory=lambda: Turns(4, 2))
    """Each waits for a cluster, which may hang."""


def _turns(request: Request) -> Slow:
    turns = request.app.state.turns
    assert isinstance(turns, Slow)
    return turns


TurnsHere = Annotated[Slow, Depends(_turns)]
