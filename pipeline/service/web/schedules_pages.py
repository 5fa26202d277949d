"""The pages about schedules: when they start what, what became of it, and what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline.service.api.body import YAML, read_job
from pipeline.service.api.callers import Reader, Submitter
from pipeline.service.api.schedules import OCCASION, Name, add, own_schedule
from pipeline.service.api.slow import TurnsHere
from pipeline.service.jobs import Conflict
from pipeline.service.scheduling import publication, schedule_runs, schedules
from pipeline.service.scheduling.cron import Cron
from pipeline.service.scheduling.scheduler import EverySnapshot, RunState, upcoming
from pipeline.service.scheduling.schedules import Stored
from pipeline.service.service import Service
from pipeline.service.tokens import Caller, Role
from pipeline.service.web.rendering import as_yaml, page
from pipeline.spec import JobError

UPCOMING = 3
MAX_RUNS = 200
EXAMPLE = """\
name: "{schedule}-{snapshot}"
source:
  kind: commoncrawl
  snapshot: "{snapshot}"
  files: "0:100"
recipe: fineweb
output:
  path: "out/{schedule}/{snapshot}"
"""

Text = Annotated[str, Form(max_length=512)]
Occasion = Annotated[str, Form(pattern=OCCASION)]


@dataclass(frozen=True)
class NewForm:
    """What the form for a new schedule holds, as it was filled in."""

    name: str = ""
    job: str = EXAMPLE
    kind: str = "snapshots"
    cron: str = "0 6 * * MON"
    zone: str = "UTC"
    since: str = ""
    catch_up: bool = False
    retries: int = 2
    hours: float = 1.0
    priority: int = 0

    def content(self) -> dict[str, Any]:
        """The schedule as the API takes it. Raises JobError where the job is no YAML."""
        trigger: dict[str, Any] = {"snapshots": True}
        if self.kind == "cron":
            trigger = {"cron": self.cron, "zone": self.zone or "UTC"}
        if self.since.strip():
            trigger["since"] = self.since.strip()
        return {
            "name": self.name.strip(),
            "job": read_job(self.job.encode(errors="surrogatepass"), YAML[0]),
            "trigger": trigger,
            "catch_up": self.catch_up,
            "retries": self.retries,
            "retry_seconds": max(1, round(self.hours * 3_600)),
            "priority": self.priority,
        }


def schedules_pages(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()
    database, data = service.database, str(service.settings.data)

    @router.get("/schedules")
    def all_schedules(request: Request, caller: Reader) -> Response:
        now = datetime.now(UTC)
        with database.read() as connection:
            every = schedules.everything(connection)
            waiting = schedule_runs.waiting(connection)
            last = {each.name: schedule_runs.runs_of(connection, each, limit=1) for each in every}
        return page(
            request,
            "schedules.html.j2",
            schedules=every,
            waiting=waiting,
            awaited=publication.awaited(database, every, data, now),
            last=last,
            trigger={each.name: in_words(each) for each in every},
            next={each.name: upcoming(each, now, 1) for each in every if not each.paused},
            may_submit=caller.role == Role.SUBMIT,
        )

    @router.get("/schedules/new")
    def ask(request: Request, caller: Submitter) -> Response:
        return page(request, "schedule_new.html.j2", given=NewForm(), fault=None)

    @router.post("/schedules/new")
    async def create(
        request: Request,
        caller: Submitter,
        turns: TurnsHere,
        name: Text,
        job: Annotated[str, Form()],
        kind: Annotated[Literal["snapshots", "cron"], Form()],
        cron: Text = "",
        zone: Text = "",
        since: Text = "",
        catch_up: Annotated[bool, Form()] = False,
        retries: Annotated[int, Form(ge=0, le=20)] = 2,
        hours: Annotated[float, Form(gt=0, le=720, allow_inf_nan=False)] = 1.0,
        priority: Annotated[int, Form(ge=-100, le=100)] = 0,
    ) -> Response:
        given = NewForm(name, job, kind, cron, zone, since, catch_up, retries, hours, priority)
        try:
            made = await turns.checks.take(caller, lambda: add(service, given.content(), caller))
        except (JobError, Conflict) as error:
            return page(request, "schedule_new.html.j2", 422, given=given, fault=str(error))
        return RedirectResponse(f"/schedules/{made.name}", 303)

    @router.get("/schedules/{name}")
    def one(request: Request, caller: Reader, name: Name) -> Response:
        now = datetime.now(UTC)
        with database.read() as connection:
            schedule = schedules.get(connection, name)
            runs = schedule_runs.runs_of(connection, schedule, limit=MAX_RUNS)
        return page(
            request,
            "schedule.html.j2",
            schedule=schedule,
            trigger=in_words(schedule),
            runs=runs,
            waiting=[run for run in runs if run.state == RunState.WAITING],
            awaited=publication.awaited(database, [schedule], data, now).get(name),
            more_runs=len(runs) == MAX_RUNS,
            next=upcoming(schedule, now, UPCOMING) if not schedule.paused else [],
            spec=as_yaml(dict(schedule.spec)),
            may_change=caller.role == Role.SUBMIT and caller.team == schedule.team,
        )

    def change(name: str, caller: Caller, what: Callable[[sa.Connection, Stored], object]) -> Response:
        """Do something to a schedule of the caller's team."""
        with database.alone(schedules.LOCK) as connection:
            what(connection, own_schedule(connection, name, caller))
        return RedirectResponse(f"/schedules/{name}", 303)

    @router.post("/schedules/{name}/pause")
    def pause(caller: Submitter, name: Name) -> Response:
        return change(name, caller, lambda connection, _: schedules.pause(connection, name))

    @router.post("/schedules/{name}/resume")
    def resume(caller: Submitter, name: Name) -> Response:
        return change(name, caller, lambda connection, _: schedules.resume(connection, name))

    @router.get("/schedules/{name}/remove")
    def ask_to_remove(request: Request, caller: Submitter, name: Name) -> Response:
        with database.read() as connection:
            schedule = own_schedule(connection, name, caller)
        return page(request, "schedule_remove.html.j2", schedule=schedule)

    @router.post("/schedules/{name}/remove")
    def remove(caller: Submitter, name: Name) -> Response:
        change(name, caller, lambda connection, _: schedules.remove(connection, name))
        return RedirectResponse("/schedules", 303)

    @router.post("/schedules/{name}/retry")
    def retry(caller: Submitter, name: Name, occasion: Occasion) -> Response:
        now = datetime.now(UTC)
        return change(
            name,
            caller,
            lambda connection, schedule: schedule_runs.retry(
                connection, schedule, occasion, caller.name, now, service.check
            ),
        )

    @router.post("/schedules/{name}/skip")
    def skip(caller: Submitter, name: Name, occasion: Occasion) -> Response:
        now = datetime.now(UTC)
        return change(
            name,
            caller,
            lambda connection, schedule: schedule_runs.skip(connection, schedule, occasion, caller.name, now),
        )

    return router


def in_words(schedule: Stored) -> str:
    """When a schedule starts something."""
    trigger = schedule.trigger
    if isinstance(trigger, Cron):
        return f"{trigger.expression} ({trigger.zone})"
    assert isinstance(trigger, EverySnapshot)
    since = {None: "", "all": ", also those that there were"}.get(trigger.since, f" since {trigger.since}")
    return f"every new snapshot{since}"
