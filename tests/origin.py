"""A web server of ours for tests: real sockets on this machine, answers as a test says, and a log of who asked when."""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Behaviour = Callable[["Handler"], None]
"""Answers one request, in whatever way."""
PDF = b"%PDF-1.4\n" + b"1 0 obj\n<<>>\nendobj\n" * 40 + b"startxref\n0\n%%EOF\n"


@dataclass
class Asked:
    """One request; times are seconds on the server's own clock."""

    path: str
    host: str
    agent: str
    came: float
    went: float = math.inf


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        asked = Asked(self.path, self.headers["Host"], self.headers["User-Agent"], time.monotonic())
        origin = self.server.origin
        origin.log.append(asked)
        self.close_connection = True
        self.count = origin.count(self.path)
        try:
            origin.behaviour(self.path)(self)
        except OSError:
            pass  # the client went away
        finally:
            asked.went = time.monotonic()

    def log_message(self, *arguments: Any) -> None:
        """The log is `Origin.log`."""

    def raw(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send bytes as they are."""
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
            if pause and self.server.origin.closed.wait(pause):
                raise OSError("the server closes")


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    origin: Origin

    def handle_error(self, *arguments: Any) -> None:
        """Clients break connections here on purpose."""


@dataclass
class Origin:
    """Runs in threads while the `with` block does. `pages` has what to do by path, "*" for the others."""

    pages: Mapping[str, Behaviour]
    tls: ssl.SSLContext | None = None
    log: list[Asked] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    _counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.origin = self
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def place(self) -> str:
        """As `allow_hosts` has it."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return self._counts.get(path, 0)

    def count(self, path: str) -> int:
        """Of this request among those for its path, from 1."""
        with self._lock:
            self._counts[path] = self._counts.get(path, 0) + 1
            return self._counts[path]

    def behaviour(self, path: str) -> Behaviour:
        missing = status(404) if path == "/robots.txt" else self.pages.get("*", status(404))
        return self.pages.get(path, missing)


def body(content: bytes = PDF, content_type: str = "application/pdf", code: int = 200) -> Behaviour:
    """A plain answer."""
    return status(code, {"Content-Type": content_type}, content)


def status(code: int, headers: Mapping[str, str] | None = None, content: bytes = b"") -> Behaviour:
    lines = {"Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return lambda handler: handler.raw(f"HTTP/1.1 {code} X\r\n{head}\r\n".encode() + content)


def redirect(location: str, code: int = 302) -> Behaviour:
    return status(code, {"Location": location})


def robots(text: str | bytes) -> Behaviour:
    return body(text if isinstance(text, bytes) else text.encode(), "text/plain")


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last stays."""
    return lambda handler: behaviours[min(handler.count, len(behaviours)) - 1](handler)
