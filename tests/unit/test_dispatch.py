"""What the dispatcher makes of what a cluster says: every end that an attempt can come to, and servers side by side.

The cluster here is a dictionary with Ray's rules (a name is taken once; what is stopped is over). The real one is in
tests/integration/test_service_on_ray.py.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.engine.installed import installed
from pipeline.patience import Terms
from pipeline.service import jobs
from pipeline.service.cluster import Attempt, ClusterFault, Status
from pipeline.service.database import Database
from pipeline.service.dispatch import Dispatcher
from pipeline.service.jobs import Job, State, Submission
from pipeline.service.progress import FILE, SUBMITTED
from pipeline.service.settings import Limits, Settings
from pipeline.service.tables import jobs as table


@dataclass
class Clusterlet:
    """Ray's job server, in memory."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    entrypoints: dict[str, str] = field(default_factory=dict)
    down: bool = False
    asked: int = 0
    """How often it was asked after an attempt."""

    def submit(self, submission_id: str, entrypoint: str, environment: Any) -> None:
        self._answer()
        if submission_id not in self.attempts:
            self.submitted.append(submission_id)
            self.attempts[submission_id] = Attempt(Status.PENDING, "", None)
            self.entrypoints[submission_id] = entrypoint

    def attempt(self, submission_id: str) -> Attempt | None:
        self._answer()
        self.asked += 1
        return self.attempts.get(submission_id)

    def stop(self, submission_id: str) -> None:
        self._answer()
        if submission_id in self.attempts and not self.attempts[submission_id].status.over:
            self.attempts[submission_id] = Attempt(Status.STOPPED, "", None)

    def end(self, job: Job, status: Status, message: str = "", exit_code: int | None = None) -> None:
        self.attempts[job.submission_id] = Attempt(status, message, exit_code)

    def _answer(self) -> None:
        if self.down:
            raise ClusterFault("http://head:8265: Ray's job server does not answer (refused)")


