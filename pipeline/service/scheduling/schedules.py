"""Schedules as the service keeps them: what a new one may say, and all SQL about them.

A schedule is checked when it is made, down to the jobs of its first occasions: what is wrong with it is said then, and
not at six on a Monday. What becomes of its occasions is `schedule_runs`', when they are due `scheduler`'s.
Functions take an open connection; whatever changes something is called under `Database.alone(LOCK)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipeline.service.jobs import Conflict
from pipeline.service.scheduling import snapshots
from pipeline.service.scheduling.collinfo import SNAPSHOT
from pipeline.service.scheduling.cron import Cron, check_cron
from pipeline.service.scheduling.scheduler import ALL, EverySnapshot, Schedule, occasion_of, upcoming
from pipeline.service.scheduling.template import fill, variables
from pipeline.service.tables import new_id, schedules
from pipeline.spec import CommonCrawlSource, Job, JobError, first_line

LOCK = "schedules"
MAX_SCHEDULES = 1_000
TAKEN = ("new",)
"""What lies beside schedules' pages."""
_TRIAL = ("CC-MAIN-2026-43", "CC-MAIN-2026-47")
_EARLIEST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Check = Callable[[object], Job]
"""A job as it was sent, checked, and with its places as the operator allows them. Raises JobError."""


class NoSuchSchedule(LookupError):
    """One line."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewTrigger(_Part):
    """Either `cron`, or `snapshots`."""

    cron: str | None = None
    """Five fields: minute, hour, day of month, month, day of week."""
    zone: str | None = None
    """IANA name of the time zone that `cron` is read in; UTC when left out."""
    snapshots: str | bool | None = None
    """Where the list of snapshots lies; true: where the service looks anyway."""
    since: str | None = None
    """With `cron` a time, with `snapshots` the id of the first or `all`; from now on when left out."""


class NewSchedule(_Part):
    """A schedule as a client sends it."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    job: dict[str, Any]
    """A job with variables (`pipeline.service.scheduling.template`)."""
    trigger: NewTrigger
    catch_up: bool | None = None
    """Whether all that was missed is run for, in order, or the newest alone; true where `since` is given."""
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    retry_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] = 3_600
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


@dataclass(frozen=True)
class Stored(Schedule):
    """A schedule with all that is known of it."""

    name: str
    team: str
    priority: int
    spec: Mapping[str, Any]
    created_at: datetime
    created_by: str

    def job(self, occasion: str) -> dict[str, Any]:
        """The job of an occasion, not checked. Raises JobError."""
        return fill(self.spec, variables(self.name, self.trigger, occasion))


def parse_schedule(content: object) -> NewSchedule:
    """A schedule from what YAML or JSON held. Raises JobError."""
    if not isinstance(content, dict):
        raise JobError("schedule: has fields; write {name: …, trigger: {cron: …}, job: {…}}")
    place: str = "schedule: "
    part: type[BaseModel] = NewSchedule
    try:
        made = NewSchedule.model_validate({**content, "trigger": {}} if "trigger" in content else content)
        place, part = "schedule: trigger.", NewTrigger
        return made.model_copy(update={"trigger": NewTrigger.model_validate(content["trigger"])})
    except ValidationError as error:  # in two steps: each says which fields it knows
        raise JobError(f"{place}{first_line(error.errors(include_url=False), part)}") from error


def prepare(given: NewSchedule, *, team: str, by: str, check: Check, crawl: str, now: datetime) -> Stored:
    """The schedule as it may be made, tried out: checking jobs takes its time, so not while others wait for a database.

    crawl: where the service looks for snapshots (`Settings.crawl`). Raises JobError.
    """
    if given.name in TAKEN:
        raise JobError(f"schedule: name: {given.name}: has a page of that name already; choose another")
    trigger, since = _trigger(given.trigger, crawl, now)
    catch_up = given.catch_up if given.catch_up is not None else given.trigger.since is not None
    if given.trigger.since is not None and not catch_up:
        raise JobError("schedule: trigger.since: goes with catch_up: true; without it only the newest is run for")
    made = Stored(
        new_id(), trigger, since, catch_up, given.retries, given.retry_seconds, False,
        given.name, team, given.priority, given.job, now, by,
    )  # fmt: skip
    _try_out(made, check, now)
    return made


def create(connection: sa.Connection, made: Stored) -> None:
    """Make a schedule that was prepared. Raises Conflict."""
    taken = Conflict(f"schedule {made.name}: there is one of this name; remove it, or choose another")
    if connection.execute(sa.select(schedules.c.id).where(schedules.c.name == made.name)).first() is not None:
        raise taken
    if (connection.execute(sa.select(sa.func.count()).select_from(schedules)).scalar_one()) >= MAX_SCHEDULES:
        raise Conflict(f"there are {MAX_SCHEDULES} schedules already; remove one")
    try:
        connection.execute(schedules.insert().values({**vars(made), "trigger": _as_json(made.trigger)}))
    except sa.exc.IntegrityError as error:  # by another server at the same time
        raise taken from error
    if isinstance(made.trigger, EverySnapshot) and not any(
        each.id != made.id and isinstance(each.trigger, EverySnapshot) for each in everything(connection)
    ):
        snapshots.look_anew(connection, made.trigger.base)


