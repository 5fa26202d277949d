"""Everything that goes wrong, as RFC 9457 wants it said: `application/problem+json`, with the one line that the command
line would print as its detail.

Pages may have a say in how browsers get it (`app.state.error_page`); programs always get the document.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pipeline.faults import StoreError
from pipeline.service.api.headers import SECURE
from pipeline.service.api.paths import Paths
from pipeline.service.cluster import ClusterFault
from pipeline.service.jobs import Conflict, NoSuchJob
from pipeline.service.planning import PlanningFault
from pipeline.service.scheduling.schedule_runs import NoSuchRun
from pipeline.service.scheduling.schedules import NoSuchSchedule
from pipeline.service.service import QueueFull
from pipeline.spec import JobError

MEDIA_TYPE = "application/problem+json"
URN = "urn:crawlmill:problem:"
RETRY_SECONDS = 5
MAX_DETAIL = 2_000

log = logging.getLogger("crawlmill.api")


FORESEEN: tuple[type[Exception], ...] = (
    *(JobError, Conflict, NoSuchJob, NoSuchSchedule, NoSuchRun, QueueFull, PlanningFault),
    *(ClusterFault, StoreError, sa.exc.SQLAlchemyError),
)


class Problem(Exception):
    """An answer that is an error. kind: after `urn:crawlmill:problem:`; empty where the status says it all."""

    def __init__(self, status: int, detail: str, kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind
        self.detail = " ".join(detail.encode(errors="replace").decode().split())[:MAX_DETAIL]
        self.headers = dict(headers or {})


class ProblemDocument(BaseModel):
    """RFC 9457, section 3."""

    type: str = Field(examples=["about:blank", f"{URN}job"])
    title: str
    status: int
    detail: str
    instance: str


def document(request: Request, problem: Problem) -> JSONResponse:
    """The problem as programs read it."""
    content = ProblemDocument(
        type=URN + problem.kind if problem.kind else "about:blank",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=request.url.path,
    )
    headers = {**SECURE, **problem.headers}
    return JSONResponse(content.model_dump(), problem.status, headers, MEDIA_TYPE)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for problems that a route may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem_of(error: Exception) -> Problem | None:
    """What an error of this project's, or of storage, means to whoever asked; None for what nobody foresaw."""
    said = str(error)
    if isinstance(error, Problem):
        return error
    if isinstance(error, JobError):
        return Problem(422, said, "job")
    if isinstance(error, Conflict):
        return Problem(409, said, "conflict")
    if isinstance(error, NoSuchJob | NoSuchSchedule | NoSuchRun):
        return Problem(404, said, "not-there")
    if isinstance(error, QueueFull):
        return _later(said, "queue")
    if isinstance(error, PlanningFault):
        return Problem(500, said, "planning")
    if isinstance(error, ClusterFault):
        return _later(f"cluster: {said}", "cluster")
    if isinstance(error, StoreError):
        return _later(said, "storage")
    if isinstance(error, sa.exc.DataError):
        return Problem(422, "holds what the database cannot keep, such as a NUL; leave it out", "request")
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        log.error("database: %s", " ".join(str(getattr(error, "orig", error)).split())[:300])
        return _later("the database does not answer; try again in a moment", "database")
    return None


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""

    def foreseen(request: Request, error: Exception) -> Response:
        return answer(request, problem_of(error) or _defect(error))

    def by_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(request))
        return answer(request, Problem(error.status_code, _in_words(request, error), headers=headers))

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = error.errors()
        if any(fault["loc"][0] == "path" for fault in faults):  # a name that nothing here can have
            return answer(request, Problem(404, f"nothing at {request.url.path}"))
        return answer(request, Problem(422, _in_a_line(faults), "request"))

    app.add_exception_handler(HTTPException, by_framework)
    app.add_exception_handler(RequestValidationError, invalid)
    kinds: tuple[type[Exception], ...] = (Problem, *FORESEEN, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, foreseen)


def answer(request: Request, problem: Problem) -> Response:
    """The problem as whoever asked reads it: a page for people, where there are pages, the document for programs."""
    page = getattr(request.app.state, "error_page", None)
    if page is not None and _wants_page(request):
        made: Response = page(request, problem)
        return made
    return document(request, problem)


def _later(said: str, kind: str) -> Problem:
    return Problem(503, said, kind, {"Retry-After": str(RETRY_SECONDS)})


def _defect(error: Exception) -> Problem:
    """Whoever asked gets its name alone; the server that runs the app logs where."""
    return Problem(500, f"a defect of crawlmill: {type(error).__name__}; the service's log says more", "defect")


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _methods(request: Request) -> list[str]:
    paths = request.app.state.paths
    assert isinstance(paths, Paths)
    return paths.methods(request.url.path)


def _in_words(request: Request, error: HTTPException) -> str:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"nothing at {request.url.path}; /api/v1/openapi.json says what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.method} is not for {request.url.path}; it takes {' and '.join(_methods(request))}"
    return str(error.detail)


def _in_a_line(faults: Sequence[Mapping[str, Any]]) -> str:
    """`limit: input should be less than or equal to 200 (it is '999')`."""
    fault, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    where = ".".join(str(step) for step in fault["loc"][1:]) or "request"
    if fault["type"] == "missing":
        return f"{where}: missing{more}"
    said = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{where}: {said} (it is {reprlib.repr(fault['input'])}){more}"
