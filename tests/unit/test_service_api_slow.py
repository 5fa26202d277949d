"""Turns of what takes its time: nobody holds up the others."""

from __future__ import annotations

import threading

import anyio
import pytest

from pipeline.service.api.problems import Problem
from pipeline.service.api.slow import MOST, MOST_OF_ONE, Slow, Turns
from pipeline.service.tokens import Caller, Role

MIRA, OTTO = (Caller(name, "web", Role.SUBMIT) for name in ("mira", "otto"))


def callers(number: int) -> list[Caller]:
    return [Caller(f"c{n}", "web", Role.SUBMIT) for n in range(number)]


async def waiting(group: anyio.abc.TaskGroup, turns: Turns, some: list[Caller], over: threading.Event) -> None:
    """Have callers begin, or wait for, what goes on until it is over."""

    async def wait(caller: Caller) -> None:
        await turns.take(caller, over.wait)

    for caller in some:
        group.start_soon(wait, caller)
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("kind", ["checks", "plans", "searches"])
def test_a_caller_holds_up_nobody_else(kind: str) -> None:
    async def main() -> None:
        slow, over = Slow(), threading.Event()
        turns: Turns = getattr(slow, kind)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                await waiting(group, turns, [MIRA] * MOST_OF_ONE, over)
                assert await turns.take(OTTO, lambda: 7) == 7
                with pytest.raises(Problem, match="at once; try again"):
                    await turns.take(MIRA, lambda: 7)
                over.set()
            assert await turns.take(MIRA, lambda: 7) == 7

    anyio.run(main)


def test_a_kind_holds_up_no_other() -> None:
    async def main() -> None:
        slow, over = Slow(), threading.Event()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                await waiting(group, slow.plans, callers(MOST), over)
                with pytest.raises(Problem, match="at once; try again"):
                    await slow.plans.take(OTTO, lambda: 7)
                assert await slow.checks.take(OTTO, lambda: 7) == await slow.searches.take(OTTO, lambda: 7) == 7
                over.set()

    anyio.run(main)


def test_what_fails_gives_its_turn_back() -> None:
    async def main() -> None:
        turns = Turns(1, 1)
        for _ in range(MOST_OF_ONE + 1):
            with pytest.raises(ZeroDivisionError):
                await turns.take(MIRA, lambda: 1 // 0)

    anyio.run(main)
