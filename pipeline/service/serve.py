"""`crawlmill serve`: the application and the loops behind it, in one process, until it is told to end.

Jobs go on without it. On SIGTERM or SIGINT streams end, requests under way are answered, and the loops end their turn.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping

import uvicorn

from pipeline.service import tokens
from pipeline.service.api import create_app
from pipeline.service.cluster import Cluster, ClusterFault, ClusterRefused, is_loopback
from pipeline.service.connections import Connection
from pipeline.service.daemon import ray_here
from pipeline.service.database import Database, DatabaseFault
from pipeline.service.dispatch import Dispatcher
from pipeline.service.scheduling.schedule_loop import Scheduler
from pipeline.service.service import Service
from pipeline.service.settings import Settings
from pipeline.spec import JobError

ENDING_SECONDS = 10
"""For so long requests under way may go on after the signal; then each loop has as long."""
BACKLOG = 128
_QUIET = ("httpx", "httpcore", "alembic")
"""What they say of each request, or of each start, is nothing to an operator."""

log = logging.getLogger("crawlmill")

Loop = Callable[[threading.Event], None]


class LoopDied(RuntimeError):
    """A loop ended by a defect; its traceback is in the log."""


def serve(settings: Settings) -> None:
    """Serve until a signal. Raises JobError for what is wrong with the settings, and LoopDied."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        database = Database(settings.database)
        database.upgrade()
        open_to_all = _open_to_all(settings, database)
        listening = _listen(settings)
        if settings.ray is None and not database.sqlite:
            log.warning("services that share a PostgreSQL need a cluster in common: name it with --ray")
        cluster = Cluster(str(settings.ray or ray_here(settings.home)))
        _check(cluster)
        service = Service(settings, database, cluster)
        service.storage  # noqa: B018  # refused now rather than with the first job
    except (DatabaseFault, ClusterFault, ClusterRefused, ValueError) as error:
        raise JobError(str(error)) from error
    log.info("serving at %s%s", _address(listening), "; no tokens: everybody on this machine" if open_to_all else "")
    loops = {
        "dispatch": Dispatcher(settings, database, cluster).run,
        "schedules": Scheduler(settings, database, service.check).run,
    }
    run(service, listening, loops)


def _open_to_all(settings: Settings, database: Database) -> bool:
    """Whether everybody may do everything, for there are no tokens. Raises JobError where that must not be."""
    with database.read() as connection:
        if tokens.exist(connection):
            return False
    if not is_loopback(settings.host):
        raise JobError(
            f"host: {settings.host}: without tokens the service listens on this machine alone;"
            " make one with `crawlmill token create NAME`, or leave --host out"
        )
    return True


def run(service: Service, listening: socket.socket, loops: Mapping[str, Loop]) -> None:
    """Answer requests on a socket that listens, with the loops running beside. Raises LoopDied."""
    server = Server(service)
    threads = [_LoopThread(name, loop, service.stopping, server) for name, loop in loops.items()]
    # uvicorn hands a signal on to whoever would have had it when it is done; we are not done then.
    before = {each: signal.signal(each, server.end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        for thread in threads:
            thread.start()
        server.run([listening])
    finally:
        service.stopping.set()
        for thread in threads:
            thread.join(ENDING_SECONDS)
        for each, handler in before.items():
            signal.signal(each, handler)
    for thread in threads:
        if thread.died:
            raise LoopDied(f"the loop {thread.name} died of a defect; the log says of which")


class Server(uvicorn.Server):
    """Tells what goes on for ever to end before it waits for it."""

    def __init__(self, service: Service) -> None:
        self._stopping = service.stopping
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=Connection,
                log_config=None,
                lifespan="off",
                ws="none",
                server_header=False,
                forwarded_allow_ips=[str(network) for network in service.settings.proxies],
                timeout_graceful_shutdown=ENDING_SECONDS,
            )
        )

    def end(self, *_: object) -> None:
        """As a signal asks for before uvicorn listens to signals, or when it no longer does."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


class _LoopThread(threading.Thread):
    """A loop beside the server. One that dies takes the process with it: whoever looks after that starts it anew."""

    def __init__(self, name: str, loop: Loop, stopping: threading.Event, server: uvicorn.Server) -> None:
        super().__init__(name=name, daemon=True)
        self._loop, self._stopping, self._server = loop, stopping, server
        self.died = False

    def run(self) -> None:
        try:
            self._loop(self._stopping)
        except Exception:  # whatever it is, a service that looks alive and starts no jobs is worse
            log.exception("the loop %s died", self.name)
            self.died = self._server.should_exit = True


def _check(cluster: Cluster) -> None:
    """Raises ClusterRefused. A cluster that is away is waited for."""
    try:
        cluster.check()
    except ClusterFault as fault:
        log.warning("cluster: %s", fault)


def _listen(settings: Settings) -> socket.socket:
    """Raises JobError where the address is somebody else's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host.strip("[]"), settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise JobError(
            f"{settings.host}:{settings.port}: {error.strerror or error}; choose others with --host and --port"
        ) from error
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
