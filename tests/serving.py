"""The service's application on a real socket, in a thread of the test's process, without the loops behind it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipeline.service import jobs, tokens
from pipeline.service.cluster import ClusterFault, Node
from pipeline.service.database import Database
from pipeline.service.jobs import Job, State
from pipeline.service.serve import Server
from pipeline.service.service import Service
from pipeline.service.settings import read_settings

HEAD = Node("10.0.0.1", "head", True, True, 0.0, 1e9, 0.0, 0.0, "")
WORKER = Node("10.0.0.2", "worker", False, True, 8.0, 16e9, 3.0, 4e9, "")
GONE = Node("10.0.0.3", "gone", False, False, 8.0, 16e9, None, None, "the node died")
IDLE = Node("10.0.0.4", "idle", False, False, 8.0, 16e9, None, None, "idle", dismissed=True)


@dataclass
class SomeCluster:
    """A cluster as requests see it. away: why it does not answer; holding: to be set before it answers."""

    away: str | None = None
    printed: dict[str, str] = field(default_factory=dict)
    machines: Sequence[Node] = (HEAD, WORKER, GONE, IDLE)
    holding: threading.Event | None = None

    def logs(self, submission_id: str) -> str | None:
        self._here()
        return self.printed.get(submission_id)

    def nodes(self) -> Sequence[Node]:
        self._here()
        return self.machines

    def fault(self) -> str | None:
        return self.away

    def _here(self) -> None:
        if self.holding is not None:
            self.holding.wait()
        if self.away is not None:
            raise ClusterFault(self.away)


@dataclass
class Served:
    """A service that answers at `url`. The folder of its data holds one input."""

    service: Service
    cluster: SomeCluster
    url: str

    @property
    def data(self) -> Path:
        return self.service.settings.data

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        return httpx.Client(base_url=self.url, headers=named, trust_env=False, timeout=30)

    def token(self, name: str, team: str = "default", role: str = "submit") -> str:
        with self.service.database.write() as connection:
            return tokens.create(connection, name, team, role)

    def job(self, name: str, **more: Any) -> dict[str, Any]:
        """A job that the service takes."""
        source = {"kind": "warc", "paths": ["crawl/*.warc.gz"]}
        return {"name": name, "source": source, "recipe": "fineweb", "output": {"path": f"out/{name}"}, **more}

    def move(self, job_id: str, *states: State, said: str | None = None, **more: Any) -> Job:
        """Bring a job through some states, as the dispatcher would."""
        with self.service.database.write() as connection:
            for state in states:
                moved = jobs.move(connection, jobs.get(connection, job_id), state, said, **more)
                assert moved is not None
            return jobs.get(connection, job_id)


@contextmanager
def served(folder: Path, database: str, cluster: SomeCluster | None = None, **settings: Any) -> Iterator[Served]:
    """A service with a database of its own; on this machine's loopback, whatever host its settings name."""
    (folder / "data" / "crawl").mkdir(parents=True, exist_ok=True)
    given = {"home": str(folder / "home"), "data": str(folder / "data"), "database": database, **settings}
    cluster = cluster or SomeCluster()
    service = Service(read_settings(None, {}, given), Database(database), cluster)
    service.database.upgrade()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(service)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield Served(service, cluster, "http://{}:{}".format(*listening.getsockname()))
        finally:
            server.should_exit = True
            thread.join()
            service.database.engine.dispose()