def everything(connection: sa.Connection, only: str | None = None) -> list[Stored]:
    """All schedules, by name; or the one that has an id, if there is one."""
    query = schedules.select().order_by(schedules.c.name)
    if only is not None:
        query = query.where(schedules.c.id == only)
    return [_stored(row) for row in connection.execute(query)]


def any_follows(connection: sa.Connection, base: str) -> bool:
    """Whether a schedule is for the snapshots of a list."""
    triggers = (each.trigger for each in everything(connection))
    return any(isinstance(each, EverySnapshot) and each.base == base for each in triggers)


def get(connection: sa.Connection, name: str) -> Stored:
    """Raises NoSuchSchedule."""
    row = connection.execute(schedules.select().where(schedules.c.name == name)).one_or_none()
    if row is None:
        raise NoSuchSchedule(f"no schedule {name[:100]!r}; `crawlmill schedule list` lists them")
    return _stored(row)


def remove(connection: sa.Connection, name: str) -> None:
    """Forget a schedule and its runs. Their jobs stay, and go on where they are not over. Raises NoSuchSchedule."""
    connection.execute(schedules.delete().where(schedules.c.id == get(connection, name).id))


def pause(connection: sa.Connection, name: str) -> Stored:
    """Start nothing for a schedule until `resume`; a run that has begun goes on. Raises NoSuchSchedule."""
    return _set_paused(connection, name, True)


def resume(connection: sa.Connection, name: str) -> Stored:
    """Raises NoSuchSchedule."""
    return _set_paused(connection, name, False)


def _set_paused(connection: sa.Connection, name: str, paused: bool) -> Stored:
    connection.execute(schedules.update().where(schedules.c.name == name).values(paused=paused))
    return get(connection, name)


def _trigger(given: NewTrigger, crawl: str, now: datetime) -> tuple[Cron | EverySnapshot, datetime]:
    """The trigger, and the time since when occasions count."""
    base = crawl.rstrip("/") + "/"
    if given.cron is not None and given.snapshots in (None, False):
        cron = check_cron(given.cron, given.zone or "UTC", now)
        return cron, now if given.since is None else _time(given.since, cron)
    if given.cron is not None or given.snapshots in (None, False):
        raise JobError('schedule: trigger: write {cron: "0 6 * * MON", zone: Europe/Berlin}, or {snapshots: true}')
    if given.zone is not None:
        raise JobError("schedule: trigger.zone: goes with cron, not with snapshots")
    if given.snapshots is not True and str(given.snapshots).rstrip("/") + "/" != base:  # or it would ask any address
        raise JobError(f"schedule: trigger.snapshots: the service looks at {base} alone; write that, or true")
    if given.since is not None and given.since != ALL and not SNAPSHOT.fullmatch(given.since):
        raise JobError(f"schedule: trigger.since: {given.since[:80]!r}: write one such as CC-MAIN-2026-43, or all")
    return EverySnapshot(base, given.since), now


def _time(text: str, cron: Cron) -> datetime:
    try:
        read = datetime.fromisoformat(text)
        at = (read if read.tzinfo else read.replace(tzinfo=cron.local(_EARLIEST).tzinfo)).astimezone(UTC)
        if _EARLIEST <= at < _LAST:
            return at
    except (ValueError, OverflowError):
        pass
    raise JobError(f"schedule: trigger.since: {text[:80]!r}: write a day or time, as in 2026-11-21 or 2026-11-21T06:00")


def _try_out(made: Stored, check: Check, now: datetime) -> None:
    """Raise JobError where the first jobs would be refused, or would meet in one place."""
    trigger = made.trigger
    if isinstance(trigger, Cron):  # what comes several times a day does so within any three
        occasions = [occasion_of(at) for at in upcoming(made, now, 3)]
        which = "{time}, or {date} where it comes once a day"
    else:
        occasions, which = list(_TRIAL), "{snapshot}"
    trials = [check(made.job(occasion)) for occasion in occasions]
    outputs = [job.output.path for job in trials]
    if None in outputs:
        raise JobError(f"output.path: missing; name a folder there, with {which} in it")
    if len(set(outputs)) < len(outputs):
        raise JobError(f"output.path: {outputs[0]}: more than one run would write there; put {which} into it")
    of = {job.source.snapshot for job in trials if isinstance(job.source, CommonCrawlSource)}
    if isinstance(trigger, EverySnapshot) and len(of) == 1:
        raise JobError(f'source.snapshot: {of.pop()} in each run; write "{{snapshot}}"')


def _as_json(trigger: Cron | EverySnapshot) -> dict[str, str | None]:
    if isinstance(trigger, Cron):
        return {"cron": trigger.expression, "zone": trigger.zone}
    return {"snapshots": trigger.base, "since": trigger.since}


def _stored(row: sa.Row[Any]) -> Stored:
    said = row.trigger
    trigger = Cron(said["cron"], said["zone"]) if "cron" in said else EverySnapshot(said["snapshots"], said["since"])
    return Stored(**{**row._mapping, "trigger": trigger})
