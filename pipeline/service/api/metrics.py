"""What Prometheus scrapes: requests of this process, and the jobs, schedules and cluster as the database has them.

Several servers of one database report the same jobs: take the maximum over them, not the sum.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service import jobs
from pipeline.service.api.glance import Glance
from pipeline.service.cluster import ClusterFault
from pipeline.service.jobs import Job, State
from pipeline.service.scheduling import schedule_runs, schedules, snapshots
from pipeline.service.service import Service

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SHARDS = {"w": "waiting", "r": "running", "d": "done", "f": "unreadable"}
"""Letters of a progress snapshot (`pipeline.service.progress`)."""
COUNTED = ("read", "dropped", "failed")
"""Of a run these only grow; what is kept so far falls when duplicates leave."""


class Requests:
    """ASGI middleware. Routes are counted by their pattern: what strangers ask for has endless names."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ("method", "route")
        self._total = Counter(
            "crawlmill_http_requests_total", "Requests answered.", (*labels, "status"), registry=registry
        )
        self._seconds = Histogram(
            "crawlmill_http_request_seconds",
            "Seconds until an answer begins.",
            labels,
            registry=registry,
            buckets=SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._count(scope, status, time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            if not status:  # an error that is answered outside of us, or nobody to answer any more
                self._count(scope, 500, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = scope["app"].state.paths.pattern(scope)
        self._total.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class Stock(Collector):
    """What the database and the cluster say at the time of a scrape."""

    def __init__(self, service: Service, glance: Glance) -> None:
        self._service, self._glance = service, glance
        self._crawl = str(service.settings.crawl).rstrip("/") + "/"

    def describe(self) -> list[Metric]:
        return []  # so that registering asks nothing of a database that may be away

    def collect(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        with self._service.database.read() as connection:
            counts, active = jobs.counts(connection), jobs.active(connection)
            waiting = schedule_runs.waiting(connection)
            feed = snapshots.feed_of(connection, self._crawl)
            wanted = schedules.any_follows(connection, self._crawl)
        yield _gauge("crawlmill_jobs", "Jobs.", ["state"], {(state,): n for state, n in counts.items()})
        queued = [(now - job.changed_at).total_seconds() for job in active if job.state == State.QUEUED]
        oldest = max(queued, default=0.0)
        yield _gauge("crawlmill_queue_oldest_seconds", "How long the job waits that waits longest.", [], {(): oldest})
        yield from _of_jobs([job for job in active if job.state in (State.RUNNING, State.CANCELLING)], now)
        counted = {(name,): float(number) for name, number in waiting.items()}
        yield _gauge("crawlmill_schedule_waiting", "Runs that wait for a person.", ["schedule"], counted)
        read_at = feed.answered_at.timestamp() if feed is not None and feed.answered_at is not None else 0.0
        polled = {(self._crawl,): read_at} if wanted else {}
        said = "When a list of snapshots that a schedule follows was last read (Unix time; 0: never)."
        yield _gauge("crawlmill_snapshot_poll_last_success_seconds", said, ["base"], polled)
        yield from self._of_cluster()

    def _of_cluster(self) -> Iterator[Metric]:
        try:
            nodes = self._glance.nodes()
        except ClusterFault:
            yield _gauge("crawlmill_cluster_up", "Whether the cluster answers.", [], {(): 0})
            return
        yield _gauge("crawlmill_cluster_up", "Whether the cluster answers.", [], {(): 1})
        alive = [node for node in nodes if node.alive]
        cpus = {
            ("total",): sum(node.cpus for node in alive),
            ("used",): sum(node.cpus_used or 0.0 for node in alive),
        }
        yield _gauge("crawlmill_cluster_cpus", "Processors that Ray hands out.", ["state"], cpus)
        dismissed = sum(node.dismissed for node in nodes if not node.alive)
        counted = {("alive",): len(alive), ("dismissed",): dismissed, ("lost",): len(nodes) - len(alive) - dismissed}
        said = "Machines; of those that are gone, which were told to go and which were lost."
        yield _gauge("crawlmill_cluster_nodes", said, ["state"], counted)


def _of_jobs(running: list[Job], now: datetime) -> Iterator[Metric]:
    for name in COUNTED:
        family = CounterMetricFamily(
            f"crawlmill_job_records_{name}", f"Records of a running job that are {name}.", labels=["job_id"]
        )
        for job in running:
            family.add_metric([job.id], _number((job.progress or {}).get(name)))
        yield family
    kept = {(job.id,): _number((job.progress or {}).get("kept")) for job in running}
    yield _gauge("crawlmill_job_records_kept", "Records that a running job has kept so far.", ["job_id"], kept)
    shards = {
        (job.id, SHARDS[letter]): float(number)
        for job in running
        for letter, number in {**dict.fromkeys(SHARDS, 0), **_letters(job)}.items()
    }
    yield _gauge("crawlmill_job_shards", "Shards of a running job.", ["job_id", "state"], shards)
    since = {(job.id,): (now - (job.progress_at or job.changed_at)).total_seconds() for job in running}
    yield _gauge("crawlmill_job_last_progress_seconds", "Since a running job's last sign of life.", ["job_id"], since)


def _letters(job: Job) -> dict[str, int]:
    counted = Tally(str((job.progress or {}).get("states") or ""))
    return {letter: counted[letter] for letter in SHARDS}


def _gauge(name: str, said: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, said, labels=labels)
    for key, value in values.items():
        family.add_metric([str(each) for each in key], value)
    return family


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:  # JSON's integers have no end
        return 0.0
