"""What becomes of a schedule's occasions: runs, their jobs, and all SQL about both together.

A run and its job are made in one transaction, so that no death of a process comes between them; that a schedule and an
occasion have one run is a constraint of the table. Functions take an open connection; whatever changes something is
called under `Database.alone(schedules.LOCK)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.service import jobs
from pipeline.service.jobs import Conflict, NoSuchJob, State, Submission
from pipeline.service.scheduling import snapshots
from pipeline.service.scheduling.scheduler import (
    OPEN,
    Again,
    Decision,
    EverySnapshot,
    Run,
    RunState,
    Snapshot,
    Start,
    crawl_order,
    horizon,
    meant,
)
from pipeline.service.scheduling.schedules import Check, Stored
from pipeline.service.tables import jobs as jobs_table
from pipeline.service.tables import new_id, runs
from pipeline.service.tables import schedules as schedules_table
from pipeline.spec import JobError

MAX_RUNS = 500
_COLUMNS = [column.name for column in runs.columns]


class NoSuchRun(LookupError):
    """One line."""


@dataclass(frozen=True)
class StoredRun(Run):
    """A run with all that is known of it. job_id: of the last attempt that could be submitted."""

    id: str
    job_id: str | None
    started_at: datetime
    said: str | None
    """Why it could not be submitted, waits, or was skipped, where its job does not say."""


def get(connection: sa.Connection, schedule: Stored, occasion: str) -> StoredRun:
    """Raises NoSuchRun."""
    mine = (runs.c.schedule_id == schedule.id) & (runs.c.occasion == occasion)
    row = connection.execute(runs.select().where(mine)).one_or_none()
    if row is None:
        raise NoSuchRun(f"schedule {schedule.name} has no run for {occasion[:100]!r}")
    return _run(row)


def runs_of(connection: sa.Connection, schedule: Stored, limit: int = 100) -> list[StoredRun]:
    """Runs of a schedule, the last begun first."""
    query = runs.select().where(runs.c.schedule_id == schedule.id)
    query = query.order_by(runs.c.started_at.desc(), runs.c.occasion.desc()).limit(min(limit, MAX_RUNS))
    return [_run(row) for row in connection.execute(query)]


def to_decide_on(connection: sa.Connection, every: Sequence[Stored], now: datetime) -> list[StoredRun]:
    """The runs of some schedules that `scheduler.decide` wants to know of."""
    ids = [schedule.id for schedule in every]
    open_runs = runs.select().where(runs.c.state.in_(OPEN), runs.c.schedule_id.in_(ids))
    found = [_run(row) for row in connection.execute(open_runs)]
    for schedule in every:
        mine = runs.select().where(runs.c.schedule_id == schedule.id)
        if not isinstance(schedule.trigger, EverySnapshot):
            mine = mine.where(runs.c.occasion <= horizon(now)).order_by(runs.c.occasion.desc()).limit(1)
        found += [_run(row) for row in connection.execute(mine)]
    return list({run.id: run for run in found}.values())


def by_snapshot(
    connection: sa.Connection, every: Sequence[Stored], listed: Sequence[Snapshot]
) -> dict[str, dict[str, str]]:
    """What schedules made of snapshots of one list: by snapshot and schedule's name the state of its run.

    `due`: it will have one. `missed`: it was passed over. A schedule that does not mean a snapshot is not there.
    """
    standing: dict[str, dict[str, str]] = {each.id: {} for each in listed}
    for schedule in every:
        if not isinstance(schedule.trigger, EverySnapshot):
            continue
        query = sa.select(runs.c.occasion, runs.c.state).where(runs.c.schedule_id == schedule.id)
        states = {row.occasion: row.state for row in connection.execute(query)}
        newest = max(map(crawl_order, states), default=())
        for each in listed:
            passed = not schedule.catch_up and crawl_order(each.id) < newest
            if each.id in states or meant(schedule, schedule.trigger, each):
                standing[each.id][schedule.name] = states.get(each.id, "missed" if passed else "due")
    return standing


def waiting(connection: sa.Connection) -> dict[str, int]:
    """How many runs of each schedule wait for a person, by the schedule's name; 0 for those that have none."""
    counted = sa.func.count(runs.c.id).filter(runs.c.state == RunState.WAITING)
    query = sa.select(schedules_table.c.name, counted).outerjoin(runs).group_by(schedules_table.c.name)
    return {row[0]: row[1] for row in connection.execute(query)}


def settle(connection: sa.Connection, now: datetime, *, change: bool = True) -> list[StoredRun]:
    """Bring runs to where their jobs are, also those that a person tried again or cancelled; the runs as they are then.

    change: False only finds them, for who wants to know whether there is anything to do.
    """
    query = (
        sa.select(runs, jobs_table.c.state.label("job_state"), jobs_table.c.finished_at)
        .outerjoin(jobs_table, runs.c.job_id == jobs_table.c.id)
        .where(runs.c.state.in_(OPEN))
    )
    changed = []
    for row in connection.execute(query).all():
        state = _follows(RunState(row.state), State(row.job_state) if row.job_state else None)
        if state == row.state:
            continue
        begun = state == RunState.ACTIVE
        ended = None if begun else row.finished_at or now
        if change:
            _set(connection, row.id, state=state, attempts=row.attempts + begun, ended_at=ended, said=None)
            row = connection.execute(runs.select().where(runs.c.id == row.id)).one()
        changed.append(_run(row))
    return changed


