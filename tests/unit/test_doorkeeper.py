"""What jobs agree on before they ask a host: budgets, turns, and gates in several processes that act as one."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pipeline.budget import CAP, allowed, hosts_among
from pipeline.engine import EngineError
from pipeline.engine.doorkeeper import GRACE_SECONDS, IDLE_SECONDS, SWEEP_EVERY, Doorkeeper
from pipeline.engine.inline import InlineEngine
from stages.fetch.faults import Fault
from stages.fetch.politeness import Allowance, Gate, Manners

A, B = "https://data.commoncrawl.org:443", "http://mirror.example:8080"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(clock: Clock) -> Doorkeeper:
    return Doorkeeper(clock)


def test_jobs_share_the_budget_of_a_host_and_each_keeps_its_own_rate(keeper: Doorkeeper) -> None:
    slots = [keeper.reserve([A], rate) for rate in (4, 1, 4, 4)]
    assert slots == [0.0, 0.25, 1.25, 1.5], "a slot is as far from the next as its job's rate says"
    assert keeper.reserve([B], 4) == 0.0, "another host is another budget"
    assert keeper.reserve([A, B], 1) == 1.75, "free at both"
    assert keeper.reserve([B], 4) == 2.75


def test_a_pause_holds_for_all_jobs_of_the_host(keeper: Doorkeeper, clock: Clock) -> None:
    keeper.pause([A], 30)
    keeper.pause([A], 10)
    assert keeper.paused([B, A]) == 30
    assert keeper.paused([B]) == 0
    clock.now += 12
    assert keeper.reserve([A], 1) == 18


def test_a_turn_begins_after_the_delay_of_both_jobs(keeper: Doorkeeper, clock: Clock) -> None:
    assert keeper.ask("h", "slow", 1, 5.0, 30) == (True, 0.0)
    given, wait = keeper.ask("h", "fast", 1, 1.0, 30)
    assert (given, wait) == (False, 5.0)
    clock.now += 2
    keeper.leave("h", "slow", 5.0)
    assert keeper.ask("h", "fast", 1, 1.0, 30) == (True, 5.0)
    clock.now += 6
    keeper.leave("h", "fast", 1.0)
    assert keeper.ask("h", "slow", 1, 5.0, 30) == (True, 5.0)
    assert keeper.ask("other", "fast", 1, 1.0, 30) == (True, 0.0)


def test_turns_together_are_no_more_than_who_asks_wants(keeper: Doorkeeper, clock: Clock) -> None:
    assert keeper.ask("h", "a", 2, 0.5, 30) == (True, 0.0)
    assert keeper.ask("h", "b", 2, 0.5, 30) == (True, 0.5)
    clock.now += 5
    assert not keeper.ask("h", "c", 2, 0.5, 30)[0]
    keeper.leave("h", "a", 0.5)
    assert not keeper.ask("h", "alone", 1, 0.5, 30)[0], "wants the host for itself"
    clock.now += 0.5
    assert keeper.ask("h", "c", 2, 0.5, 30) == (True, 0.0)


def test_a_turn_whose_holder_died_ends_by_itself_and_one_that_is_asked_for_goes_on(
    keeper: Doorkeeper, clock: Clock
) -> None:
    keeper.ask("h", "dead", 1, 1.0, 30)
    clock.now += 29
    assert not keeper.ask("h", "next", 1, 1.0, 30)[0]
    clock.now += 2
    assert keeper.ask("h", "next", 1, 1.0, 30) == (True, 0.0)
    for _ in range(10):
        clock.now += 20
        assert keeper.ask("h", "next", 1, 1.0, 30) == (True, 0.0)
        assert not keeper.ask("h", "other", 1, 1.0, 30)[0]


def test_the_queue_is_served_in_order_and_waits_for_nobody_long(keeper: Doorkeeper, clock: Clock) -> None:
    keeper.ask("h", "holder", 1, 1.0, 30)
    for ticket in ("first", "second"):
        assert keeper.ask("h", ticket, 1, 1.0, 30) == (False, 1.0)
    keeper.leave("h", "holder", 1.0)
    clock.now += 1
    assert not keeper.ask("h", "second", 1, 1.0, 30)[0]
    assert keeper.ask("h", "first", 1, 1.0, 30) == (True, 0.0)
    keeper.leave("h", "first", 1.0)
    keeper.ask("h", "late", 1, 1.0, 30)
    clock.now += 1 + GRACE_SECONDS + 0.1  # neither of those who wait comes again
    assert keeper.ask("h", "newcomer", 1, 1.0, 30) == (True, 0.0)


def test_to_hold_off_moves_turns_that_have_not_begun(keeper: Doorkeeper, clock: Clock) -> None:
    keeper.ask("h", "a", 1, 2.0, 30)
    keeper.leave("h", "a", 2.0)
    assert keeper.ask("h", "b", 1, 2.0, 30) == (True, 2.0)
    keeper.hold_off("h", 60)
    clock.now += 2
    assert keeper.ask("h", "b", 1, 2.0, 30) == (True, 58.0)
    assert keeper.ask("h", "c", 1, 2.0, 30) == (False, 58.0)


def test_hosts_that_nobody_asks_for_any_more_are_forgotten(keeper: Doorkeeper, clock: Clock) -> None:
    for n in range(SWEEP_EVERY // 2):
        keeper.ask(f"host-{n}", "t", 1, 1.0, 30)
        keeper.leave(f"host-{n}", "t", 1.0)
    clock.now += IDLE_SECONDS + 60
    for _ in range(SWEEP_EVERY):
        keeper.ask("alive", "t", 1, 1.0, 30)
    assert set(keeper._doors) == {"alive"}


class Here:
    """`Turns` at a doorkeeper of this process."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self.asked = 0
        self.leave, self.hold_off = keeper.leave, keeper.hold_off

    async def ask(self, host: str, ticket: str, at_once: int, delay: float, lease: float) -> tuple[bool, float]:
        self.asked += 1
        await asyncio.sleep(0.001)  # the way to another process
        return self._keeper.ask(host, ticket, at_once, delay, lease)


