"""What operators and their programs ask: is the process alive, can it work, what does it count, how is the cluster."""

from __future__ import annotations

import functools
from typing import Annotated

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from pipeline.service.api.callers import Reader, ServiceHere
from pipeline.service.api.glance import Glance
from pipeline.service.api.problems import Problem, declared
from pipeline.service.api.views import ClusterState, Health
from pipeline.service.cluster import ClusterFault
from pipeline.service.database import MIGRATIONS

probes = APIRouter(tags=["operations"])
"""For everybody."""
router = APIRouter(tags=["operations"])


def _glance(request: Request) -> Glance:
    glance = request.app.state.glance
    assert isinstance(glance, Glance)
    return glance


GlanceHere = Annotated[Glance, Depends(_glance)]


@probes.get("/healthz", responses=declared(429))
async def healthz() -> Health:
    """The process is alive. Needs no token."""
    return Health(ok=True, checks={})


@probes.get("/readyz", responses=declared(429, 503))
def readyz(service: ServiceHere, glance: GlanceHere) -> Health:
    """The database answers, and its tables are this version's. Needs no token.

    A cluster that is away is told of, but makes nothing unready: jobs wait for it, and everything else works.
    """
    with service.database.read() as connection:
        there = MigrationContext.configure(connection).get_current_revision()
    if there != _head():
        said = f"the database's tables are at {there or 'nothing'}, this version's at {_head()}"
        raise Problem(503, said, "database", {"Retry-After": "5"})
    cluster = {True: None, False: "does not answer", None: "not known yet"}[glance.up()]
    return Health(ok=True, checks={"database": None, "cluster": cluster})


@router.get("/cluster")
def cluster(caller: Reader, glance: GlanceHere) -> ClusterState:
    """The machines that jobs run on."""
    try:
        return ClusterState.of(glance.nodes())
    except ClusterFault as fault:
        return ClusterState(reachable=False, said=str(fault), nodes=[])


scrapes = APIRouter(tags=["operations"])


@scrapes.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request, caller: Reader) -> PlainTextResponse:
    """For Prometheus. Needs a token like everything else: names of schedules are not for everybody."""
    registry = request.app.state.registry
    assert isinstance(registry, CollectorRegistry)
    return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@functools.cache
def _head() -> str | None:
    """The revision of the tables that this version works with."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()
