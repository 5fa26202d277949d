"""How many tasks the nodes of a cluster can hold, and waiting for the first that holds one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.engine import EngineError

_POLL_SECONDS = 0.5

Node = Mapping[str, Any]
"""As Ray describes it: "NodeID", "NodeManagerAddress", "Alive", and "Resources" by name."""

log = logging.getLogger("crawlmill")


def alive(nodes: Iterable[Node]) -> list[Node]:
    """Those that work can be sent to."""
    return [node for node in nodes if node["Alive"]]


def places(nodes: Iterable[Node], cpus: int, memory: int) -> int:
    """Tasks of so many processors and bytes that the nodes hold together, each of them on one node."""
    return sum(_on(node["Resources"], cpus, memory) for node in alive(nodes))


def await_place(nodes: Callable[[], Iterable[Node]], cpus: int, memory: int, seconds: float) -> None:
    """Return once a node holds a task; workers of a cluster may be starting yet. Says so, and raises EngineError."""
    if places(nodes(), cpus, memory):
        return
    what = f"{cpus} processor{'s' * (cpus > 1)} and {memory / 2**30:.1f} GiB"
    if seconds:
        log.warning("no node of the cluster has %s yet; waiting up to %.0f s for one", what, seconds)
    deadline = time.monotonic() + seconds
    while not places(nodes(), cpus, memory):
        if time.monotonic() >= deadline:
            after = f" after {seconds:.0f} s" if seconds else ""
            raise EngineError(
                f"the largest node of the cluster has {_largest(nodes())}{after}, a shard asks for {what}:"
                " set run.cpus_per_shard or run.memory_per_shard lower, or add nodes"
            )
        time.sleep(min(_POLL_SECONDS, seconds))


def _on(resources: Mapping[str, float], cpus: int, memory: int) -> int:
    return int(min(resources.get("CPU", 0) // cpus, resources.get("memory", 0) // memory))


def _largest(nodes: Iterable[Node]) -> str:
    there: list[Mapping[str, float]] = [node["Resources"] for node in alive(nodes)]
    best = max(there, key=lambda each: (each.get("CPU", 0), each.get("memory", 0)), default={})
    return f"{best.get('CPU', 0):.0f} processors and {best.get('memory', 0) / 2**30:.1f} GiB"
