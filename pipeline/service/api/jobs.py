"""Jobs over HTTP: submit, plan, list, look at, cancel, try again, forget. What that means: `pipeline.service.jobs`."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from pipeline.service import jobs
from pipeline.service.api.body import BodyHere, documented
from pipeline.service.api.callers import Reader, ServiceHere, Submitter, must_be_of
from pipeline.service.api.paging import LINKED, Cursor, link
from pipeline.service.api.problems import Problem, declared
from pipeline.service.api.slow import TurnsHere
from pipeline.service.api.views import JobDetail, JobPage, JobSummary, Plan
from pipeline.service.jobs import State
from pipeline.service.service import Service
from pipeline.service.tokens import Caller

JobId = Annotated[str, Path(pattern="^[a-z2-7]{12}$", examples=["k3v7q2m7xyab"])]
NAME = "^[A-Za-z0-9._-]{1,128}$"
"""What names of jobs and teams are made of, and parts of them."""
EXAMPLE = {
    "name": "first",
    "source": {"kind": "warc", "paths": ["crawl/*.warc.gz"]},
    "recipe": "fineweb",
    "output": {"path": "out/first"},
}
MAX_PRIORITY = 100
MAX_TAIL = 100_000

router = APIRouter(tags=["jobs"])


@router.post(
    "/jobs",
    status_code=201,
    openapi_extra=documented("Job", EXAMPLE),
    responses={
        200: {"model": JobDetail, "description": "This key was used for this job before; nothing was done"},
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "where the job is from now on"}}},
        **declared(403, 409, 413, 415),
    },
)
async def submit(
    request: Request,
    response: Response,
    service: ServiceHere,
    caller: Submitter,
    turns: TurnsHere,
    body: BodyHere,
    priority: Annotated[int, Query(ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="higher goes first")] = 0,
    idempotency_key: Annotated[
        str | None,
        Header(pattern=r"^[\x21-\x7e]{1,255}$", description="the same key and job again queue nothing, for 7 days"),
    ] = None,
) -> JobDetail:
    """Queue a job, for the team of the token."""
    made, first = await turns.checks.take(
        caller, lambda: _submit(service, body.read(), caller, priority, idempotency_key)
    )
    response.status_code = 201 if first else 200
    response.headers["Location"] = str(request.app.url_path_for("get_job", job_id=made.id))
    return made


@router.post("/plan", openapi_extra=documented("Job", EXAMPLE), responses=declared(403, 413, 415))
async def plan(service: ServiceHere, caller: Submitter, turns: TurnsHere, body: BodyHere) -> Plan:
    """Check a job and list what it would read; changes nothing."""
    return Plan.model_validate(await turns.plans.take(caller, lambda: service.plan(body.read())))


@router.get("/jobs", responses=LINKED)
def list_jobs(
    request: Request,
    response: Response,
    service: ServiceHere,
    caller: Reader,
    state: Annotated[list[State], Query(description="any of these", max_length=len(State))] = [],  # noqa: B006
    team: Annotated[str | None, Query(pattern=NAME)] = None,
    name: Annotated[str | None, Query(pattern=NAME, description="a part of it")] = None,
    limit: Annotated[int, Query(ge=1, le=jobs.MAX_PAGE)] = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Jobs, newest first."""
    try:
        with service.database.read() as connection:
            page = jobs.find(connection, states=state, team=team, name=name, limit=limit, cursor=cursor)
    except ValueError as error:
        raise Problem(422, str(error), "request") from error
    link(request, response, page.following)
    return JobPage(jobs=[JobSummary.of(job) for job in page.jobs], next=page.following)


@router.get("/jobs/{job_id}", responses=declared(404))
def get_job(job_id: JobId, service: ServiceHere, caller: Reader) -> JobDetail:
    """A job, and how far it is."""
    with service.database.read() as connection:
        return _detail(connection, jobs.get(connection, job_id))


@router.post("/jobs/{job_id}/cancel", responses=declared(403, 404, 409))
def cancel(job_id: JobId, service: ServiceHere, caller: Submitter) -> JobDetail:
    """End a job: at once where it waits, else as soon as its driver has heard of it."""
    with service.database.write() as connection:
        _own(connection, job_id, caller)
        return _detail(connection, jobs.cancel(connection, job_id, caller.name))


@router.post("/jobs/{job_id}/retry", responses=declared(403, 404, 409))
def retry(job_id: JobId, service: ServiceHere, caller: Submitter) -> JobDetail:
    """Queue a job again that failed or was cancelled; it goes on where it ended."""
    with service.database.write() as connection:
        _own(connection, job_id, caller)
        made = jobs.retry(connection, job_id, caller.name)
        service.leave_room(connection, made.team)
        return _detail(connection, made)


@router.delete("/jobs/{job_id}", status_code=204, responses=declared(403, 404, 409))
def delete(job_id: JobId, service: ServiceHere, caller: Submitter) -> None:
    """Forget a job that is over. Its dataset stays."""
    with service.database.write() as connection:
        _own(connection, job_id, caller)
        jobs.delete(connection, job_id)


@router.get(
    "/jobs/{job_id}/logs",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **declared(404)},
)
async def logs(
    job_id: JobId,
    service: ServiceHere,
    caller: Reader,
    turns: TurnsHere,
    tail: Annotated[int | None, Query(ge=0, le=MAX_TAIL, description="so many of its last lines")] = None,
) -> PlainTextResponse:
    """What the job's last attempt printed, as the cluster has it: of a long log the last 4 MiB."""
    return PlainTextResponse(await turns.logs.take(caller, lambda: _log(service, job_id, tail)))


def _log(service: Service, job_id: str, tail: int | None) -> bytes:
    job = job_named(service, job_id)
    said = service.cluster.logs(job.submission_id) if job.attempt else None
    if said is None:
        why = "it has not started yet" if job.attempt == 0 else "the cluster has none of it any more"
        said = f"no log of job {job_id}: {why}\n"
    elif tail is not None:
        said = "".join(said.splitlines(keepends=True)[-tail:] if tail else [])
    return said.encode(errors="replace")


def job_named(service: Service, job_id: str) -> jobs.Job:
    """Raises NoSuchJob."""
    with service.database.read() as connection:
        return jobs.get(connection, job_id)


def _submit(
    service: Service, content: object, caller: Caller, priority: int, key: str | None
) -> tuple[JobDetail, bool]:
    made, first = service.submit(content, caller, priority, key)
    with service.database.read() as connection:
        return _detail(connection, made), first


def _detail(connection: sa.Connection, job: jobs.Job) -> JobDetail:
    return JobDetail.whole(job, jobs.spec_of(connection, job.id))


def _own(connection: sa.Connection, job_id: str, caller: Caller) -> None:
    """Raises NoSuchJob, and Problem where a job is another team's."""
    must_be_of(caller, jobs.get(connection, job_id).team, f"job {job_id}")