def requests(gates: list[Gate], each: int, seconds: float) -> list[tuple[float, float]]:
    """When requests of several jobs began and ended, in order."""
    log: list[tuple[float, float]] = []

    async def job(gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(each):
            async with gate.turn():
                came = loop.time()
                await asyncio.sleep(seconds)
                log.append((came, loop.time()))

    async def together() -> None:
        await asyncio.gather(*(job(gate) for gate in gates))

    asyncio.run(together())
    return sorted(log)


def manners(delay: float, at_once: int = 1) -> Manners:
    return Manners(delay, at_once, longest_delay=5.0, longest_wait=5.0, requests=1000, seconds=60.0)


def test_gates_of_several_jobs_act_as_one() -> None:
    turns, delay = Here(Doorkeeper()), 0.04
    gates = [Gate("h", manners(delay), Allowance(None), 0, turns) for _ in range(3)]
    log = requests(gates, each=5, seconds=0.01)
    assert [gate.requests for gate in gates] == [5, 5, 5]
    assert min(later - ended for (_, ended), (later, _) in pairwise(log)) >= delay - 0.001, "one at a time, and apart"


def test_a_lone_job_asks_once_for_a_request() -> None:
    turns = Here(Doorkeeper())
    requests([Gate("h", manners(0.03), Allowance(None), 0, turns)], each=10, seconds=0.0)
    assert 10 <= turns.asked < 20, "once more where the machine was busy for 10 ms between two lines"


@pytest.mark.parametrize(
    ("already", "left", "reason", "asked"), [(0, 0, "job_budget_spent", 1), (1000, None, "host_budget_spent", 0)]
)
def test_who_may_ask_the_host_for_nothing_leaves_the_turn_to_others(
    already: int, left: int | None, reason: str, asked: int
) -> None:
    keeper = Doorkeeper()
    turns = Here(keeper)
    gate = Gate("h", manners(0.01), Allowance(left), already, turns)

    async def refused() -> None:
        with pytest.raises(Fault, match=reason):
            async with gate.turn():
                raise AssertionError("no request may go")

    asyncio.run(refused())
    assert turns.asked == asked
    assert keeper.ask("h", "another", 1, 0.01, 30)[0]


@pytest.mark.parametrize(("cap", "rate"), [("", 5.0), ("2", 2.0), (" 0.5 ", 0.5), ("10", 5.0)])
def test_the_operators_cap(cap: str, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAP, cap)
    assert allowed(5.0) == rate


@pytest.mark.parametrize("cap", ["0", "-1", "nan", "inf", "many"])
def test_a_cap_that_is_none_ends_the_run(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAP, cap)
    with pytest.raises(EngineError, match=f"{CAP}: '{cap}' is not a number above 0"):
        InlineEngine(1.0)


def test_hosts_of_sources() -> None:
    places = ["https://data.commoncrawl.org/x", "https://DATA.commoncrawl.org:443/y", "http://mirror.example:8080/"]
    assert hosts_among([*places, "s3://commoncrawl/x", "/data/x.warc.gz", "file:///x"]) == (B, A)
