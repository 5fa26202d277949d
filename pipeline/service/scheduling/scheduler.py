"""What schedules start now: a pure function of the time, the schedules, their runs, and the snapshots that are known.

No clock, no storage: whoever calls may be any server, may have died meanwhile, and gets the same answer. An *occasion*
is what a schedule runs once for: a snapshot, by its id, or an instant of a cron expression, in UTC. The rules:

1. A schedule has one run at a time. The next begins when the one before is over: complete, or left to a person.
2. With `catch_up` missed occasions are run for in order, oldest first, and one that waits for a person holds up all
   that come after it, since an index may build on it. Without, all missed but the newest are passed over.
3. A failed run is tried again `retries` times, after `retry_seconds`, twice that, and so on up to a day; then it waits
   for a person.
4. Instants count from the newest that has a run: a clock that is set back brings none of them again. A run more than a
   day ahead is a clock's mistake that was mended, and holds up nothing.
5. A paused schedule starts nothing, and tries nothing again. When it goes on, what it missed is treated as in rule 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pipeline.service.scheduling.cron import Cron

CLOCK_SLACK = timedelta(days=1)
"""A time further ahead than this was written by a wrong clock."""
LONGEST_WAIT = timedelta(days=1)
"""Before a failed run is tried again, unless `retry_seconds` asks for more."""
ALL = "all"


@dataclass(frozen=True)
class EverySnapshot:
    """Each snapshot of the list below `base` that was not there when the schedule was made.

    since: `all`, for those that were there, too; or the id of the first.
    """

    base: str
    since: str | None = None


@dataclass(frozen=True)
class Schedule:
    """since: of instants up to it, and of snapshots seen up to it (unless the trigger says since when), none counts."""

    id: str
    trigger: Cron | EverySnapshot
    since: datetime
    catch_up: bool
    retries: int
    retry_seconds: int
    paused: bool


class RunState(StrEnum):
    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"  # to be tried again
    WAITING = "waiting"  # for a person
    SKIPPED = "skipped"  # by a person


OPEN = (RunState.ACTIVE, RunState.FAILED, RunState.WAITING)
"""States of runs that are not done with."""


@dataclass(frozen=True)
class Run:
    """What a schedule made of one occasion. attempts: begun so far."""

    schedule_id: str
    occasion: str
    state: RunState
    attempts: int
    ended_at: datetime | None


@dataclass(frozen=True)
class Snapshot:
    """seen_at: when it was first in the list; None where it was there before anybody looked."""

    base: str
    id: str
    seen_at: datetime | None


@dataclass(frozen=True)
class Start:
    schedule_id: str
    occasion: str


@dataclass(frozen=True)
class Again:
    run: Run


@dataclass(frozen=True)
class Wait:
    """Leave it to a person."""

    run: Run


Decision = Start | Again | Wait


def decide(
    now: datetime, schedules: Sequence[Schedule], runs: Sequence[Run], snapshots: Sequence[Snapshot]
) -> list[Decision]:
    """What is to be done now: at most one thing for each schedule, in the order of the schedules.

    runs: of a schedule of instants those that are `OPEN`, and the newest up to `horizon(now)`; of a schedule of
    snapshots all. More do no harm.
    """
    of: dict[str, list[Run]] = {}
    for run in runs:
        of.setdefault(run.schedule_id, []).append(run)
    by_base: dict[str, list[Snapshot]] = {}
    for each in snapshots:
        by_base.setdefault(each.base, []).append(each)
    found = (_next(now, schedule, of.get(schedule.id, []), by_base) for schedule in schedules)
    return [decision for decision in found if decision is not None]


def occasion_of(instant: datetime) -> str:
    """The occasion that an instant is: 2026-11-21T06:00:00Z. They sort as the instants do."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant_of(occasion: str) -> datetime:
    """The instant that an occasion is. Raises ValueError for a snapshot."""
    return datetime.strptime(occasion, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def horizon(now: datetime) -> str:
    """The last occasion that a clock may be right about."""
    return occasion_of(now + CLOCK_SLACK)


def crawl_order(snapshot: str) -> tuple[int, ...]:
    """What snapshots sort by, as they were crawled: CC-MAIN-2009-2010, CC-MAIN-2012, CC-MAIN-2013-20."""
    return tuple(int(digits) for digits in re.findall(r"[0-9]{1,9}", snapshot))


def upcoming(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """The next instants of a schedule, for people; none where it goes by snapshots."""
    found: list[datetime] = []
    if isinstance(schedule.trigger, Cron):
        at = schedule.trigger.after(max(now, schedule.since))
        while at is not None and len(found) < count:
            found.append(at)
            at = schedule.trigger.after(at)
    return found


def _next(
    now: datetime, schedule: Schedule, runs: Sequence[Run], snapshots: Mapping[str, Sequence[Snapshot]]
) -> Decision | None:
    if schedule.paused or any(run.state == RunState.ACTIVE for run in runs):
        return None
    failed = sorted((run for run in runs if run.state == RunState.FAILED), key=_order)
    if failed:
        return _again(now, schedule, failed[0])
    if schedule.catch_up and any(run.state == RunState.WAITING for run in runs):
        return None
    if isinstance(schedule.trigger, Cron):
        occasion = _due_instant(now, schedule, schedule.trigger, runs)
    else:
        listed = snapshots.get(schedule.trigger.base, ())
        occasion = _due_snapshot(schedule, schedule.trigger, runs, listed)
    return Start(schedule.id, occasion) if occasion is not None else None


def _again(now: datetime, schedule: Schedule, run: Run) -> Decision | None:
    if run.attempts > schedule.retries:
        return Wait(run)
    if run.ended_at is None or run.ended_at > now + CLOCK_SLACK:
        return Again(run)
    return Again(run) if now >= run.ended_at + pause(schedule, run.attempts) else None


def pause(schedule: Schedule, attempts: int) -> timedelta:
    """How long after so many attempts the next is made."""
    seconds = timedelta(seconds=schedule.retry_seconds)
    growing: timedelta = seconds * 2 ** min(max(attempts - 1, 0), 20)
    return min(growing, max(seconds, LONGEST_WAIT))


def _due_instant(now: datetime, schedule: Schedule, cron: Cron, runs: Sequence[Run]) -> str | None:
    end = horizon(now)
    newest = max((run.occasion for run in runs if run.occasion <= end), default=None)
    done_up_to = schedule.since if newest is None else max(schedule.since, instant_of(newest))
    due = cron.after(done_up_to)
    if due is None or due > now:
        return None
    if not schedule.catch_up:
        due = cron.latest(now) or due
    return occasion_of(due)


def _due_snapshot(
    schedule: Schedule, trigger: EverySnapshot, runs: Sequence[Run], snapshots: Sequence[Snapshot]
) -> str | None:
    had = {run.occasion for run in runs}
    due = sorted({each.id for each in snapshots if meant(schedule, trigger, each)} - had, key=crawl_order)
    if not due:
        return None
    if schedule.catch_up:
        return due[0]
    newest = max((crawl_order(occasion) for occasion in had), default=())
    return due[-1] if crawl_order(due[-1]) > newest else None


def meant(schedule: Schedule, trigger: EverySnapshot, snapshot: Snapshot) -> bool:
    """Whether a schedule is to run for a snapshot, be it that it has done so."""
    if trigger.since == ALL:
        return True
    if trigger.since is not None:
        return crawl_order(snapshot.id) >= crawl_order(trigger.since)
    return snapshot.seen_at is not None and snapshot.seen_at > schedule.since


def _order(run: Run) -> tuple[tuple[int, ...], str]:
    return crawl_order(run.occasion), run.occasion
