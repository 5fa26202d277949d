"""Schedules and snapshots over HTTP. What they mean is the business of `pipeline.service.scheduling`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request, Response

from pipeline.service.api.body import BodyHere, documented
from pipeline.service.api.callers import Reader, ServiceHere, Submitter, must_be_of
from pipeline.service.api.jobs import EXAMPLE as JOB_EXAMPLE
from pipeline.service.api.problems import declared
from pipeline.service.api.schedule_views import (
    FeedView,
    RunPage,
    RunView,
    ScheduleDetail,
    SchedulePage,
    ScheduleSummary,
    SnapshotPage,
    SnapshotView,
)
from pipeline.service.api.slow import TurnsHere
from pipeline.service.scheduling import publication, schedule_runs, schedules, snapshots
from pipeline.service.scheduling.scheduler import crawl_order
from pipeline.service.scheduling.schedules import Stored
from pipeline.service.service import Service
from pipeline.service.tokens import Caller

Name = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
OCCASION = "^[A-Z0-9][A-Z0-9:-]{0,63}$"
Occasion = Annotated[
    str,
    Path(
        pattern=OCCASION,
        description="a snapshot's id or a time",
        examples=["CC-MAIN-2026-43", "2026-11-21T06:00:00Z"],
    ),
]

EXAMPLE = {
    "name": "weekly",
    "trigger": {"cron": "0 6 * * MON", "zone": "Europe/Berlin"},
    "job": {**JOB_EXAMPLE, "output": {"path": "out/{date}"}},
}

router = APIRouter(tags=["schedules"])


@router.post(
    "/schedules",
    status_code=201,
    openapi_extra=documented("NewSchedule", EXAMPLE),
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "where it is from now on"}}},
        **declared(409, 413, 415),
    },
)
async def add_schedule(
    request: Request, response: Response, service: ServiceHere, caller: Submitter, turns: TurnsHere, body: BodyHere
) -> ScheduleDetail:
    """Start a job again and again, for the team of the token. Its strings may have variables, as {snapshot}."""
    made = await turns.checks.take(caller, lambda: _add(service, body.read("schedule"), caller))
    response.headers["Location"] = str(request.app.url_path_for("get_schedule", name=made.name))
    return made


@router.get("/schedules")
def list_schedules(service: ServiceHere, caller: Reader) -> SchedulePage:
    """All of them, by name."""
    now = datetime.now(UTC)
    with service.database.read() as connection:
        waiting = schedule_runs.waiting(connection)
        every = schedules.everything(connection)
    awaited = publication.awaited(service.database, every, str(service.settings.data), now)
    shown = [ScheduleSummary.of(each, now, waiting.get(each.name, 0), awaited.get(each.name)) for each in every]
    return SchedulePage(schedules=shown)


@router.get("/schedules/{name}", responses=declared(404))
def get_schedule(name: Name, service: ServiceHere, caller: Reader) -> ScheduleDetail:
    """A schedule with its job."""
    with service.database.read() as connection:
        schedule = schedules.get(connection, name)
    return _detail(service, schedule)


@router.delete("/schedules/{name}", status_code=204, responses=declared(404))
def remove_schedule(name: Name, service: ServiceHere, caller: Submitter) -> None:
    """Forget a schedule and its runs. Their jobs stay, and go on."""
    with service.database.alone(schedules.LOCK) as connection:
        own_schedule(connection, name, caller)
        schedules.remove(connection, name)


@router.post("/schedules/{name}/pause", responses=declared(404))
def pause_schedule(name: Name, service: ServiceHere, caller: Submitter) -> ScheduleDetail:
    """Start nothing of it until it is resumed."""
    with service.database.alone(schedules.LOCK) as connection:
        own_schedule(connection, name, caller)
        schedule = schedules.pause(connection, name)
    return _detail(service, schedule)


@router.post("/schedules/{name}/resume", responses=declared(404))
def resume_schedule(name: Name, service: ServiceHere, caller: Submitter) -> ScheduleDetail:
    """Let it go on."""
    with service.database.alone(schedules.LOCK) as connection:
        own_schedule(connection, name, caller)
        schedule = schedules.resume(connection, name)
    return _detail(service, schedule)


@router.get("/schedules/{name}/runs", responses=declared(404))
def list_runs(
    name: Name,
    service: ServiceHere,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=schedule_runs.MAX_RUNS)] = 100,
) -> RunPage:
    """What it made of its occasions, the last begun first."""
    with service.database.read() as connection:
        runs = schedule_runs.runs_of(connection, schedules.get(connection, name), limit)
    return RunPage(runs=[RunView.model_validate(run) for run in runs])


@router.post("/schedules/{name}/runs/{occasion}/retry", responses=declared(404, 409))
def retry_run(name: Name, occasion: Occasion, service: ServiceHere, caller: Submitter) -> RunView:
    """Try again what failed, waits for a person, or was skipped."""
    with service.database.alone(schedules.LOCK) as connection:
        schedule, now = own_schedule(connection, name, caller), datetime.now(UTC)
        run = schedule_runs.retry(connection, schedule, occasion, caller.name, now, service.check)
    return RunView.model_validate(run)


@router.post("/schedules/{name}/runs/{occasion}/skip", responses=declared(404, 409))
def skip_run(name: Name, occasion: Occasion, service: ServiceHere, caller: Submitter) -> RunView:
    """Let the schedule go on without a run that failed or waits for a person, or without a snapshot to come."""
    with service.database.alone(schedules.LOCK) as connection:
        schedule, now = own_schedule(connection, name, caller), datetime.now(UTC)
        run = schedule_runs.skip(connection, schedule, occasion, caller.name, now)
    return RunView.model_validate(run)


@router.get("/snapshots")
def list_snapshots(service: ServiceHere, caller: Reader) -> SnapshotPage:
    """Crawl snapshots that are known, newest first, with what schedules made of them."""
    base = str(service.settings.crawl).rstrip("/") + "/"
    with service.database.read() as connection:
        known = sorted(snapshots.known(connection, base), key=lambda each: crawl_order(each.id), reverse=True)
        standing = schedule_runs.by_snapshot(connection, schedules.everything(connection), known)
        feed = snapshots.feed_of(connection, base)
    return SnapshotPage(
        base=base,
        feed=FeedView.model_validate(feed) if feed is not None else None,
        snapshots=[SnapshotView.of(each, standing.get(each.id, {})) for each in known],
    )


def _add(service: Service, content: object, caller: Caller) -> ScheduleDetail:
    return _detail(service, add(service, content, caller))


def add(service: Service, content: object, caller: Caller) -> Stored:
    """Make a schedule of the caller's team. Raises JobError, Conflict."""
    made = schedules.prepare(
        schedules.parse_schedule(content),
        team=caller.team,
        by=caller.name,
        check=service.check,
        crawl=str(service.settings.crawl),
        now=datetime.now(UTC),
    )
    with service.database.alone(schedules.LOCK) as connection:
        schedules.create(connection, made)
    return made


def _detail(service: Service, schedule: Stored) -> ScheduleDetail:
    now = datetime.now(UTC)
    with service.database.read() as connection:
        waiting = schedule_runs.waiting(connection).get(schedule.name, 0)
    awaited = publication.awaited(service.database, [schedule], str(service.settings.data), now).get(schedule.name)
    return ScheduleDetail.of(schedule, now, waiting, awaited)


def own_schedule(connection: sa.Connection, name: str, caller: Caller) -> Stored:
    """Raises NoSuchSchedule, and Problem where a schedule is another team's."""
    schedule = schedules.get(connection, name)
    must_be_of(caller, schedule.team, f"schedule {name}")
    return schedule
