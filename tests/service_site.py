"""A service with some history and no cluster, served in this process, for tests of its pages.

The server is the real application. What drivers would have written stands in the database; one output was made by a
real run over the sample crawl.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from invented_run import HOSTILE
from published import plan_over

from pipeline.engine.inline import InlineEngine
from pipeline.run import run
from pipeline.sample.crawl import write_sample
from pipeline.service import jobs, tables
from pipeline.service.api import create_app
from pipeline.service.cluster import ClusterFault, Node
from pipeline.service.database import Database
from pipeline.service.jobs import Job, State, Submission
from pipeline.service.progress import Tracker
from pipeline.service.scheduling import schedule_runs, schedules, snapshots
from pipeline.service.scheduling.scheduler import Start
from pipeline.service.service import Service
from pipeline.service.settings import Settings

CRAWL = "https://index.commoncrawl.org/"
JOB = {"name": "cc-2026-43-eng", "source": {"kind": "warc", "paths": ["crawl/*.warc.gz"]}, "recipe": "fineweb"}


@dataclass
class StillCluster:
    """What pages want of a cluster."""

    said: str = ""
    down: bool = False
    url: str = "http://127.0.0.1:8265"

    def logs(self, submission_id: str) -> str | None:
        self._up()
        return self.said or None

    def nodes(self) -> Sequence[Node]:
        self._up()
        gib = 2.0**30
        return [
            Node("10.0.0.2", "crawl-head", True, True, 4, 8 * gib, 1, 2 * gib, ""),
            Node("10.0.0.3", "crawl-worker-1", False, True, 16, 60 * gib, 16, 24 * gib, ""),
            Node("10.0.0.4", HOSTILE[0], False, False, 16, 60 * gib, None, None, HOSTILE[1]),
        ]

    def fault(self) -> str | None:
        return "no answer" if self.down else None

    def _up(self) -> None:
        if self.down:
            raise ClusterFault("http://127.0.0.1:8265: Ray's job server does not answer (connection refused)")


@dataclass
class Site:
    """A service with some history, and where it is served. jobs: ids by what they are."""

    service: Service
    cluster: StillCluster
    address: str
    jobs: dict[str, str]

    def change(self, kind: str, state: State, **more: Any) -> None:
        """Bring a job to another state, as a dispatcher would."""
        with self.service.database.write() as connection:
            assert jobs.move(connection, jobs.get(connection, self.jobs[kind]), state, **more)

    def job(self, kind: str) -> Job:
        with self.service.database.read() as connection:
            return jobs.get(connection, self.jobs[kind])

    def page(self, kind: str, more: str = "") -> str:
        """The address of a job's page."""
        return f"{self.address}/jobs/{self.jobs[kind]}{more}"

    def progress(self, kind: str, snapshot: dict[str, Any]) -> None:
        with self.service.database.write() as connection:
            jobs.keep_progress(connection, jobs.get(connection, self.jobs[kind]), snapshot, datetime.now(UTC))


