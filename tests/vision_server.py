"""A server that speaks the protocol of OpenAI's chat completions, and misbehaves in every way that a test asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["_Handler"], None]


@dataclass
class Model:
    """Replies are used up in order, the last for all that follow; `requests` are what came."""

    replies: list[Reply]
    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    together: int = 0
    """The most requests that were being answered at once."""
    finished: threading.Event = field(default_factory=threading.Event)
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._now += 1
            self.together = max(self.together, self._now)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def leave(self) -> None:
        with self._lock:
            self._now -= 1


class _Handler(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.1"
    request_body: bytes

    def do_POST(self) -> None:
        self.request_body = body = self.rfile.read(int(self.headers["content-length"]))
        reply = self.model.enter(
            {"path": self.path, **json.loads(body)}, {k.lower(): v for k, v in self.headers.items()}
        )
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.model.leave()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(*replies: Reply) -> Iterator[Model]:
    """A server on this machine for as long as the block lasts."""
    model = Model(list(replies))
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": model})) as server:
        server.daemon_threads = True
        server.block_on_close = False
        model.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield model
        finally:
            model.finished.set()
            server.shutdown()
            thread.join()


def says(text: str | None, finish: str = "stop", refusal: str | None = None) -> Reply:
    """A well-formed answer."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, "refusal": refusal},
    }
    return answers(200, json.dumps({"object": "chat.completion", "choices": [choice]}))


def answers(status: int, body: str, **headers: str) -> Reply:
    """Any status and body."""
    return lambda handler: handler.send(status, body.encode(), **headers)


def never(handler: _Handler) -> None:
    """No answer for as long as the server lives."""
    handler.model.finished.wait()
    handler.close_connection = True


def endless(handler: _Handler) -> None:
    """A body without an end."""
    handler.send_response(200)
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while not handler.model.finished.is_set():
        handler.wfile.write(b" " * 65536)


def hangs_up(handler: _Handler) -> None:
    """The end of the connection instead of an answer."""
    handler.close_connection = True
    handler.connection.close()


def where(part: str, reply: Reply, otherwise: Reply) -> Reply:
    """One reply for requests whose body has this in it, another for all others."""
    return lambda handler: (reply if part.encode() in handler.request_body else otherwise)(handler)


def together(count: int) -> Reply:
    """An answer only when so many requests wait for one."""
    barrier = threading.Barrier(count, timeout=30)

    def reply(handler: _Handler) -> None:
        barrier.wait()
        says("Side by side")(handler)

    return reply
