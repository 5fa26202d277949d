"""How long a request may be, by what it announces and by what then comes.

Starlette has such a limit; its answer to an announced length is plain text, and cannot be a problem document.
"""

from __future__ import annotations

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.api.problems import Problem, answer


class BodyLimit:
    """ASGI middleware. most: bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > self._most:
            await answer(request, Problem(413, self._said))(scope, receive, send)
            return
        came = 0

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise HTTPException(413, self._said)  # which FastAPI lets through, also where it reads a form
            return message

        await self._app(scope, receiving, send)

    @property
    def _said(self) -> str:
        return f"a request may have {self._most} bytes (setting limits.body_bytes)"
