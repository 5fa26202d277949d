"""The page about the cluster: its nodes and what is in use of them, or why nobody can say."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from pipeline.service.api.callers import Reader
from pipeline.service.cluster import ClusterFault, Node
from pipeline.service.service import Service
from pipeline.service.web.rendering import page


def cluster_page(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.get("/cluster")
    def cluster(request: Request, caller: Reader) -> Response:
        fault: str | None = None
        nodes: Sequence[Node] = ()
        try:
            nodes = request.app.state.glance.nodes()
        except ClusterFault as error:
            fault = str(error)
        alive = [node for node in nodes if node.alive]
        return page(
            request,
            "cluster.html.j2",
            url=str(getattr(service.cluster, "url", "")),
            fault=fault,
            nodes=nodes,
            alive=alive,
            cpus_used=_sum([node.cpus_used for node in alive]),
            memory_used=_sum([node.memory_used for node in alive]),
        )

    return router


def _sum(numbers: Sequence[float | None]) -> float | None:
    """None where one is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None