def finished_run(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The output of a real run over the sample crawl, and the last that its driver would have written."""
    write_sample(folder / "crawl")
    plan = plan_over(folder / "crawl", folder / "out", output={"shard_bytes": "20KB", "dropped_text": "all"})
    tracker = Tracker("crawlmill-test-1", 0.0)
    tracker.planned(plan)
    for at, event in enumerate(run(plan, InlineEngine(2.0))):
        tracker.take(event, at / 10)
    return folder / "out", tracker.snapshot(60.0, {"state": "complete", "said": ""})


def under_way(shards: int = 640, done: int = 372, bad: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Progress of a run that never happened, in the middle of its shards."""
    read, left = 34_870 * done, 34_870 * done
    stages = []
    for stage, share, failed, rate in (
        ("read", 0.02, 0, 9_000),
        ("url_filter", 0.045, 0, 90_000),
        ("extract_html", 0.07, 0.0004, 61),
        ("language", 0.47, 0, 4_100),
        ("gopher_repetition", 0.13, 0, 6_200),
        ("gopher_quality", 0.14, 0, 58_000),
        ("c4_quality", 0.1, 0, 30_000),
        ("fineweb_quality", 0.12, 0, 47_000),
        ("minhash", 0, 0, 0),
        ("pii", 0, 0, 0),
        ("token_count", 0, 0, 0),
    ):
        lost = {"dropped": int(left * share), "failed": int(left * failed)}
        stages.append({"stage": stage, **lost, "seconds": left / rate if rate else 0.0})
        left -= sum(lost.values())
    states = ["d"] * done + ["r"] * 24 + ["w"] * (shards - done - 24)
    for at in range(len(bad)):
        states[(17 + 41 * at) % shards] = "f"
    return {
        "submission_id": "crawlmill-x-1",
        "at": "2026-11-21T06:00:00.000Z",
        "phase": "shards",
        "after": None,
        "shards": shards,
        "states": "".join(states),
        "shards_done": sum(state in "df" for state in states),
        "read": read,
        "kept": left,
        "dropped": sum(each["dropped"] for each in stages),
        "failed": sum(each["failed"] for each in stages),
        "rate": 3_841.2,
        "seconds_left": 3_260.0,
        "step": None,
        "stages": stages,
        "failures": [{"shard": shard, "said": said} for shard, said in bad],
        "alarms": [],
        "bytes": 1_012_345_678 * done,
        "outcome": None,
    }


def hostile_progress() -> dict[str, Any]:
    """What somebody may put where a driver's progress lies."""
    return {
        **under_way(40, 3, [(word, word) for word in HOSTILE]),
        "alarms": list(HOSTILE),
        "phase": HOSTILE[0],
        "after": HOSTILE[1],
        "step": {"stage": HOSTILE[2], "phase": HOSTILE[3], "done": 3, "tasks": 2},
        "stages": [{"stage": word, "dropped": 10, "failed": 1, "seconds": 1e-300} for word in HOSTILE],
    }


def history(service: Service, folder: Path) -> dict[str, str]:
    """Jobs, schedules and snapshots in many states."""
    now = datetime.now(UTC)
    output, finished = finished_run(folder)
    made: dict[str, str] = {}

    def submit(kind: str, name: str, state: State, ago: float, out: Path | None = None, **more: Any) -> Job:
        at = now - timedelta(minutes=ago)
        spec = {**JOB, "name": name, "output": {"path": str(out or folder / kind)}}
        given = Submission(name, "default", "mira", spec, spec["output"]["path"], more.pop("priority", 0))
        with service.database.write() as connection:
            job = jobs.submit(connection, given, at)
            said = more.pop("said", None)
            progress = more.pop("progress", None)
            for step in (State.STARTING, State.RUNNING, state):
                if state == State.QUEUED or job.state == state:
                    break
                first = step == State.STARTING
                at += timedelta(seconds=20)
                more_now = {"attempt": 1, "started_at": at} if first else more if step == state else {}
                moved = jobs.move(connection, job, step, said if step == state else None, at, **more_now)
                assert moved is not None
                job = moved
            if progress is not None:
                jobs.keep_progress(connection, job, progress, now - timedelta(seconds=2))
        made[kind] = job.id
        return job

    for n in range(30):
        submit(f"older-{n}", f"nightly-{n:02}", State.COMPLETE, 6_000 - n, progress=finished)
    submit("complete", "sample-crawl", State.COMPLETE, 190, output, progress=finished)
    said = "shard 17 of 640: crawl/CC-MAIN-20261013-00017.warc.gz could not be read, and run.max_failed_shards is 0"
    submit("failed", "pdf-2026-43", State.FAILED, 160, said=said, progress=under_way(640, 300))
    submit("cancelled", "too-much", State.CANCELLED, 95, said="cancelled by mira")
    bad = ("s3://crawl/CC-MAIN-2026-43/00017.warc.gz", "gzip member at 88,123,456 ends early")
    submit("running", "cc-2026-43-eng", State.RUNNING, 64, progress=under_way(bad=[bad]))
    submit("starting", "cc-2026-43-deu", State.STARTING, 2)
    submit("hostile", "odd-pages", State.RUNNING, 30, said=HOSTILE[0], progress=hostile_progress())
    submit("broken", "garbled", State.RUNNING, 30, progress={"states": 7, "read": "many"})
    submit("huge", "whole-crawl", State.RUNNING, 30, progress=under_way(90_000, 41_233))
    for n, name in enumerate(("cc-2026-43-fra", "cc-2026-43-ita", "refetch-pdf")):
        submit(f"queued-{n}", name, State.QUEUED, 12 - n, priority=2 - n)
    with service.database.write() as connection:
        for word in HOSTILE:
            jobs.note(connection, jobs.get(connection, made["hostile"]), word.replace("\0", ""))
    plans(service, now)
    return made


def plans(service: Service, now: datetime) -> None:
    """Schedules with runs in every state, and five years of snapshots."""
    weeks = {2022: [5, 21, 27, 33, 40, 49], 2023: [6, 14, 23, 40, 50], 2024: [10, 18, 22, 26, 30, 33, 38, 42, 46, 51]}
    weeks |= {2025: [5, 8, 13, 18, 21, 26, 30, 33, 38, 43, 47], 2026: [4, 8, 12, 17, 21, 25, 30, 34, 38, 43]}
    known = [
        {
            "base": CRAWL,
            "id": f"CC-MAIN-{year}-{week:02}",
            "name": f"{year} {week} Index",
            "crawled_from": datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC),
            "crawled_to": datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC) + timedelta(days=12),
            "seen_at": snapshots.ALWAYS if year < 2026 else datetime.fromisocalendar(year, week, 3).replace(tzinfo=UTC),
        }
        for year, some in weeks.items()
        for week in some
    ]
    with service.database.write() as connection:
        connection.execute(tables.snapshots.insert(), known)
        connection.execute(tables.feeds.insert().values(base=CRAWL, failures=0, asked_at=now, answered_at=now))
    job = {**JOB, "name": "{schedule}-{snapshot}", "output": {"path": "out/{schedule}/{snapshot}"}}
    job["source"] = {"kind": "commoncrawl", "snapshot": "{snapshot}", "files": "0:10"}
    nightly = {**JOB, "name": "{schedule}-{date}", "output": {"path": "out/{schedule}/{date}"}}
    wanted = (
        ("every-crawl", job, {"snapshots": True, "since": "CC-MAIN-2026-08"}),
        ("newest-only", job, {"snapshots": True}),
        ("nightly-news", nightly, {"cron": "30 2 * * *", "zone": "Europe/Berlin"}),
    )
    for name, spec, trigger in wanted:
        content = {"name": name, "job": spec, "trigger": trigger}
        given, at = schedules.parse_schedule(content), now - timedelta(days=300)
        made = schedules.prepare(given, team="default", by="mira", check=service.check, crawl=CRAWL, now=at)
        with service.database.alone(schedules.LOCK) as connection:
            schedules.create(connection, made)
            runs = {"every-crawl": [8, 12, 17, 21, 25], "newest-only": [21, 34]}.get(name, [])
            for week in runs:
                occasion = f"CC-MAIN-2026-{week:02}"
                schedule_runs.carry_out(connection, Start(made.id, occasion), made, at, service.check)
    with service.database.write() as connection:
        for name, week, state in (
            *(("every-crawl", week, "complete") for week in (8, 12, 17)),
            ("every-crawl", 21, "skipped"),
            ("every-crawl", 25, "waiting"),
            ("newest-only", 21, "failed"),
        ):
            mine = tables.schedules.select().where(tables.schedules.c.name == name)
            schedule_id = connection.execute(mine).one().id
            here = (tables.runs.c.schedule_id == schedule_id) & (tables.runs.c.occasion == f"CC-MAIN-2026-{week:02}")
            ended = {"state": state, "ended_at": now - timedelta(days=week)}
            connection.execute(tables.runs.update().where(here).values(ended))
            job_id = connection.execute(tables.runs.select().where(here)).one().job_id
            job_state = "complete" if state == "complete" else "failed"
            over = {"state": job_state, "finished_at": now - timedelta(days=week), "started_at": now}
            connection.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(over))


@contextlib.contextmanager
def served(folder: Path, *, old: bool = True) -> Iterator[Site]:
    """A service at an address of this machine; old: with a history."""
    (folder / "data").mkdir()
    database = Database(f"sqlite:///{folder}/crawlmill.db")
    database.upgrade()
    settings = Settings(data=folder / "data", home=folder, limits={"requests_per_minute": 100_000})
    cluster = StillCluster("\n".join(["planned 640 shards", *HOSTILE]).replace("\0", "NUL"))
    service = Service(settings, database, cluster)
    made = history(service, folder / "data") if old else {}
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(service), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield Site(service, cluster, f"http://127.0.0.1:{listening.getsockname()[1]}", made)
    finally:
        service.stopping.set()
        server.should_exit = True
        thread.join(10)
