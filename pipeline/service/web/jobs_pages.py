"""The pages about jobs: all of them, one live, its log, and what a person may do with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline.service import jobs
from pipeline.service.api.callers import Reader, Submitter, must_be_of
from pipeline.service.api.jobs import JobId, job_named
from pipeline.service.api.problems import Problem
from pipeline.service.api.slow import TurnsHere
from pipeline.service.cluster import ClusterFault
from pipeline.service.jobs import Event, Job, State
from pipeline.service.service import Service
from pipeline.service.tokens import Caller, Role
from pipeline.service.web.grid import draw, signs
from pipeline.service.web.progress_view import MILESTONES, Snapshot, funnel, milestone, read_snapshot
from pipeline.service.web.rendering import as_yaml, page

PER_PAGE = 25
MAX_CURRENT = 50
MAX_EVENTS = 200
LOG_LINES = 500

Word = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
"""Whatever people type; a NUL, which databases do not take, they cannot."""


@dataclass(frozen=True)
class Asked:
    """What the list is filtered by."""

    state: str
    team: str
    name: str
    cursor: str

    @property
    def any(self) -> bool:
        return bool(self.state or self.team or self.name)

    def link(self, cursor: str | None) -> str:
        """The same list from another place on."""
        named = {"state": self.state, "team": self.team, "name": self.name, "cursor": cursor or ""}
        words = urlencode({name: value for name, value in named.items() if value})
        return f"/?{words}" if words else "/"


def job_pages(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()
    database = service.database

    @router.get("/")
    def all_jobs(
        request: Request,
        caller: Reader,
        state: Annotated[str, Query(max_length=16)] = "",
        team: Word = "",
        name: Word = "",
        cursor: Word = "",
    ) -> Response:
        asked = Asked(state if state in list(State) else "", team.strip(), name.strip(), cursor)
        over = [each for each in State if each.over]
        with database.read() as connection:
            states = [asked.state] if asked.state else [] if asked.any else over
            try:
                found = jobs.find(
                    connection,
                    states=states,
                    team=asked.team or None,
                    name=asked.name or None,
                    limit=PER_PAGE,
                    cursor=asked.cursor or None,
                )
            except ValueError as error:
                raise Problem(400, str(error)) from error
            current = [] if asked.any or asked.cursor else jobs.active(connection)
            counts = jobs.counts(connection)
        current.sort(key=lambda job: job.state == State.QUEUED)  # stable: those that wait stay in their order
        shown = current[:MAX_CURRENT]
        return page(
            request,
            "jobs.html.j2",
            asked=asked,
            counts=counts,
            states=list(State),
            current=shown,
            more_current=len(current) - len(shown),
            found=found.jobs,
            snapshots={job.id: read_snapshot(job.progress) for job in (*shown, *found.jobs)},
            first=asked.link(None),
            following=asked.link(found.following) if found.following else None,
            may_submit=caller.role == Role.SUBMIT,
        )

    @router.get("/jobs")
    def as_people_type_it() -> Response:
        return RedirectResponse("/", 308)

    @router.get("/jobs/{job_id}")
    def one_job(request: Request, caller: Reader, job_id: JobId) -> Response:
        with database.read() as connection:
            job = jobs.get(connection, job_id)
            events = _last_events(connection, job_id)
            ahead = _ahead(connection, job)
            spec = jobs.spec_of(connection, job_id)
        snapshot = read_snapshot(job.progress)
        return page(
            request,
            "job.html.j2",
            job=job,
            snapshot=snapshot,
            milestones=[each for each in MILESTONES if each != "meetings" or _meets(snapshot)],
            milestone=milestone(snapshot) if snapshot else "planning",
            grid=draw(snapshot.states) if snapshot else None,
            signs=signs(),
            funnel=funnel(snapshot) if snapshot and snapshot.read else [],
            events=events,
            more_events=len(events) == MAX_EVENTS,
            ahead=ahead,
            spec=as_yaml(dict(spec)),
            announced=_announced(job, snapshot),
            ended=job.state in (State.COMPLETE, State.FAILED),
            may_change=caller.role == Role.SUBMIT and caller.team == job.team,
            may_submit=caller.role == Role.SUBMIT,
        )

    @router.get("/jobs/{job_id}/log")
    async def log(
        request: Request,
        caller: Reader,
        job_id: JobId,
        turns: TurnsHere,
        lines: Annotated[int, Query(ge=1, le=LOG_LINES)] = LOG_LINES,
    ) -> Response:
        return await turns.logs.take(caller, lambda: show_log(request, job_id, lines))

    def show_log(request: Request, job_id: str, lines: int) -> Response:
        job = job_named(service, job_id)
        text, fault = None, None
        try:
            text = service.cluster.logs(job.submission_id) if job.attempt else None
        except ClusterFault as error:
            fault = str(error)
        said = (text or "").splitlines()
        return page(
            request,
            "log.html.j2",
            job=job,
            log="\n".join(said[-lines:]) if text else text,
            cut=len(said) > lines,
            lines=lines,
            fault=fault,
        )

    @router.get("/jobs/{job_id}/cancel")
    def ask_to_cancel(request: Request, caller: Submitter, job_id: JobId) -> Response:
        job = _to_change(caller, job_named(service, job_id))
        if job.state.over:
            raise jobs.Conflict(f"job {job_id} is {job.state} already")
        return page(request, "cancel.html.j2", job=job)

    @router.post("/jobs/{job_id}/cancel")
    def cancel(caller: Submitter, job_id: JobId) -> Response:
        with database.write() as connection:
            _to_change(caller, jobs.get(connection, job_id))
            jobs.cancel(connection, job_id, caller.name)
        return RedirectResponse(f"/jobs/{job_id}", 303)

    @router.post("/jobs/{job_id}/retry")
    def retry(caller: Submitter, job_id: JobId) -> Response:
        with database.write() as connection:
            _to_change(caller, jobs.get(connection, job_id))
            service.leave_room(connection, jobs.retry(connection, job_id, caller.name).team)
        return RedirectResponse(f"/jobs/{job_id}", 303)

    return router


def _to_change(caller: Caller, job: Job) -> Job:
    must_be_of(caller, job.team, f"job {job.id}")
    return job


def _ahead(connection: sa.Connection, job: Job) -> int:
    """How many wait before it."""
    if job.state != State.QUEUED:
        return 0
    waiting = [each.id for each in jobs.active(connection) if each.state == State.QUEUED]
    return waiting.index(job.id) if job.id in waiting else 0


def _meets(snapshot: Snapshot | None) -> bool:
    """Whether a meeting is going on or was."""
    return snapshot is not None and (snapshot.after is not None or milestone(snapshot) == "meetings")


def _last_events(connection: sa.Connection, job_id: str) -> list[Event]:
    """The newest first."""
    last: deque[Event] = deque(maxlen=MAX_EVENTS)
    while some := jobs.events_of(connection, job_id, after=last[-1].id if last else 0):
        last.extend(some)
    return list(reversed(last))


def _announced(job: Job, snapshot: Snapshot | None) -> str:
    """What is read out when it changes: the state, and every tenth of the shards."""
    if snapshot is None or job.state.over or snapshot.share_done is None:
        return f"{job.name}: {job.state}"
    return f"{job.name}: {job.state}, {10 * int(10 * snapshot.share_done)} % of the shards done"