class Hall:
    """A database, a cluster, and servers that are made to look at them."""

    def __init__(self, tmp_path: Path, **limits: int) -> None:
        self.folder = tmp_path
        self.url = f"sqlite:///{tmp_path}/crawlmill.db"
        self.database = Database(self.url)
        self.database.upgrade()
        self.cluster = Clusterlet()
        self.settings = Settings(limits=Limits(**limits), home=tmp_path, data=tmp_path)
        self.server = self.another()

    def another(self, **more: Any) -> Dispatcher:
        return Dispatcher(self.settings, Database(self.url), self.cluster, **more)  # type: ignore[arg-type]

    def submit(self, name: str = "try", **more: Any) -> Job:
        given = Submission(name, "web", "ada", {"name": name}, str(self.folder / name), **more)
        with self.database.write() as connection:
            return jobs.submit(connection, given)

    def now(self, job: Job) -> Job:
        with self.database.read() as connection:
            return jobs.get(connection, job.id)

    def look(self, job: Job, server: Dispatcher | None = None) -> Job:
        """One look of a server's at everything, and to its end."""
        server = server or self.server
        server.once()
        server.settle()
        return self.now(job)

    def running(self, **more: Any) -> Job:
        job = self.submit(**more)
        self.look(job)
        job = self.look(job)
        assert job.state == State.RUNNING
        return job

    def tell(self, job: Job, outcome: dict[str, str] | None = None, **more: Any) -> None:
        """As its driver would."""
        file = Path(job.output, FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        at = {"at": datetime.now(UTC).isoformat(), "submission_id": job.submission_id, "outcome": outcome}
        file.write_text(json.dumps(at | more))

    def age(self, job: Job, seconds: float) -> Job:
        """Let time go by."""
        past = datetime.now(UTC) - timedelta(seconds=seconds)
        with self.database.write() as connection:
            changed = table.update().where(table.c.id == job.id)
            connection.execute(
                changed.values(changed_at=past, progress_at=sa.case((table.c.progress_at.is_(None), None), else_=past))
            )
        return self.now(job)


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


def test_the_way_of_a_job(hall: Hall) -> None:
    job = hall.running()
    assert hall.cluster.submitted == [f"crawlmill-{job.id}-1"] and job.started_at is not None
    assert hall.cluster.entrypoints[job.submission_id] == (
        f"exec python -m pipeline.service.driver {job.output} {job.submission_id}"
    )
    given = json.loads(Path(job.output, SUBMITTED, f"{job.submission_id}.json").read_text())
    assert given["job"] == {"name": "try"} and given["installed"] == installed()
    hall.tell(job, read=7)
    assert (hall.look(job).progress or {})["read"] == 7
    hall.tell(job, {"state": "complete", "said": "look at this"}, read=9)
    hall.cluster.end(job, Status.SUCCEEDED)
    job = hall.look(job)
    assert (job.state, job.said, (job.progress or {})["read"]) == (State.COMPLETE, "look at this", 9)
    with hall.database.read() as connection:
        assert [event.kind for event in jobs.events_of(connection, job.id)] == [
            "queued", "starting", "running", "complete",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "outcome, status, message, exit_code, state, said",
    [
        ({"state": "failed", "said": "3 inputs"}, Status.FAILED, "code 1", 1, State.FAILED, "3 inputs"),
        (None, Status.FAILED, "Job failed:\nNo module named pipeline\n", 1, State.FAILED, "No module named pipeline"),
        (None, Status.FAILED, "Unexpected error: node died", None, State.QUEUED, "attempt 1 was lost: Unexpected"),
        (None, Status.FAILED, "killed\n", 137, State.QUEUED, "attempt 1 was lost: killed"),
        (None, Status.FAILED, "killed\n", -9, State.QUEUED, "attempt 1 was lost: killed"),
        ({"state": "interrupted", "said": ""}, Status.FAILED, "code 130", 130, State.QUEUED, "attempt 1 was lost"),
        (None, Status.STOPPED, "", None, State.CANCELLED, "stopped at the cluster"),
    ],
)
def test_the_ends_of_an_attempt(
    hall: Hall, outcome: Any, status: Status, message: str, exit_code: int | None, state: State, said: str
) -> None:
    job = hall.running()
    hall.tell(job, outcome)
    hall.cluster.end(job, status, message, exit_code)
    job = hall.look(job)
    assert job.state == state and said in (job.said or "")


def test_lost_attempts_are_made_again_but_not_for_ever(hall: Hall) -> None:
    job = hall.submit()
    for _ in range(3):
        while hall.look(job).state != State.RUNNING:
            pass
        hall.cluster.end(hall.now(job), Status.FAILED, "killed", -9)
        hall.look(job)
    job = hall.now(job)
    assert (job.state, job.said) == (State.FAILED, "3 attempts were lost, the last: killed")
    assert hall.cluster.submitted == [f"crawlmill-{job.id}-{n}" for n in (1, 2, 3)]


def test_what_a_cluster_forgot_goes_on_when_its_driver_is_silent(hall: Hall) -> None:
    job = hall.running()
    hall.tell(job)
    hall.cluster.attempts.clear()
    assert hall.look(job).state == State.RUNNING, "another cluster may be at it"
    hall.age(job, 60)
    hall.tell(job, read=1)
    assert hall.look(job).state == State.RUNNING, "and its driver has just said something"
    hall.age(job, 60)
    assert hall.look(job).state == State.QUEUED
    assert hall.look(job).attempt == 2


def test_a_cluster_that_is_away_costs_nothing(hall: Hall) -> None:
    waiting, job = hall.submit("waiting"), hall.running()
    hall.cluster.down = True
    for each in (waiting, job):
        hall.age(each, 1_000)
        hall.look(each)
    assert "does not answer" in (hall.now(job).said or "") and hall.now(job).state == State.RUNNING
    hall.cluster.down = False
    job = hall.look(job)
    assert (job.state, job.said) == (State.RUNNING, None)


def test_a_server_that_dies_after_admitting_loses_and_doubles_nothing(hall: Hall) -> None:
    hall.cluster.down = True  # it got no further
    job = hall.look(hall.submit())
    assert job.state == State.STARTING
    hall.cluster.down = False
    other = hall.another()
    assert hall.look(job, other).state == State.STARTING, "the first may still be at it"
    hall.age(job, 100)
    assert hall.look(job, other).state == State.RUNNING
    assert hall.cluster.submitted == [f"crawlmill-{job.id}-1"]


def test_a_server_that_dies_after_submitting_does_not_submit_again(hall: Hall) -> None:
    job = hall.look(hall.submit())
    with hall.database.write() as connection:  # back to where nobody had noted that Ray has it
        connection.execute(table.update().values(state="starting"))
    hall.age(job, 100)
    assert hall.look(job, hall.another()).state == State.RUNNING
    assert hall.cluster.submitted == [f"crawlmill-{job.id}-1"]


def test_many_servers_admit_no_more_than_one(tmp_path: Path) -> None:
    hall = Hall(tmp_path, running=2)
    made = [hall.submit(f"n{n}", priority=n) for n in range(5)]
    servers = [hall.another() for _ in range(4)]
    for server in servers * 2:
        hall.look(made[0], server)
    assert [hall.now(job).state == State.RUNNING for job in made] == [False, False, False, True, True]


@pytest.mark.parametrize(
    "outcome, end, state",
    [
        ({"state": "interrupted", "said": ""}, Status.FAILED, State.QUEUED),
        ({"state": "complete", "said": ""}, Status.SUCCEEDED, State.COMPLETE),
    ],
)
def test_servers_that_see_the_same_end_bring_it_about_once(
    hall: Hall, outcome: dict[str, str], end: Status, state: State
) -> None:
    job = hall.running()
    hall.tell(job, outcome)
    hall.cluster.end(job, end, "", 143)
    for server in (hall.server, hall.another(), hall.another()):
        server.follow(job)  # as each read it before the others had changed anything
    now = hall.now(job)
    assert (now.state, now.lost, now.attempt) == (state, state == State.QUEUED, 1)
    with hall.database.read() as connection:
        assert [event.kind for event in jobs.events_of(connection, job.id)].count(state) == 1 + (state == State.QUEUED)


def test_what_another_server_started_is_not_stopped(hall: Hall) -> None:
    hall.cluster.down = True
    job = hall.look(hall.submit())
    hall.cluster.down = False
    hall.another().follow(hall.age(job, 100))
    assert hall.now(job).state == State.RUNNING
    hall.server.follow(job)  # it was slow, and has only now come so far
    assert hall.now(job).state == State.RUNNING
    assert hall.cluster.attempts[job.submission_id].status == Status.PENDING


def test_what_ray_has_does_not_fail_for_storage_that_is_away(hall: Hall) -> None:
    job = hall.look(hall.submit())
    with hall.database.write() as connection:
        connection.execute(table.update().values(state="starting"))
    shutil.rmtree(job.output)
    Path(job.output).write_text("away")
    assert hall.look(hall.age(job, 100), hall.another()).state == State.RUNNING


def test_a_lost_attempt_is_told_to_end(hall: Hall) -> None:
    job = hall.running()
    order = Path(job.output, SUBMITTED, f"{job.submission_id}.json")
    assert order.is_file()
    hall.cluster.attempts.clear()
    assert hall.look(hall.age(job, 60)).state == State.QUEUED
    assert not order.exists(), "a driver that still runs somewhere does not find it"


def test_attempts_that_lasted_are_not_held_against_a_job(hall: Hall) -> None:
    job = hall.submit()
    for _ in range(5):
        while hall.look(job).state != State.RUNNING:
            pass
        with hall.database.write() as connection:
            connection.execute(table.update().values(started_at=datetime.now(UTC) - timedelta(days=7)))
        hall.cluster.end(hall.now(job), Status.FAILED, "killed", -9)
        assert hall.look(job).state == State.QUEUED


def test_a_clock_that_was_ahead_holds_nothing_up(hall: Hall) -> None:
    hall.cluster.down = True
    job = hall.look(hall.submit())
    hall.cluster.down = False
    assert hall.look(hall.age(job, -3_600), hall.another()).state == State.RUNNING


def test_a_driver_that_is_given_up_ends(tmp_path: Path) -> None:
    order = tmp_path / SUBMITTED / "x.json"
    order.parent.mkdir(parents=True)
    order.write_text("{}")
    program = (
        "import sys, time; from pipeline.service import driver; from pipeline.service.progress import Tracker;"
        "driver.SECONDS = 0.05; store = driver.Store(sys.argv[1]);"
        f"reporter = driver.Reporter(store, Tracker('x', 0.0), '{SUBMITTED}/x.json');"
        "reporter.start(); print('works', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "works\n"
        order.unlink()
        _, said = process.communicate(timeout=30)
        assert process.returncode == -signal.SIGTERM and "given this attempt up" in said


def test_cancelling(hall: Hall) -> None:
    job = hall.running()
    with hall.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")
    assert hall.look(job).state == State.CANCELLING
    assert hall.cluster.attempts[job.submission_id].status == Status.STOPPED
    job = hall.look(job)
    assert (job.state, job.said) == (State.CANCELLED, "cancelled by bob")


def test_cancelled_while_it_starts_it_is_stopped_at_the_cluster(hall: Hall) -> None:
    hall.cluster.down = True
    job = hall.look(hall.submit())
    hall.cluster.down = False
    started = hall.now(job)
    with hall.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")
    hall.server.follow(started)  # as read a moment before
    assert hall.cluster.attempts[job.submission_id].status == Status.STOPPED
    assert hall.look(job).state == State.CANCELLED


def test_one_that_never_reached_the_cluster_is_cancelled_all_the_same(hall: Hall) -> None:
    hall.cluster.down = True
    job = hall.look(hall.submit())
    with hall.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")
    hall.cluster.down = False
    assert hall.look(job).state == State.CANCELLING, "its submission may be on its way"
    hall.age(job, 100)
    assert hall.look(job).state == State.CANCELLED


def cancelled(hall: Hall, job: Job) -> None:
    with hall.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")


def test_cancelled_while_its_cluster_is_gone_for_good_it_ends(hall: Hall) -> None:
    job = hall.running()
    hall.cluster.down = True
    cancelled(hall, job)
    job = hall.look(job)
    assert job.state == State.CANCELLING and "does not answer" in (job.said or "")
    order = Path(job.output, SUBMITTED, f"{job.submission_id}.json")
    assert not order.exists(), "a driver that still runs somewhere does not find it"
    hall.age(job, 500)
    assert hall.look(job).state == State.CANCELLING
    hall.age(job, 700)
    job = hall.look(job)
    assert job.state == State.CANCELLED and job.finished_at is not None
    assert (job.said or "").startswith("cancelled by bob; the cluster was not reached (http://head:8265: ")
    assert "may still run" in (job.said or "")


def test_what_a_cluster_that_is_gone_still_runs_is_not_over(hall: Hall) -> None:
    job = hall.running()
    hall.cluster.down = True
    cancelled(hall, job)
    hall.age(job, 700)
    hall.tell(job, read=3)
    assert hall.look(job).state == State.CANCELLING, "its driver has just said something"
    hall.age(job, 700)
    assert hall.look(job).state == State.CANCELLED


def test_a_cluster_that_was_away_is_not_why_a_job_was_cancelled(hall: Hall) -> None:
    job = hall.running()
    hall.cluster.down = True
    cancelled(hall, job)
    hall.look(job)
    hall.cluster.down = False
    hall.look(job)
    job = hall.look(job)
    assert (job.state, job.said) == (State.CANCELLED, "cancelled by bob")


def test_who_starts_ends_whoever_still_writes_to_the_output(hall: Hall) -> None:
    other = hall.running(name="try")
    left = Path(other.output, SUBMITTED, f"{other.submission_id}.json")
    with hall.database.write() as connection:  # over, with an order that storage kept
        assert jobs.move(connection, other, State.CANCELLED) is not None
    job = hall.running(name="try")
    assert job.output == other.output and left.parent.is_dir() and not left.exists()
    own = f"{job.submission_id}.json"
    assert [each.name for each in left.parent.iterdir()] == [own]
    with hall.database.write() as connection:
        connection.execute(table.update().where(table.c.id == job.id).values(attempt=2))
    (left.parent / f"crawlmill-{job.id}-2.json").write_text("{}")
    hall.another().follow(
        replace(job, state=State.STARTING, changed_at=hall.age(job, 60).changed_at)
    )  # a server that was slow, and has only now come so far
    assert (left.parent / f"crawlmill-{job.id}-2.json").exists(), "the attempt that goes on keeps its order"


def test_finished_before_it_could_be_cancelled(hall: Hall) -> None:
    job = hall.running()
    hall.cluster.end(job, Status.SUCCEEDED)
    with hall.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")
    assert hall.look(job).state == State.COMPLETE


def test_an_output_that_cannot_be_written(hall: Hall) -> None:
    (hall.folder / "try").write_text("a file")
    job = hall.look(hall.submit())
    assert job.state == State.FAILED and f"output.path: {job.output}" in (job.said or "")
    assert hall.cluster.submitted == []


class Watch:
    """A clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def refuse(job: Job) -> Path:
    """Let storage not take the order of a job's first attempt, in a way that may pass: a folder is in its place."""
    folder = Path(job.output, SUBMITTED, f"crawlmill-{job.id}-1.json")
    folder.mkdir(parents=True)
    return folder


def test_storage_that_is_away_when_a_job_starts_is_asked_again_ever_more_rarely(hall: Hall) -> None:
    watch = Watch()
    server = hall.another(terms=Terms(patience=300.0, clock=watch))
    job = hall.submit()
    folder = refuse(job)
    job = hall.look(job, server)
    assert job.state == State.STARTING
    assert "Is a directory" in (job.said or "") and "asked again" in (job.said or "")
    tries = [0.0]
    for _ in range(60):
        watch.seconds += 1.0
        before = hall.cluster.asked  # after each refusal, whether another server had more luck
        assert hall.look(job, server).state == State.STARTING
        tries += [watch.seconds] * (hall.cluster.asked - before)
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert 3 <= len(waits) <= 6 and waits == sorted(waits)
    folder.rmdir()
    watch.seconds += 120.0
    job = hall.look(job, server)
    assert (job.state, job.said) == (State.RUNNING, None)
    assert hall.cluster.submitted == [f"crawlmill-{job.id}-1"]


def test_storage_that_stays_away_fails_the_job(hall: Hall) -> None:
    watch = Watch()
    server = hall.another(terms=Terms(patience=300.0, clock=watch))
    job = hall.submit()
    refuse(job)
    while hall.look(job, server).state == State.STARTING:
        assert watch.seconds < 600, "it never fails"
        watch.seconds += 10.0
    job = hall.now(job)
    assert job.state == State.FAILED and watch.seconds > 60
    assert (job.said or "").startswith(f"output.path: {job.output}") and "asked again" not in (job.said or "")
    hall.look(job, server)
    assert hall.cluster.submitted == []


def test_progress_that_is_none(hall: Hall) -> None:
    job = hall.running()
    for content in ("{", "[]", "null", '{"submission_id": "another", "at": "x"}'):
        Path(job.output, FILE).write_text(content)
        job = hall.look(job)
        assert (job.state, job.progress) == (State.RUNNING, None)
