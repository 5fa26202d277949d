"""The web pages: `pages` are the routes, `error_page` is how a browser gets what went wrong (`app.state.error_page`).

Rendered here from templates; a small script only makes them livelier. Data come from the same functions that the API
calls, never over HTTP from the service itself.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from pipeline.service.api.problems import Problem
from pipeline.service.service import Service
from pipeline.service.web.cluster_page import cluster_page
from pipeline.service.web.errors import error_page
from pipeline.service.web.jobs_pages import job_pages
from pipeline.service.web.records_pages import records_pages
from pipeline.service.web.rendering import static_answer
from pipeline.service.web.schedules_pages import schedules_pages
from pipeline.service.web.sign_in import sign_in_pages
from pipeline.service.web.snapshots_page import snapshots_page
from pipeline.service.web.submit_page import submit_page

__all__ = ["error_page", "pages"]


def pages(service: Service) -> APIRouter:
    """All routes of the pages, at the root of the app; they stay out of the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    makers = (job_pages, submit_page, records_pages, schedules_pages, snapshots_page, cluster_page, sign_in_pages)
    for each in makers:
        router.include_router(each(service))

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        """To anybody: the page that asks for a token wants its style, too."""
        answer = static_answer(name)
        if answer is None:
            raise Problem(404, f"nothing at /static/{name}")
        return answer

    return router
