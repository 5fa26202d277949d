"""The page that takes a job: written as YAML, checked, and submitted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline.service import jobs
from pipeline.service.api.body import YAML, read_job
from pipeline.service.api.callers import Submitter
from pipeline.service.api.jobs import MAX_PRIORITY
from pipeline.service.api.slow import TurnsHere
from pipeline.service.jobs import Conflict
from pipeline.service.service import QueueFull, Service
from pipeline.service.tokens import Caller
from pipeline.service.web.rendering import as_yaml, page
from pipeline.spec import JobError

EXAMPLE = """\
name: my-first-job
source:
  kind: warc
  paths: ["crawl/*.warc.gz"]     # below the service's data folder
recipe: fineweb                  # `crawlmill recipes` lists them
override:
  language: {keep: [eng], min_score: 0.65}
output:
  path: out/my-first-job
"""

Like = Annotated[str, Query(pattern="^([a-z2-7]{12})?$", description="a job to begin with")]


@dataclass(frozen=True)
class PlanView:
    """What a plan comes to, for people. bytes: None where an input does not say."""

    inputs: int
    bytes: int | None
    output: str
    resumes: bool
    stages: list[str]
    fingerprint: str


def submit_page(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def form(request: Request, spec: str, status: int = 200, **content: Any) -> Response:
        said: dict[str, Any] = {"fault": None, "undecided": None, "plan": None, "priority": 0}
        said["key"] = secrets.token_urlsafe(16)
        return page(request, "submit.html.j2", status, spec=spec, data=str(service.settings.data), **(said | content))

    @router.get("/submit")
    def ask(
        request: Request, caller: Submitter, like: Annotated[str, Query(pattern="^[a-z2-7]{0,12}$")] = ""
    ) -> Response:
        if not like:
            return form(request, EXAMPLE)
        with service.database.read() as connection:
            spec = jobs.spec_of(connection, like)
        return form(request, as_yaml(dict(spec)))

    @router.post("/submit")
    async def take(
        request: Request,
        caller: Submitter,
        turns: TurnsHere,
        spec: Annotated[str, Form()],
        key: Annotated[str, Form(pattern="^[A-Za-z0-9_-]{8,64}$")],
        do: Annotated[Literal["check", "submit"], Form()],
        priority: Annotated[int, Form(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0,
    ) -> Response:
        try:
            if do == "submit":
                made = await turns.checks.take(caller, lambda: _submitted(service, spec, caller, priority, key))
                return RedirectResponse(f"/jobs/{made.id}", 303)
            plan = await turns.plans.take(caller, lambda: service.plan(_read(spec)))
        except (JobError, Conflict, QueueFull) as error:
            return form(request, spec, 422, fault=str(error), priority=priority)
        undecided = plan.get("undecided")
        return form(
            request, spec, plan=None if undecided else _view(plan), undecided=undecided, priority=priority, key=key
        )

    return router


def _submitted(service: Service, spec: str, caller: Caller, priority: int, key: str) -> jobs.Job:
    """A form that is sent twice, by a double click or on going back, is one job."""
    made, _ = service.submit(_read(spec), caller, priority, f"page-{key}")
    return made


def _read(spec: str) -> Any:
    """Browsers end lines with CR LF, which YAML takes for the same."""
    return read_job(spec.encode(errors="surrogatepass"), YAML[0])


def _view(plan: Mapping[str, Any]) -> PlanView:
    """plan: as `pipeline.service.planning` gives it."""
    return PlanView(
        inputs=int(plan["inputs"]["count"]),
        bytes=plan["inputs"]["bytes"],
        output=str(plan["output"]),
        resumes=bool(plan["resumes"]),
        stages=[str(stage["kind"]) for stage in plan["stages"]],
        fingerprint=str(plan["fingerprint"]),
    )
