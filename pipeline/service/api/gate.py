"""What a request passes before any route sees it: who asks, whether a browser was tricked into asking, and how often.

The answer to "who" is left in `scope["caller"]`: a Caller, or the Problem with which a route that needs one answers.
Limits hold for one process; several servers allow so much each.
"""

from __future__ import annotations

import math
import time

import anyio
import sqlalchemy as sa
from anyio import to_thread
from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.service import tokens
from pipeline.service.api import callers
from pipeline.service.api.problems import Problem, answer, problem_of
from pipeline.service.service import Service
from pipeline.service.tokens import Caller

OPEN = frozenset({"/healthz", "/readyz"})
"""For those who look after processes: they have no token, and ask by whatever name."""
LIVENESS = "/healthz"
"""Is answered however much is going on."""
UNDERWAY = 1_000
"""Requests at a time, streams among them; more are asked to come again."""
LOOKING_UP = 8
"""Tokens looked up side by side; routes have threads of their own."""


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._limit = RateLimitItemPerMinute(service.settings.limits.requests_per_minute)
        # The moving window of `limits` keeps every address it has ever met; the counter of this one forgets.
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._underway = 0
        self._threads = anyio.CapacityLimiter(LOOKING_UP)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._underway += 1
        try:
            request = Request(scope)
            problem = await self._pass(request)
            if problem is None:
                await self._app(scope, receive, send)
            else:
                await answer(request, problem)(scope, receive, send)
        finally:
            self._underway -= 1

    async def _pass(self, request: Request) -> Problem | None:
        """Find out who asks; what to answer where the request ends here."""
        if self._underway > UNDERWAY and request.url.path != LIVENESS:
            return Problem(503, f"{UNDERWAY} requests are under way already", "busy", {"Retry-After": "5"})
        if request.url.path in OPEN:
            return self._count(request, None)
        given = callers.presented(request)
        found = await to_thread.run_sync(self._who, given[0] if given else None, limiter=self._threads)
        request.scope["caller"] = found
        if (problem := self._count(request, found)) is not None:
            return problem
        if found == tokens.LOCAL and not callers.from_here(request):
            said = "this service speaks as localhost alone, and through no proxy, as long as it has no tokens"
            return Problem(421, said, "host")
        by_browser = given is None or given[1]
        if request.method not in callers.SAFE and by_browser:
            own = callers.own_origin(request)
            if own is False or (own is None and given is not None):
                return Problem(403, "this did not come from a page of this service; nothing was done", "origin")
        return None

    def _who(self, token: str | None) -> Caller | Problem:
        try:
            if token is not None:
                return tokens.use(self._service.database, token) or _stranger("no such token, or a revoked one")
            if self._service.on_loopback:
                with self._service.database.read() as connection:
                    if not tokens.exist(connection):
                        return tokens.LOCAL
            return _stranger("no token")
        except sa.exc.SQLAlchemyError as error:
            problem = problem_of(error)
            if problem is None:
                raise
            return problem

    def _count(self, connection: HTTPConnection, found: Caller | Problem | None) -> Problem | None:
        key = callers.share_of(connection, found)
        if self._counter.hit(self._limit, key):
            return None
        wait = self._counter.get_window_stats(self._limit, key).reset_time - time.time()
        seconds = str(max(1, math.ceil(wait)))
        said = f"more than {self._limit.amount} requests a minute; try again in {seconds} s"
        return Problem(429, said, "rate", {"Retry-After": seconds})


def _stranger(why: str) -> Problem:
    return Problem(401, f"{why}: {callers.NEEDED}", "token", {"WWW-Authenticate": 'Bearer realm="crawlmill"'})
