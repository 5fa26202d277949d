"""Jobs as the service knows them: frozen values, what may become of them, and all SQL about them.

Functions take an open connection, so that a caller says what belongs into one transaction. Each change of state is an
event, too. Starting what is queued is `pipeline.service.dispatch`'s, what happens meanwhile is the driver's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

import sqlalchemy as sa

from pipeline.service.cursors import read_cursor, write_cursor
from pipeline.service.locations import locate, overlap
from pipeline.service.tables import ACTIVE, events, jobs, new_id, submissions

KEYS_KEPT = timedelta(days=7)
"""For so long an Idempotency-Key stands for what was submitted under it."""
MAX_PAGE = 200
MAX_SAID = 2_000
"""Characters of what is said about a job."""
_QUEUE_LOCK = 0x63726178  # a number of ours among PostgreSQL's advisory locks, beside that of upgrades


class State(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"  # admitted; Ray may or may not have it yet
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self not in ACTIVE


class NoSuchJob(LookupError):
    """One line."""


class Conflict(ValueError):
    """What was asked does not go with the state of things: one line."""


@dataclass(frozen=True)
class Job:
    """A job without its spec, which few need and is long (`spec_of`). What each field means stands in
    `pipeline.service.tables`.
    """

    id: str
    name: str
    team: str
    priority: int
    state: State
    output: str
    attempt: int
    lost: int
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    changed_at: datetime
    said: str | None
    progress: Mapping[str, Any] | None
    progress_at: datetime | None
    run_id: str | None

    @property
    def submission_id(self) -> str:
        """What the present attempt is called as a Ray job."""
        return f"crawlmill-{self.id}-{self.attempt}"


@dataclass(frozen=True)
class Event:
    """Something that befell a job. kind: the state that it reached, or `note`."""

    id: int
    job_id: str
    at: datetime
    kind: str
    said: str


@dataclass(frozen=True)
class Page:
    """Some jobs, newest first, and the cursor of those that follow, if there are any."""

    jobs: Sequence[Job]
    following: str | None


@dataclass(frozen=True)
class Submission:
    """What is submitted. spec: self-contained, its places as the service reads them (`pipeline.service.policy`)."""

    name: str
    team: str
    by: str
    spec: Mapping[str, Any]
    output: str
    priority: int = 0
    run_id: str | None = None


def submit(connection: sa.Connection, given: Submission, now: datetime | None = None) -> Job:
    """Queue a job. Raises Conflict where another that is not over writes to the same output, and below outputs of other
    teams.
    """
    return _submit(connection, given, new_id(), now or datetime.now(UTC))


def submit_once(
    connection: sa.Connection, given: Submission, key: str, now: datetime | None = None
) -> tuple[Job, bool]:
    """Queue a job under an Idempotency-Key of its caller; the second value says whether this was the first time.

    Raises Conflict for a key that stands for another job, and as `submit` does.
    """
    now = now or datetime.now(UTC)
    what = json.dumps([given.name, given.team, given.spec, given.priority], sort_keys=True)
    row = {"caller": given.by, "key": key, "digest": hashlib.sha256(what.encode()).hexdigest()}
    connection.execute(submissions.delete().where(submissions.c.at < now - KEYS_KEPT))
    job_id = new_id()
    try:
        with connection.begin_nested():  # waits for another that uses the key at this moment
            connection.execute(submissions.insert().values(row | {"job_id": job_id, "at": now}))
    except sa.exc.IntegrityError:
        mine = (submissions.c.caller == given.by) & (submissions.c.key == key)
        earlier = connection.execute(submissions.select().where(mine)).one()
        if earlier.digest != row["digest"]:
            raise Conflict(
                f"Idempotency-Key: {key!r} stands for another job ({earlier.job_id}); use a new key"
            ) from None
        return get(connection, earlier.job_id), False
    return _submit(connection, given, job_id, now), True


def _submit(connection: sa.Connection, given: Submission, job_id: str, now: datetime) -> Job:
    row = {
        "id": job_id,
        "name": given.name,
        "team": given.team,
        "priority": given.priority,
        "state": State.QUEUED,
        "spec": given.spec,
        "output": given.output,
        "attempt": 0,
        "lost": 0,
        "created_at": now,
        "created_by": given.by,
        "changed_at": now,
        "run_id": given.run_id,
    }
    _alone(connection)
    _no_guest(connection, given.output, given.team)
    _apart(connection, given.output)
    with _output_for_one(connection, given.output):
        connection.execute(jobs.insert().values(row))
    _note(connection, job_id, now, State.QUEUED, f"submitted by {given.by}")
    return get(connection, job_id)


def get(connection: sa.Connection, job_id: str) -> Job:
    """Raises NoSuchJob."""
    row = connection.execute(_JOBS.where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise _no_such(job_id)
    return _job(row)


def spec_of(connection: sa.Connection, job_id: str) -> Mapping[str, Any]:
    """What a job is to do, as it was submitted. Raises NoSuchJob."""
    spec = connection.execute(sa.select(jobs.c.spec).where(jobs.c.id == job_id)).scalar_one_or_none()
    if spec is None:
        raise _no_such(job_id)
    return cast(Mapping[str, Any], spec)


def find(
    connection: sa.Connection,
    *,
    states: Sequence[str] = (),
    team: str | None = None,
    name: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Jobs, newest first; name: a part of it. Raises ValueError for a cursor that no page gave."""
    order = (jobs.c.created_at.desc(), jobs.c.id.desc())
    query = sa.select(jobs.c.id).order_by(*order).limit(min(limit, MAX_PAGE) + 1)
    if states:
        query = query.where(jobs.c.state.in_(states))
    if team is not None:
        query = query.where(jobs.c.team == team)
    if name:
        query = query.where(jobs.c.name.icontains(name, autoescape=True))
    if cursor is not None:
        at, last = read_cursor(cursor, _last_of_page)
        query = query.where(sa.or_(jobs.c.created_at < at, sa.and_(jobs.c.created_at == at, jobs.c.id < last)))
    # whole rows, which may be long, are read of those alone that were chosen: SQLite sorts before it takes the first
    found = [_job(row) for row in connection.execute(_JOBS.where(jobs.c.id.in_(query)).order_by(*order))]
    page = found[: min(limit, MAX_PAGE)]
    return Page(page, _cursor(page[-1]) if len(found) > len(page) else None)


