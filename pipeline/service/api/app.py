"""The application: routes under /api/v1, what operators ask, the pages, and what every request passes on its way."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from pipeline import __version__, spec
from pipeline.service.api import datasets, events, jobs, operations, problems, schedules, views
from pipeline.service.api.body_limit import BodyLimit
from pipeline.service.api.callers import BEARER
from pipeline.service.api.events import Streams
from pipeline.service.api.gate import Gate
from pipeline.service.api.glance import Glance
from pipeline.service.api.head import Head
from pipeline.service.api.headers import SecureHeaders
from pipeline.service.api.metrics import Requests, Stock
from pipeline.service.api.paths import Paths
from pipeline.service.api.slow import Slow
from pipeline.service.scheduling.schedules import NewSchedule
from pipeline.service.service import Service

API = "/api/v1"
EVERYWHERE = problems.declared(401, 403, 421, 422, 429, 500, 503)
"""Problems that any route may answer with."""
ABOUT = (
    "Errors are problem documents (RFC 9457) whose `detail` is the line that the command line prints."
    " Without any token, a service that listens on this machine alone takes requests from it without one."
)


def create_app(service: Service) -> FastAPI:
    """The service's application, for `uvicorn` or any other ASGI server."""
    from pipeline.service.web import error_page, pages  # which are made with the modules of this package

    app = FastAPI(
        title="crawlmill",
        version=__version__,
        description=ABOUT,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # FastAPI's page of it loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    registry, glance = CollectorRegistry(), Glance(service.cluster)
    registry.register(Stock(service, glance))
    app.state.service, app.state.registry, app.state.glance = service, registry, glance
    app.state.turns, app.state.streams = Slow(), Streams()
    problems.install(app)
    app.add_middleware(Head)
    app.add_middleware(BodyLimit, most=service.settings.limits.body_bytes)
    app.add_middleware(Gate, service=service)  # the last one added is the first to see a request
    app.add_middleware(SecureHeaders)
    app.add_middleware(Requests, registry=registry)

    api = APIRouter(prefix=API, responses=EVERYWHERE, dependencies=[BEARER])
    for router in (jobs.router, events.router, datasets.router, schedules.router, operations.router):
        api.include_router(router)
    app.include_router(api)
    app.include_router(operations.probes)
    app.include_router(operations.scrapes, responses=EVERYWHERE, dependencies=[BEARER])
    app.include_router(pages(service))
    app.state.error_page = error_page
    app.state.paths = Paths(app.routes)
    document = _document(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with what it cannot see: a job comes in two languages, and errors are no JSON of ours."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = made["components"]["schemas"]
    for model in (spec.Job, NewSchedule, views.EventPage, problems.ProblemDocument):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return made
