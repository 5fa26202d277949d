"""The doorkeeper as other processes of the cluster see it: the job's budget, and the turns of its gates.

`keeper` is an actor's handle, whose methods answer with references; to wait for one is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast


class SharedBudget:
    """`pipeline.budget.Budget` for some hosts, at up to so many requests per second."""

    def __init__(self, keeper: Any, get: Callable[[Any], Any], hosts: Sequence[str], per_second: float) -> None:
        self._keeper, self._get, self._hosts, self._per_second = keeper, get, hosts, per_second

    def reserve(self) -> float:
        return float(self._get(self._keeper.reserve.remote(self._hosts, self._per_second)))

    def pause(self, seconds: float) -> None:
        self._get(self._keeper.pause.remote(self._hosts, seconds))

    def paused(self) -> float:
        return float(self._get(self._keeper.paused.remote(self._hosts)))


class SharedTurns:
    """`stages.fetch.politeness.Turns`. One call is waited for when a turn begins, none when it ends."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    async def ask(self, host: str, ticket: str, at_once: int, delay: float, lease: float) -> tuple[bool, float]:
        return cast(tuple[bool, float], await self._keeper.ask.remote(host, ticket, at_once, delay, lease))

    def leave(self, host: str, ticket: str, delay: float) -> None:
        self._keeper.leave.remote(host, ticket, delay)

    def hold_off(self, host: str, seconds: float) -> None:
        self._keeper.hold_off.remote(host, seconds)