def carry_out(connection: sa.Connection, decision: Decision, schedule: Stored, now: datetime, check: Check) -> str:
    """Do what was decided, in the transaction in which it was; a line about it for the log."""
    if isinstance(decision, Start):
        row = {"id": new_id(), "schedule_id": schedule.id, "occasion": decision.occasion, "state": RunState.ACTIVE}
        connection.execute(runs.insert().values(row | {"attempts": 1, "started_at": now}))
        return _attempt(connection, get(connection, schedule, decision.occasion), schedule, now, check)
    run = get(connection, schedule, decision.run.occasion)
    if isinstance(decision, Again):
        _set(connection, run.id, attempts=run.attempts + 1)
        return _attempt(connection, run, schedule, now, check)
    _set(connection, run.id, state=RunState.WAITING, said=f"failed {run.attempts} times")
    return f"{_called(schedule, run.occasion)}: failed {run.attempts} times; waits for a person"


def retry(
    connection: sa.Connection, schedule: Stored, occasion: str, by: str, now: datetime, check: Check
) -> StoredRun:
    """Try again what waits, or was skipped. Raises NoSuchRun, Conflict, JobError."""
    settle(connection, now)
    run = get(connection, schedule, occasion)
    going = (runs.c.schedule_id == schedule.id) & (runs.c.state == RunState.ACTIVE)
    other = connection.execute(sa.select(runs.c.occasion).where(going)).scalar()
    if other is not None:
        what = "for it" if other == occasion else f"for {other}, and one run at a time"
        raise Conflict(f"schedule {schedule.name} runs {what} already; wait for its job, or cancel it")
    if run.state == RunState.COMPLETE:
        raise Conflict(f"{_called(schedule, occasion)} is complete already")
    job_id = _queue(connection, run, schedule, by, now, check)
    _set(connection, run.id, state=RunState.ACTIVE, attempts=run.attempts + 1, ended_at=None, job_id=job_id, said=None)
    return get(connection, schedule, occasion)


def skip(connection: sa.Connection, schedule: Stored, occasion: str, by: str, now: datetime) -> StoredRun:
    """Let the schedule go on without a run that failed or waits, or without a snapshot that is to come, as one that its
    source will never have. Raises NoSuchRun, Conflict.
    """
    settle(connection, now)
    said = f"skipped by {by}"
    if _is_to_come(connection, schedule, occasion):
        row = {
            "id": new_id(),
            "schedule_id": schedule.id,
            "occasion": occasion,
            "state": RunState.SKIPPED,
            "said": said,
        }
        connection.execute(runs.insert().values(row | {"attempts": 0, "started_at": now, "ended_at": now}))
        return get(connection, schedule, occasion)
    run = get(connection, schedule, occasion)
    if run.state not in (RunState.FAILED, RunState.WAITING):
        raise Conflict(f"{_called(schedule, occasion)} is {run.state}; only one that failed or waits can be skipped")
    _set(connection, run.id, state=RunState.SKIPPED, said=said)
    return get(connection, schedule, occasion)


def _is_to_come(connection: sa.Connection, schedule: Stored, occasion: str) -> bool:
    """Whether a schedule means a snapshot for which it has no run."""
    trigger = schedule.trigger
    if not isinstance(trigger, EverySnapshot):
        return False
    mine = (runs.c.schedule_id == schedule.id) & (runs.c.occasion == occasion)
    if connection.execute(sa.select(runs.c.id).where(mine)).first() is not None:
        return False
    listed = snapshots.known(connection, trigger.base)
    return any(each.id == occasion and meant(schedule, trigger, each) for each in listed)


def _attempt(connection: sa.Connection, run: StoredRun, schedule: Stored, now: datetime, check: Check) -> str:
    """Queue the job of a run. A place that is taken counts as a failure; a job that is no longer right waits."""
    called = _called(schedule, run.occasion)
    try:
        job_id = _queue(connection, run, schedule, f"schedule {schedule.name}", now, check)
    except Conflict as error:
        _set(connection, run.id, state=RunState.FAILED, ended_at=now, said=str(error))
        return f"{called}: {error}"
    except JobError as error:
        _set(connection, run.id, state=RunState.WAITING, ended_at=now, said=str(error))
        return f"{called}: waits for a person: {error}"
    _set(connection, run.id, state=RunState.ACTIVE, ended_at=None, job_id=job_id, said=None)
    return f"{called}: job {job_id}"


def _queue(connection: sa.Connection, run: StoredRun, schedule: Stored, by: str, now: datetime, check: Check) -> str:
    """The same job again, which goes on in its output; or a new one where there is none. Raises JobError, Conflict."""
    if run.job_id is not None:
        try:
            return jobs.retry(connection, run.job_id, by).id
        except NoSuchJob:
            pass  # its record was deleted; a new job finds the same output
    job = check(schedule.job(run.occasion))
    if job.output.path is None:
        raise JobError("output.path: missing; name a folder there")
    spec = job.model_dump(mode="json", exclude_unset=True)
    given = Submission(job.name, schedule.team, by, spec, job.output.path, schedule.priority, run.id)
    return jobs.submit(connection, given, now).id


def _follows(run: RunState, job: State | None) -> RunState:
    """The state of a run whose job is in a state, or gone."""
    if job is not None and not job.over:
        return RunState.ACTIVE
    if job == State.COMPLETE:
        return RunState.COMPLETE
    if run != RunState.ACTIVE:
        return run
    return RunState.FAILED if job == State.FAILED else RunState.WAITING


def _set(connection: sa.Connection, run_id: str, **values: Any) -> None:
    connection.execute(runs.update().where(runs.c.id == run_id).values(values))


def _called(schedule: Stored, occasion: str) -> str:
    return f"schedule {schedule.name}, {occasion}"


def _run(row: sa.Row[Any]) -> StoredRun:
    said = {name: row._mapping[name] for name in _COLUMNS}
    return StoredRun(**{**said, "state": RunState(row.state)})
