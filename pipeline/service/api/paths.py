"""Which paths there are, whole, as routers put together have them: to say what a wrong method meets, and to count."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Scope

ELSEWHERE = "none"


class Paths:
    """Those of an app whose routes are all added."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._contexts = [each for each in iter_route_contexts(routes) if each.path is not None]
        self._patterns = {id(each.original_route): each.path or "" for each in self._contexts}

    def methods(self, path: str) -> list[str]:
        """What may be done at a path, in order of the alphabet (RFC 9110, section 10.2.1)."""
        found = set().union(*(each.methods or () for each in self._contexts if each.path_regex.match(path)))
        return sorted(found | {"HEAD"} if "GET" in found else found)

    def pattern(self, scope: Scope) -> str:
        """The path of the route that a request came to, with its parameters' names: `/api/v1/jobs/{job_id}`."""
        return self._patterns.get(id(scope.get("route")), ELSEWHERE)
