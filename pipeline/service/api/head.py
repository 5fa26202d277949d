"""HEAD, answered as GET is but for the body (RFC 9110, section 9.3.2), whatever the route."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """ASGI middleware. The work on an answer ends with its headers: an event stream would go on for ever."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}  # the server's own scope keeps HEAD, by which it knows that no body follows

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope.update(asked, method="HEAD")  # the route, by which requests are counted
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                work.cancel()

        with anyio.CancelScope() as work:
            await self._app(asked, receive, sending)
