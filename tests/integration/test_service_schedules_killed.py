"""Two servers' schedulers, as processes, on one database: a new snapshot becomes one job, whoever is killed when."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from crawls import FAST, commoncrawl
from fake_crawl import LIST, FakeCrawl

from pipeline.service import jobs
from pipeline.service.database import Database
from pipeline.service.scheduling import schedule_runs, schedules, snapshots
from pipeline.service.scheduling.schedules import parse_schedule
from pipeline.spec import parse_job

pytestmark = pytest.mark.service

SERVER = Path(__file__).resolve().parent.parent / "schedule_server.py"
WAIT_SECONDS = 60
OLD, NEW = "CC-MAIN-2026-38", "CC-MAIN-2026-43"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path}/crawlmill.db")
    made.upgrade()
    return made


@pytest.fixture
def shared(postgres: str) -> Database:
    made = Database(postgres)
    made.upgrade()
    return made


@contextlib.contextmanager
def server(database: Database, crawl: FakeCrawl, how: str = "well") -> Iterator[subprocess.Popen[str]]:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, str(SERVER), url, crawl.url, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(WAIT_SECONDS) == (0 if how == "well" else -signal.SIGKILL)
        finally:
            process.kill()


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)  # between looks at other processes


def watch(database: Database, crawl: FakeCrawl) -> None:
    job = {
        "name": "web",
        "source": commoncrawl(crawl.url, snapshot="{snapshot}"),
        "override": FAST,
        "output": {"path": "/data/{snapshot}"},
    }
    wanted = parse_schedule({"name": "every", "trigger": {"snapshots": True}, "job": job, "catch_up": True})
    made = schedules.prepare(
        wanted,
        team="web",
        by="ada",
        check=lambda content: parse_job(content, "job"),
        crawl=crawl.url,
        now=datetime.now(UTC),
    )
    with database.alone(schedules.LOCK) as connection:
        schedules.create(connection, made)


def submitted(database: Database) -> list[jobs.Job]:
    with database.read() as connection:
        return list(jobs.find(connection).jobs)


def looked(database: Database, crawl: FakeCrawl) -> bool:
    with database.read() as connection:
        return bool(snapshots.known(connection, crawl.url))


def asked_again(crawl: FakeCrawl, times: int = 2) -> None:
    """Until the list was asked for some more times: whatever a server would do by mistake, it has had its chance."""
    before = len(crawl.asked(LIST))
    until(lambda: len(crawl.asked(LIST)) >= before + times)


def check_once(database: Database) -> None:
    """One run, one job, and each knows the other."""
    (job,) = submitted(database)
    with database.read() as connection:
        (run,) = schedule_runs.runs_of(connection, schedules.get(connection, "every"))
        events = jobs.events_of(connection, job.id)
    assert (run.occasion, run.state, run.attempts, run.job_id, job.run_id) == (NEW, "active", 1, job.id, run.id)
    assert job.output == f"/data/{NEW}" and len(events) == 1


def test_two_servers_start_one_job(shared: Database) -> None:
    with FakeCrawl() as crawl:
        crawl.publish(OLD, [])
        watch(shared, crawl)
        with server(shared, crawl), server(shared, crawl):
            until(lambda: looked(shared, crawl))
            asked_again(crawl)
            assert submitted(shared) == []
            crawl.publish(NEW, [])
            until(lambda: submitted(shared))
            asked_again(crawl)
            check_once(shared)


@pytest.mark.parametrize("how", ["claimed", "submitted"])
def test_a_server_is_killed_in_the_midst_and_another_begins(database: Database, how: str) -> None:
    with FakeCrawl() as crawl:
        crawl.publish(OLD, [])
        watch(database, crawl)
        with server(database, crawl, how) as dying:
            until(lambda: looked(database, crawl))
            crawl.publish(NEW, [])
            assert dying.wait(WAIT_SECONDS) == -signal.SIGKILL
        assert submitted(database) == []
        with database.read() as connection:
            assert schedule_runs.runs_of(connection, schedules.get(connection, "every")) == []
        with server(database, crawl):
            until(lambda: submitted(database))
            asked_again(crawl)
        check_once(database)


def test_two_servers_are_killed_one_after_the_other(shared: Database) -> None:
    with FakeCrawl() as crawl:
        crawl.publish(OLD, [])
        watch(shared, crawl)
        with server(shared, crawl, "claimed") as dying:
            until(lambda: looked(shared, crawl))
            with server(shared, crawl, "submitted") as second:
                crawl.publish(NEW, [])
                dead = [each.wait(WAIT_SECONDS) for each in (dying, second)]
        assert dead == [-signal.SIGKILL] * 2 and submitted(shared) == []
        with server(shared, crawl), server(shared, crawl):
            until(lambda: submitted(shared))
            asked_again(crawl)
        check_once(shared)
