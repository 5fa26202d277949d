"""The origin of the sample's truncated PDFs, on this machine: what a crawler that comes back for them is answered.

`python -m pipeline.sample.origin -- COMMAND …` answers while the command runs and ends with its exit status; without a
command it answers until it is interrupted. What it answers is listed in `pdfs.CUTS`.
"""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TextIO
from urllib.parse import urlsplit

import click

from pipeline.sample.pages import plain_page
from pipeline.sample.pdfs import CUTS, PORT, Cut

ROBOTS = b"User-agent: *\nDisallow: /private/\n"
MOVED = "/archive"  # put before a path
AT = {cut.path: cut for cut in CUTS} | {MOVED + cut.path: cut for cut in CUTS if cut.answer == "moved"}
HTML, PDF, PLAIN = "text/html; charset=utf-8", "application/pdf", "text/plain; charset=utf-8"


class Origin(ThreadingHTTPServer):
    """Listens on the loopback address; port 0 takes a free one. A line for each request goes to `log`."""

    def __init__(self, port: int = PORT, log: TextIO = sys.stderr) -> None:
        super().__init__(("127.0.0.1", port), Answers)
        self.log = log
        self._asked: set[str] = set()
        self._lock = Lock()

    def first(self, path: str) -> bool:
        """Whether nobody has asked for this path yet; asking counts."""
        with self._lock:
            new = path not in self._asked
            self._asked.add(path)
        return new


class Answers(BaseHTTPRequestHandler):
    """One connection."""

    server: Origin
    protocol_version = "HTTP/1.1"  # connections stay open
    server_version, sys_version = "sample-origin", ""
    timeout = 30  # seconds of silence

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        cut = AT.get(path)
        if path == "/robots.txt":
            self.answer(HTTPStatus.OK, ROBOTS, PLAIN)
        elif cut is None or cut.answer == "gone":
            self.answer(HTTPStatus.NOT_FOUND, b"not here\n", PLAIN)
        elif cut.answer == "moved" and path == cut.path:
            self.answer(HTTPStatus.MOVED_PERMANENTLY, headers={"Location": MOVED + path})
        elif cut.answer == "busy" and self.server.first(path):
            self.answer(HTTPStatus.TOO_MANY_REQUESTS, b"one moment\n", PLAIN, {"Retry-After": "1"})
        elif cut.answer == "replaced":
            notice = plain_page("Our reports have moved", ["They are now read on the page of each department."])
            self.answer(HTTPStatus.OK, notice.encode(), HTML)
        else:
            self.answer(HTTPStatus.OK, whole(cut), PDF)

    do_HEAD = do_GET

    def answer(
        self, status: HTTPStatus, body: bytes = b"", mime: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        named = {"Content-Type": mime} if mime else {}
        for name, value in {**named, **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        who = self.headers.get("User-Agent", "-") if hasattr(self, "headers") else "-"  # not where the request is none
        line = f"{self.log_date_time_string()}  {format % args}  {who}"
        print(
            line.encode("unicode_escape").decode("ascii"), file=self.server.log, flush=True
        )  # it is the client's text


@cache
def whole(cut: Cut) -> bytes:
    return cut.whole()


@contextmanager
def serving(origin: Origin) -> Iterator[Origin]:
    """Answers in threads of this process as long as the context lasts, and closes the port."""
    thread = Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    with origin:
        thread.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            thread.join()


def attend(command: Sequence[str]) -> int:
    """Run a command to its end and return its exit status. Ctrl-C reaches it from the terminal, and is its to handle;
    a request to terminate is passed on.
    """
    with subprocess.Popen(command) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                status = child.wait()
            except KeyboardInterrupt:
                continue
            return status if status >= 0 else 128 - status  # as shells say it


@click.command(help=(__doc__ or "").replace("`", ""))
@click.option("--log", type=click.File("w", lazy=False), default="-", help="For a line per request; else stdout.")
@click.option("--port", default=PORT, show_default=True, help="URLs of the sample crawl name the default.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def main(log: TextIO, port: int, command: tuple[str, ...]) -> None:
    try:
        origin = Origin(port, log)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise click.ClickException(
            f"port {port} is in use on this machine: stop what listens there (another `make demo`?) and try again"
        ) from error
    with serving(origin):
        if command:
            try:
                sys.exit(attend(command))
            except OSError as error:
                raise click.ClickException(f"{command[0]}: {error.strerror}") from error
        click.echo(f"http://127.0.0.1:{port}/ answers; Ctrl-C ends it", err=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
