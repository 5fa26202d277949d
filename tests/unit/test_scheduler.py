"""What is due, as a table, and as properties of any history: crashes, failures, clocks that jump."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.service.scheduling.cron import Cron, check_cron
from pipeline.service.scheduling.scheduler import (
    Again,
    EverySnapshot,
    Run,
    RunState,
    Schedule,
    Snapshot,
    Start,
    Wait,
    crawl_order,
    decide,
    instant_of,
    occasion_of,
)
from pipeline.spec import JobError

MADE = datetime(2026, 11, 1, tzinfo=UTC)
BASE = "https://index.example/"
DAILY = Cron("0 6 * * *")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def schedule(trigger: Cron | EverySnapshot = DAILY, **fields: Any) -> Schedule:
    given: dict[str, Any] = {"since": MADE, "catch_up": False, "retries": 2, "retry_seconds": 3600, "paused": False}
    return Schedule("s", trigger, **{**given, **fields})


def run(occasion: str, state: str = "complete", attempts: int = 1, ended: datetime | None = MADE) -> Run:
    return Run("s", occasion, RunState(state), attempts, ended)


def seen(*ids: str, at: datetime | None = MADE + HOUR, base: str = BASE) -> list[Snapshot]:
    return [Snapshot(base, each, at) for each in ids]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def decided(now: datetime, rule: Schedule, runs: list[Run] = [], snapshots: list[Snapshot] = []) -> Any:  # noqa: B006
    found = decide(now, [rule], runs, snapshots)
    assert len(found) <= 1
    if not found:
        return None
    return found[0].occasion if isinstance(found[0], Start) else found[0]


@pytest.mark.parametrize(
    "now, fields, runs, expected",
    [
        ("2026-11-01T05:59:59", {}, [], None),
        ("2026-11-01T06:00:00", {}, [], "2026-11-01T06:00:00Z"),
        ("2026-11-05T05:00:00", {}, [], "2026-11-04T06:00:00Z"),
        ("2026-11-05T05:00:00", {"catch_up": True}, [], "2026-11-01T06:00:00Z"),
        ("2026-11-05T05:00:00", {"paused": True}, [], None),
        ("2026-11-05T05:00:00", {}, [run("2026-11-04T06:00:00Z")], None),
        ("2026-11-05T05:00:00", {"catch_up": True}, [run("2026-11-01T06:00:00Z")], "2026-11-02T06:00:00Z"),
        ("2026-11-05T05:00:00", {"catch_up": True}, [run("2026-11-01T06:00:00Z", "skipped")], "2026-11-02T06:00:00Z"),
        ("2026-11-05T05:00:00", {"since": at("2026-11-04T06:00:00")}, [], None),
        # one at a time, whatever comes after
        ("2026-11-05T07:00:00", {}, [run("2026-11-01T06:00:00Z", "active", ended=None)], None),
        # what waits for a person holds up what builds on it, and nothing else
        ("2026-11-05T07:00:00", {"catch_up": True}, [run("2026-11-01T06:00:00Z", "waiting")], None),
        ("2026-11-05T07:00:00", {}, [run("2026-11-01T06:00:00Z", "waiting")], "2026-11-05T06:00:00Z"),
        # the clock was set back
        ("2026-11-05T05:00:00", {}, [run("2026-11-05T06:00:00Z")], None),
        ("2026-11-05T07:00:00", {}, [run("2036-11-05T06:00:00Z")], "2026-11-05T06:00:00Z"),
    ],
)
def test_instants(now: str, fields: dict[str, Any], runs: list[Run], expected: str | None) -> None:
    assert decided(at(now), schedule(**fields), runs) == expected


ENDED = at("2026-11-02T00:00:00")
LATER = at("2026-11-20T00:00:00")


@pytest.mark.parametrize(
    "attempts, now, fields, expected",
    [
        (1, ENDED + HOUR - timedelta(seconds=1), {}, None),
        (1, ENDED + HOUR, {}, Again),
        (2, ENDED + HOUR, {}, None),
        (2, ENDED + 2 * HOUR, {}, Again),
        (3, ENDED, {}, Wait),
        (1, ENDED, {"retries": 0}, Wait),
        (15, ENDED + DAY, {"retries": 20}, Again),  # no longer than a day
        (1, ENDED + 2 * DAY, {"retry_seconds": 3 * 86_400}, None),  # unless it was asked for
        (1, ENDED - 3 * 365 * DAY, {}, Again),  # it ended by a wrong clock
        (1, LATER, {"paused": True}, None),
    ],
)
def test_a_failed_run(attempts: int, now: datetime, fields: dict[str, Any], expected: type | None) -> None:
    failed = run("2026-11-01T06:00:00Z", "failed", attempts, ENDED)
    found = decided(now, schedule(**fields), [failed])
    assert found == (None if expected is None else expected(failed))


LIST = seen("CC-MAIN-2026-30", "CC-MAIN-2012", "CC-MAIN-2009-2010", at=None)
NEW = seen("CC-MAIN-2026-43", "CC-MAIN-2026-38")


@pytest.mark.parametrize(
    "trigger, fields, runs, expected",
    [
        ({}, {}, [], "CC-MAIN-2026-43"),
        ({}, {"catch_up": True}, [], "CC-MAIN-2026-38"),
        ({}, {"catch_up": True}, [run("CC-MAIN-2026-38")], "CC-MAIN-2026-43"),
        ({}, {"catch_up": True}, [run("CC-MAIN-2026-43")], "CC-MAIN-2026-38"),  # listed late
        ({}, {}, [run("CC-MAIN-2026-43")], None),  # the older is passed over
        ({}, {"since": MADE + 2 * HOUR}, [], None),
        ({"since": "all"}, {"catch_up": True}, [], "CC-MAIN-2009-2010"),
        ({"since": "all"}, {"catch_up": True}, [run("CC-MAIN-2009-2010")], "CC-MAIN-2012"),
        ({"since": "CC-MAIN-2026-30"}, {"catch_up": True}, [], "CC-MAIN-2026-30"),
        ({"since": "CC-MAIN-2026-31"}, {"catch_up": True}, [], "CC-MAIN-2026-38"),
        ({"since": "CC-MAIN-2026-47"}, {"catch_up": True}, [], None),
        ({}, {"catch_up": True}, [run("CC-MAIN-2026-38", "waiting")], None),
        ({}, {}, [run("CC-MAIN-2026-38", "waiting")], "CC-MAIN-2026-43"),
    ],
)
def test_snapshots(trigger: dict[str, Any], fields: dict[str, Any], runs: list[Run], expected: str | None) -> None:
    rule = schedule(EverySnapshot(BASE, **trigger), **fields)
    assert decided(LATER, rule, runs, LIST + NEW) == expected
    assert decided(LATER, rule, runs, list(reversed(LIST + NEW))) == expected
    assert decided(LATER, rule, runs, seen("CC-MAIN-2026-99", base="https://other.example/")) is None


def test_schedules_do_not_look_at_each_other() -> None:
    rules = [replace(schedule(), id=name) for name in "abc"]
    runs = [Run("b", "2026-11-19T06:00:00Z", RunState.ACTIVE, 1, None)]
    assert decide(LATER, rules, runs, []) == [Start("a", "2026-11-19T06:00:00Z"), Start("c", "2026-11-19T06:00:00Z")]


def test_a_year_of_minutes_is_no_work() -> None:
    each_minute = schedule(Cron("* * * * *", "Europe/Berlin"), since=MADE - 366 * DAY)
    steps = 0
    now = MADE + timedelta(seconds=30)
    runs: list[Run] = []
    while (occasion := decided(now, each_minute, runs)) is not None:
        runs, steps = [run(occasion)], steps + 1
    assert (steps, runs[0].occasion) == (1, "2026-11-01T00:00:00Z")


@dataclass
class World:
    """Schedules carried out by the book, and by a server that looks when it happens to be alive."""

    rule: Schedule
    runs: dict[str, Run] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)

    def look(self, now: datetime) -> bool:
        found = decide(now, [self.rule], list(self.runs.values()), self.snapshots)
        assert len(found) <= 1
        for decision in found:
            if isinstance(decision, Start):
                assert decision.occasion not in self.runs, "twice"
                assert all(each.state != RunState.ACTIVE for each in self.runs.values()), "two at once"
                self.runs[decision.occasion] = Run("s", decision.occasion, RunState.ACTIVE, 1, None)
                self.begun.append(decision.occasion)
            elif isinstance(decision, Again):
                before = decision.run
                self.runs[before.occasion] = replace(before, state=RunState.ACTIVE, attempts=before.attempts + 1)
            else:
                self.runs[decision.run.occasion] = replace(decision.run, state=RunState.WAITING)
        return bool(found)

    def end(self, now: datetime, *, well: bool) -> None:
        state = RunState.COMPLETE if well else RunState.FAILED
        for occasion, each in self.runs.items():
            if each.state == RunState.ACTIVE:
                self.runs[occasion] = replace(each, state=state, ended_at=now)

    def drain(self, now: datetime) -> None:
        """Until there is nothing left to do, everything going well from now on."""
        for _ in range(10_000):
            self.end(now, well=True)
            if not self.look(now) and all(each.state != RunState.ACTIVE for each in self.runs.values()):
                return
        raise AssertionError("it never ends")


EXPRESSIONS = ["0 6 * * *", "*/20 * * * *", "30 2 * * *", "0 0-5 * * MON", "15 2,3 * * *"]
ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kolkata"]
crons = st.builds(Cron, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES))
starts = st.sampled_from(
    [at("2026-03-28T20:00"), at("2026-10-24T20:00"), at("2026-03-07T20:00"), at("2026-06-01T00:00")]
)
moments = st.lists(st.integers(1, 8 * 60), min_size=1, max_size=12)
ends = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(crons, starts, moments, ends)
def test_caught_up_in_order_whenever_a_server_was_alive(
    cron: Cron, begin: datetime, waits: list[int], how: list[Any]
) -> None:
    world = World(schedule(cron, since=begin, catch_up=True, retries=100, retry_seconds=60))
    now = begin
    for wait, well in zip(waits, itertools.cycle(how)):
        now += timedelta(minutes=wait)
        world.look(now)
        if well is not None:
            world.end(now, well=well)
    now += 2 * DAY
    world.drain(now)
    every = list(itertools.takewhile(lambda each: each <= now, chain(cron, begin)))
    assert [instant_of(occasion) for occasion in world.begun] == every


@settings(max_examples=150, deadline=None)
@given(
    crons,
    starts,
    st.booleans(),
    st.lists(st.tuples(st.integers(-30 * 60, 40 * 60), st.sampled_from([True, False, None])), max_size=30),
)
def test_no_occasion_twice_nor_out_of_order_when_clocks_jump(
    cron: Cron, begin: datetime, catch_up: bool, jumps: list[tuple[int, Any]]
) -> None:
    """By up to a day in one go; of more than that only the first is promised (`test_a_clock_that_was_years_ahead`)."""
    world = World(schedule(cron, since=begin, catch_up=catch_up, retries=1, retry_seconds=60))
    now, newest = begin, begin
    for minutes, well in jumps:
        now = max(now + timedelta(minutes=minutes), newest - DAY)
        newest = max(now, newest)
        world.look(now)
        if well is not None:
            world.end(now, well=well)
    assert world.begun == sorted(set(world.begun))
    assert all(begin < instant_of(occasion) <= newest for occasion in world.begun)


def test_a_clock_that_was_years_ahead() -> None:
    world = World(schedule(since=MADE))
    for now in (at("2036-01-01T07:00"), at("2026-11-02T07:00"), at("2026-11-03T07:00"), at("2036-01-01T08:00")):
        world.drain(now)
    assert world.begun == ["2036-01-01T06:00:00Z", "2026-11-02T06:00:00Z", "2026-11-03T06:00:00Z"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2013, 2027), st.integers(1, 52)), unique=True, max_size=12),
    st.booleans(),
    st.lists(st.sampled_from(["list", "look", "well", "badly"]), max_size=60),
)
def test_a_snapshot_has_one_run(weeks: list[tuple[int, int]], catch_up: bool, steps: list[str]) -> None:
    world = World(schedule(EverySnapshot(BASE), catch_up=catch_up, retries=100, retry_seconds=1))
    coming = [f"CC-MAIN-{year}-{week:02}" for year, week in weeks]
    now = MADE
    for step in [*steps, *["list"] * len(coming)]:
        now += HOUR
        if step == "list" and coming:
            world.snapshots += seen(coming.pop(0), at=now)
        elif step == "look":
            world.look(now)
        elif step in ("well", "badly"):
            world.end(now, well=step == "well")
    world.drain(now + 2 * DAY)
    listed = sorted((each.id for each in world.snapshots), key=crawl_order)
    if catch_up:
        assert sorted(world.begun, key=crawl_order) == listed
    else:
        assert world.begun == sorted(set(world.begun), key=crawl_order)
        assert world.begun[-1:] == listed[-1:]


def chain(cron: Cron, moment: datetime) -> Any:
    while (found := cron.after(moment)) is not None:
        yield found
        moment = found


@pytest.mark.parametrize(
    "expression, zone, begin, expected",
    [
        # the clock goes from 2:00 to 3:00, and back from 3:00 to 2:00
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15", ["2026-10-26T01:30:00Z"]),  # in the second 2:15
        # at midnight, where a day begins at 1:00
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00", ["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"]),
        ("*/30 1 * * *", "America/Havana", "2026-03-08T04:59", ["2026-03-08T05:00:00Z", "2026-03-08T05:30:00Z"]),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00", ["2011-12-30T10:00:00Z"]),  # a day that was left out
        ("0 * * * *", "UTC", "2026-10-25T00:00", ["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]),
    ],
)
def test_a_clock_on_the_wall(expression: str, zone: str, begin: str, expected: list[str]) -> None:
    found = itertools.islice(chain(Cron(expression, zone), at(begin)), len(expected))
    assert [occasion_of(each) for each in found] == expected


def test_what_was_last_in_an_hour_that_comes_twice() -> None:
    cron = Cron("15,45 2 * * *", "Europe/Berlin")  # at 0:15 and 0:45, and not again at 1:15 and 1:45
    assert cron.latest(at("2026-10-25T00:30")) == at("2026-10-25T00:15")
    assert cron.latest(at("2026-10-25T01:30")) == at("2026-10-25T00:45")


fields = st.sampled_from(["0", "30", "*", "*/7", "1-50/9", "15,45"])
hours = st.sampled_from(["0", "1", "2,3", "*", "*/2", "0-23", "0-4/2"])
changes = [
    at("2026-03-29T01:00"),
    at("2026-10-25T01:00"),
    at("2026-03-08T05:00"),
    at("2026-11-01T05:00"),
    at("2026-04-04T15:00"),
]


@settings(max_examples=200, deadline=None)
@given(fields, hours, st.sampled_from(ZONES), st.sampled_from(changes), st.integers(-1500, 1500), st.integers(0, 1500))
def test_forwards_and_backwards_agree(minute: str, hour: str, zone: str, change: datetime, a: int, b: int) -> None:
    cron = Cron(f"{minute} {hour} * * *", zone)
    begin = change + timedelta(minutes=a)
    moment = begin + timedelta(minutes=b, seconds=7)
    forwards = list(itertools.takewhile(lambda each: each <= moment, chain(cron, begin - 3 * DAY)))
    assert cron.latest(moment) == forwards[-1]
    walls = [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for each in forwards]
    assert walls == sorted(set(walls)), "a time on the wall came twice"


@pytest.mark.parametrize(
    "expression, zone, said",
    [
        ("99 6 * * *", "UTC", "minute '99' is not right; write 0-59"),
        ("0 6 * FOO *", "UTC", "month 'FOO'"),
        ("0 6 * *", "UTC", "4 fields; write five"),
        ("* 0 6 * * *", "UTC", "6 fields; write five"),
        ("@daily", "UTC", "1 field; write five"),
        ("", "UTC", "0 fields"),
        ("*/0 * * * *", "UTC", "minute '*/0'"),
        ("1," * 200 + "1 * * * *", "UTC", "409 characters"),
        ("0 6 30 2 *", "UTC", "day-of-month '30'"),
        ("* * */20 * 1L", "UTC", "never comes"),
        ("0 6 * * *", "Europe/Berln", "no time zone 'Europe/Berln'; did you mean Europe/Berlin?"),
        ("0 6 * * *", "berlin", "did you mean Europe/Berlin?"),
        ("0 6 * * *", "new york", "did you mean America/New_York?"),
        ("0 6 * * *", "../../etc/passwd", "write one such as"),
        ("0 6 * * *", "", "no time zone ''"),
    ],
)
def test_what_is_no_cron(expression: str, zone: str, said: str) -> None:
    with pytest.raises(JobError, match="^trigger") as error:
        check_cron(expression, zone, MADE)
    assert said in str(error.value)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789*/,-#LW JANMON\u00b2", max_size=30), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_any_text_is_a_cron_or_none(text: str, zone: str) -> None:
    try:
        cron = check_cron(text, zone, MADE)
    except JobError:
        return
    first = cron.after(MADE)
    assert first is not None
    assert first > MADE
    assert cron.latest(first) == first
