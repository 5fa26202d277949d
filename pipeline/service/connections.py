"""Who may hold a connection of the service, and for how long, before it has asked for anything.

Whoever asks is answered by the application, which has limits of its own. A connection that brings no whole request is
closed after a while, and sooner where there are many: the one that has waited longest gives way, so that a newcomer, or
who looks whether the process lives, always gets in. One whose peer takes nothing of what it is sent ends as well.
"""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.service.api.callers import network_of

REQUEST_SECONDS = 20
"""From the first byte, or from the connection's beginning, to the end of a request."""
TAKING_SECONDS = 60
"""So long a peer may take none of the bytes that wait for it."""
WAITING = 800
"""Connections without a whole request: below the 1,024 files that a process may commonly have open."""
OF_ONE = 200
"""Of these, from one address."""


class Connection(H11Protocol):
    """uvicorn's, with an end to waiting: by itself it gives a first request, and the rest of any, all the time."""

    _since: float | None = None
    """When the wait for a whole request began; None while one is answered."""
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._network = network_of(self.client[0] if self.client else "")
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux, tcp(7): also counts while the peer's window is shut
            made = transport.get_extra_info("socket")
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1_000 * TAKING_SECONDS)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wait_no_more()

    def _look(self) -> None:
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
        if not waits:
            self._wait_no_more()
        elif self._since is None:
            self._since = self.loop.time()
            self._alarm = self.loop.call_later(REQUEST_SECONDS, self._give_way)
            self._make_room()

    def _make_room(self) -> None:
        waiting = [each for each in self.connections if isinstance(each, Connection) and each._since is not None]
        from_here = [each for each in waiting if each._network == self._network]
        for some, most in ((from_here, OF_ONE), (waiting, WAITING)):
            if len(some) > most:
                min(some, key=lambda each: each._since or 0.0)._give_way()

    def _give_way(self) -> None:
        self._wait_no_more()
        self.transport.close()

    def _wait_no_more(self) -> None:
        self._since = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