def counts(connection: sa.Connection) -> dict[State, int]:
    """Jobs by state."""
    query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
    return dict.fromkeys(State, 0) | {State(state): number for state, number in connection.execute(query)}


def waiting(connection: sa.Connection, team: str) -> tuple[int, int]:
    """How many jobs are queued: all, and those of a team."""
    mine = sa.func.count().filter(jobs.c.team == team)
    row = connection.execute(sa.select(sa.func.count(), mine).where(jobs.c.state == State.QUEUED)).one()
    return row[0], row[1]


def active(connection: sa.Connection) -> list[Job]:
    """All that are not over, in the order in which they would start."""
    order = (jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    return [_job(row) for row in connection.execute(_JOBS.where(jobs.c.state.in_(ACTIVE)).order_by(*order))]


def move(
    connection: sa.Connection, job: Job, state: State, said: str | None = None, now: datetime | None = None, **more: Any
) -> Job | None:
    """Bring a job from the state that it was read in to another; None where somebody else was faster.

    more: other columns to set. The attempt must still be the same, too. A job that waits has no progress.
    """
    now = now or datetime.now(UTC)
    row: dict[str, Any] = {"state": state, "said": _storable(said), "changed_at": now, **more}
    if state == State.QUEUED:
        row["progress"] = row["progress_at"] = None
    if state.over:
        row.setdefault("finished_at", now)
    same = (jobs.c.id == job.id) & (jobs.c.state == job.state) & (jobs.c.attempt == job.attempt)
    if connection.execute(jobs.update().where(same).values(row)).rowcount != 1:
        return None
    _note(connection, job.id, now, state, said or "")
    return get(connection, job.id)


def keep_progress(connection: sa.Connection, job: Job, progress: Mapping[str, Any], now: datetime) -> None:
    """Store the last that is known of how far an attempt is, unless its job has gone on since it was read."""
    same = (jobs.c.id == job.id) & (jobs.c.state == job.state) & (jobs.c.attempt == job.attempt)
    connection.execute(jobs.update().where(same).values(progress=dict(progress), progress_at=now))


def cancel(connection: sa.Connection, job_id: str, by: str) -> Job:
    """End a job: at once where it waits, else as soon as its driver has heard of it. Raises NoSuchJob, Conflict."""
    while True:
        job = get(connection, job_id)
        if job.state == State.CANCELLING:
            return job
        if job.state.over:
            raise Conflict(f"job {job_id} is {job.state} already")
        target = State.CANCELLED if job.state == State.QUEUED else State.CANCELLING
        if (moved := move(connection, job, target, f"cancelled by {by}")) is not None:
            return moved


def retry(connection: sa.Connection, job_id: str, by: str) -> Job:
    """Queue a job again that failed or was cancelled; it goes on where it ended. Raises NoSuchJob, Conflict."""
    job = get(connection, job_id)
    if job.state not in (State.FAILED, State.CANCELLED):
        raise Conflict(f"job {job_id} is {job.state}; only one that failed or was cancelled can be tried again")
    _alone(connection)
    _no_guest(connection, job.output, job.team)
    _apart(connection, job.output)
    with _output_for_one(connection, job.output):
        moved = move(connection, job, State.QUEUED, f"tried again by {by}", finished_at=None, lost=0)
    if moved is None:
        raise Conflict(f"job {job_id} has just been changed by somebody else; look at it again")
    return moved


def delete(connection: sa.Connection, job_id: str) -> None:
    """Forget a job that is over; its dataset stays. Raises NoSuchJob, Conflict."""
    job = get(connection, job_id)
    if not job.state.over:
        raise Conflict(f"job {job_id} is {job.state}; cancel it first")
    connection.execute(submissions.delete().where(submissions.c.job_id == job_id))
    connection.execute(jobs.delete().where((jobs.c.id == job_id) & (jobs.c.state == job.state)))


def say(connection: sa.Connection, job: Job, said: str | None) -> None:
    """What there is to say about the state that a job is in, and stays in."""
    same = (jobs.c.id == job.id) & (jobs.c.state == job.state) & (jobs.c.attempt == job.attempt)
    connection.execute(jobs.update().where(same).values(said=_storable(said)))


def note(connection: sa.Connection, job: Job, said: str) -> None:
    """Something about a job that changes no state."""
    _note(connection, job.id, datetime.now(UTC), "note", said)


def events_of(connection: sa.Connection, job_id: str, after: int = 0, limit: int = 500) -> list[Event]:
    """What befell a job since the event `after`, oldest first."""
    mine = (events.c.job_id == job_id) & (events.c.id > after)
    query = events.select().where(mine).order_by(events.c.id).limit(limit)
    return [Event(*row) for row in connection.execute(query)]


def said_last(connection: sa.Connection, job: Job, state: State) -> str:
    """What was said when a job last came to a state; "" where it never has."""
    mine = (events.c.job_id == job.id) & (events.c.kind == state)
    query = sa.select(events.c.said).where(mine).order_by(events.c.id.desc()).limit(1)
    return connection.execute(query).scalar() or ""


def _note(connection: sa.Connection, job_id: str, at: datetime, kind: str, said: str) -> None:
    connection.execute(events.insert().values(job_id=job_id, at=at, kind=kind, said=_storable(said)))


def _storable(said: str | None) -> str | None:
    """What somebody's program printed, as databases take it: no NUL, no half characters, not endless."""
    return said and said[:MAX_SAID].replace("\0", "").encode(errors="replace").decode()


def _alone(connection: sa.Connection) -> None:
    """Nobody else queues a job, whose output one could not see, until the transaction ends. SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_QUEUE_LOCK)))


def _apart(connection: sa.Connection, output: str) -> None:
    """Raises Conflict where a job that is not over writes above or below an output. Of the same one the index decides
    (`_output_for_one`).
    """
    going = sa.select(jobs.c.id, jobs.c.output).where(jobs.c.state.in_(ACTIVE), jobs.c.output != output)
    for other, place in connection.execute(going):
        if overlap(place, output):
            raise Conflict(f"output.path: {output}: job {other} writes to {place}; name a folder beside it")


def _no_guest(connection: sa.Connection, output: str, team: str) -> None:
    """Raises Conflict for an output that is, or is inside, what a job of another team has written."""
    at = locate(output)
    above = [str(replace(at, parts=at.parts[:depth])) for depth in range(len(at.parts) + 1)]
    theirs = jobs.c.output.in_([*above, *(f"{folder}/" for folder in above)]) & (jobs.c.team != team)
    found = connection.execute(sa.select(jobs.c.id, jobs.c.team, jobs.c.output).where(theirs).limit(1)).first()
    if found is not None:
        raise Conflict(
            f"output.path: {output}: lies in {found.output}, which is of job {found.id} of team {found.team};"
            " name a folder outside it"
        )


@contextlib.contextmanager
def _output_for_one(connection: sa.Connection, output: str) -> Iterator[None]:
    """Raises Conflict where a job that is not over writes there, by the index that has the last word."""
    try:
        with connection.begin_nested():
            yield
    except sa.exc.IntegrityError:
        taken = (jobs.c.output == output) & jobs.c.state.in_(ACTIVE)
        other = connection.execute(sa.select(jobs.c.id).where(taken)).scalar_one_or_none()
        if other is None:
            raise
        raise Conflict(
            f"output.path: {output}: job {other} writes there; name another folder, or cancel that job"
        ) from None


_JOBS = sa.select(*(column for column in jobs.columns if column is not jobs.c.spec))


def _no_such(job_id: str) -> NoSuchJob:
    return NoSuchJob(f"no job {job_id!r}; `crawlmill jobs` lists them")


def _job(row: sa.Row[Any]) -> Job:
    return Job(**{**row._mapping, "state": State(row.state)})


def _cursor(job: Job) -> str:
    return write_cursor(job.created_at.isoformat(), job.id)


def _last_of_page(words: list[str]) -> tuple[datetime, str]:
    at, last = words
    if not re.fullmatch("[a-z2-7]{12}", last):
        raise ValueError("no job's id")
    return datetime.fromisoformat(at).astimezone(UTC), last
