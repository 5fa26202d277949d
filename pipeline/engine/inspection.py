"""A look at every node of a cluster, once, before it works for a run or while it begins to. How: the engine knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from pipeline.engine import EngineError
from pipeline.engine.capacity import Node, alive
from pipeline.engine.installed import difference, installed

Answer = tuple[bool, Any]
"""Of `errand`: (True, what `unmet` says), or (False, what is installed there)."""
Look = Callable[[Node], Callable[[], Answer | None]]
"""Begins to look at a node. What it returns gives the answer when there is one, and raises NodeGone."""

SECONDS = 900.0
"""That a node may take to be looked at; it may have to fetch models first."""
_PAUSE = 0.1


class NodeGone(Exception):
    """A node, or the process that was to look, has ended meanwhile."""


class Inspection:
    """What is known of the nodes so far."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._waiting: dict[str, tuple[Node, Callable[[], Answer | None]]] = {}
        self._seen: set[str] = set()

    def all_of(self, nodes: Callable[[], Iterable[Node]]) -> None:
        """Look at all nodes there are, and wait for what comes of it. Raises EngineError."""
        deadline = time.monotonic() + SECONDS
        while self.go_on(nodes()):
            if time.monotonic() > deadline:
                (silent, _), *_ = self._waiting.values()
                raise EngineError(f"{_named(silent)}: runs nothing within {SECONDS:.0f} s; mend it, or take it away")
            time.sleep(_PAUSE)

    def go_on(self, nodes: Iterable[Node]) -> bool:
        """Look at those that are new, without waiting. Whether any was not heard of yet. Raises EngineError."""
        for node in alive(nodes):
            if node["NodeID"] not in self._seen:
                self._seen.add(node["NodeID"])
                self._waiting[node["NodeID"]] = node, self._look(node)
        lost = False
        for name, (node, answer) in list(self._waiting.items()):
            try:
                heard = answer()
            except NodeGone:
                lost = True  # if it is still among the nodes the next time, it is looked at again
                self._seen.discard(name)
            else:
                if heard is None:
                    continue
                alike, said = heard
                if (line := said if alike else difference(said, installed())) is not None:
                    raise EngineError(f"{_named(node)}: {line}")
            del self._waiting[name]
        return lost or bool(self._waiting)


def _named(node: Node) -> str:
    return f"node {node['NodeManagerAddress']}"
