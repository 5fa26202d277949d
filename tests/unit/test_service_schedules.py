"""Schedules and their runs in the database, on SQLite and on PostgreSQL, with the jobs that they become."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from crawls import FAST, commoncrawl, warcs

from pipeline.service import jobs
from pipeline.service.database import Database
from pipeline.service.jobs import Conflict, State
from pipeline.service.scheduling import schedule_runs, schedules
from pipeline.service.scheduling.cron import Cron
from pipeline.service.scheduling.scheduler import EverySnapshot, RunState, Snapshot, Start, decide
from pipeline.service.scheduling.schedules import NoSuchSchedule, Stored, parse_schedule
from pipeline.service.scheduling.template import fill
from pipeline.service.tables import runs
from pipeline.spec import Job, JobError, load_stages, parse_job

MADE = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
CRAWL = "https://index.example"
BASE = CRAWL + "/"
EVERY = {"snapshots": True}
DAILY = {"cron": "30 5 * * *", "zone": "Asia/Tokyo"}


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url)
    made.upgrade()
    return made


def check(content: object) -> Job:
    job = parse_job(content, "job")
    load_stages(job, Path())
    return job


def spec(path: str | None = "/data/{schedule}/{snapshot}", **job: Any) -> dict[str, Any]:
    by_clock = path is not None and ("{date}" in path or "{time}" in path)
    source = warcs("/in/*.warc.gz") if by_clock else commoncrawl("/mirror", snapshot="{snapshot}")
    return {"name": "web-{schedule}", "source": source, "override": FAST, "output": {"path": path}, **job}


def wanted(trigger: Mapping[str, Any] = EVERY, job: dict[str, Any] | None = None, **more: Any) -> Any:
    fitting = spec() if "snapshots" in trigger else spec("/data/{date}")
    return parse_schedule({"name": "every", "trigger": trigger, "job": job or fitting, **more})


def create(database: Database, trigger: Mapping[str, Any] = EVERY, **more: Any) -> Stored:
    made = schedules.prepare(wanted(trigger, **more), team="web", by="ada", check=check, crawl=CRAWL, now=MADE)
    with database.alone(schedules.LOCK) as connection:
        schedules.create(connection, made)
    return made


LISTED = [Snapshot(BASE, "CC-MAIN-2026-38", MADE + timedelta(days=1)), Snapshot(BASE, "CC-MAIN-2026-43", NOW)]


def look(database: Database, now: datetime, check: schedules.Check = check) -> list[str]:
    """What a server does at a moment; what it said."""
    with database.alone(schedules.LOCK) as connection:
        schedule_runs.settle(connection, now)
        every = schedules.everything(connection)
        of = {each.id: each for each in every}
        found = decide(now, every, schedule_runs.to_decide_on(connection, every, now), LISTED)
        owners = [of[each.schedule_id if isinstance(each, Start) else each.run.schedule_id] for each in found]
        return [schedule_runs.carry_out(connection, *each, now, check) for each in zip(found, owners)]


def end(database: Database, state: State, at: datetime = NOW) -> jobs.Job:
    """Bring the one job that is not over to its end."""
    with database.write() as connection:
        (job,) = jobs.active(connection)
        moved = jobs.move(connection, job, state, now=at)
        assert moved is not None
        return moved


def all_runs(database: Database, name: str = "every") -> list[tuple[str, str, int]]:
    with database.read() as connection:
        found = schedule_runs.runs_of(connection, schedules.get(connection, name))
    return [(run.occasion, run.state.value, run.attempts) for run in found]


def all_jobs(database: Database) -> list[jobs.Job]:
    with database.read() as connection:
        return list(jobs.find(connection).jobs)


def test_a_schedule_is_as_it_was_made(database: Database) -> None:
    by_snapshot = create(database, {"snapshots": CRAWL, "since": "CC-MAIN-2026-30"}, priority=3, retries=0)
    by_clock = create(database, DAILY, name="daily", catch_up=True)
    with database.read() as connection:
        assert schedules.everything(connection) == [by_clock, by_snapshot]
        assert schedules.get(connection, "every") == by_snapshot
        assert schedule_runs.waiting(connection) == {"every": 0, "daily": 0}
        with pytest.raises(NoSuchSchedule, match="no schedule 'none'"):
            schedules.get(connection, "none")
    assert by_snapshot.trigger == EverySnapshot(BASE, "CC-MAIN-2026-30") and by_snapshot.catch_up
    assert by_clock.trigger == Cron("30 5 * * *", "Asia/Tokyo") and by_clock.since == MADE
    with pytest.raises(Conflict, match="there is one of this name"):
        create(database)
    with database.alone(schedules.LOCK) as connection:
        assert schedules.pause(connection, "every").paused and not schedules.resume(connection, "every").paused
        with pytest.raises(NoSuchSchedule):
            schedules.pause(connection, "none")
        schedules.remove(connection, "every")
        assert schedules.everything(connection) == [by_clock]


def test_a_snapshot_becomes_a_job(database: Database) -> None:
    made = create(database, catch_up=True, priority=7)
    assert look(database, NOW)[0].startswith("schedule every, CC-MAIN-2026-38: job ")
    (job,) = all_jobs(database)
    with database.read() as connection:
        run = schedule_runs.get(connection, made, "CC-MAIN-2026-38")
    assert (job.run_id, run.job_id, job.priority, job.team) == (run.id, job.id, 7, "web")
    assert (job.name, job.output, job.created_by) == ("web-every", "/data/every/CC-MAIN-2026-38", "schedule every")
    with database.read() as connection:
        spec = dict(jobs.spec_of(connection, job.id))
    assert parse_job(spec, "job").source.snapshot == "CC-MAIN-2026-38"  # type: ignore[union-attr]
    assert look(database, NOW) == []  # one at a time
    end(database, State.COMPLETE)
    look(database, NOW)
    end(database, State.COMPLETE)
    assert look(database, NOW) == []
    assert all_runs(database) == [("CC-MAIN-2026-43", "complete", 1), ("CC-MAIN-2026-38", "complete", 1)]


def test_an_instant_becomes_a_job_of_that_day(database: Database) -> None:
    create(database, DAILY, job=spec("/data/{date}/{time}"))
    look(database, NOW)
    (job,) = all_jobs(database)
    assert job.output == "/data/2026-11-04/20261103T203000Z"  # half past five in Tokyo
    assert all_runs(database) == [("2026-11-03T20:30:00Z", "active", 1)]


def test_a_failed_run_is_tried_again_and_then_waits(database: Database) -> None:
    create(database, retries=1, retry_seconds=60)
    look(database, NOW)
    first = end(database, State.FAILED)
    assert look(database, NOW) == []
    assert all_runs(database) == [("CC-MAIN-2026-43", "failed", 1)]
    assert look(database, NOW + timedelta(seconds=59)) == []
    assert look(database, NOW + timedelta(seconds=60)) == [f"schedule every, CC-MAIN-2026-43: job {first.id}"]
    later = NOW + timedelta(hours=1)
    assert end(database, State.FAILED, later).id == first.id  # the same job, which goes on in its output
    assert look(database, later) == ["schedule every, CC-MAIN-2026-43: failed 2 times; waits for a person"]
    assert look(database, later + timedelta(days=9)) == []
    with database.read() as connection:
        assert schedule_runs.waiting(connection) == {"every": 1}


def retry(database: Database, occasion: str = "CC-MAIN-2026-43", now: datetime = NOW) -> schedule_runs.StoredRun:
    with database.alone(schedules.LOCK) as connection:
        return schedule_runs.retry(connection, schedules.get(connection, "every"), occasion, "ada", now, check)


def test_a_person_tries_again(database: Database) -> None:
    create(database, retries=0)
    with pytest.raises(schedule_runs.NoSuchRun, match="has no run for 'CC-MAIN-2026-43'"):
        retry(database)
    look(database, NOW)
    with pytest.raises(Conflict, match="runs for it already"):
        retry(database)
    job = end(database, State.CANCELLED)  # by a person: not to be tried again by a machine
    assert look(database, NOW + timedelta(days=1)) == []
    assert all_runs(database) == [("CC-MAIN-2026-43", "waiting", 1)]
    assert retry(database).job_id == job.id
    assert all_runs(database) == [("CC-MAIN-2026-43", "active", 2)]
    end(database, State.COMPLETE)
    with pytest.raises(Conflict, match="is complete already"):
        retry(database)


def test_a_person_tries_the_job_again(database: Database) -> None:
    create(database, retries=0)
    look(database, NOW)
    job = end(database, State.CANCELLED)
    look(database, NOW)
    with database.write() as connection:
        jobs.retry(connection, job.id, "ada")
    look(database, NOW)
    assert all_runs(database) == [("CC-MAIN-2026-43", "active", 2)]
    end(database, State.FAILED)
    look(database, NOW)
    assert all_runs(database) == [("CC-MAIN-2026-43", "waiting", 2)]
    with database.write() as connection:  # and again, done before anybody looks
        jobs.retry(connection, job.id, "ada")
    end(database, State.COMPLETE)
    look(database, NOW)
    assert all_runs(database) == [("CC-MAIN-2026-43", "complete", 2)]


def test_what_is_said_of_a_run_ends_with_what_it_is_said_of(database: Database) -> None:
    made = create(database, retries=0)

    def said() -> str | None:
        with database.read() as connection:
            return schedule_runs.get(connection, made, "CC-MAIN-2026-43").said

    look(database, NOW)
    job = end(database, State.FAILED)
    look(database, NOW)
    assert said() == "failed 1 times"
    with database.write() as connection:
        jobs.retry(connection, job.id, "ada")
    look(database, NOW)
    assert said() is None, "it runs"
    end(database, State.FAILED)
    look(database, NOW)
    assert said() == "failed 2 times"
    with database.alone(schedules.LOCK) as connection:
        assert schedule_runs.skip(connection, made, "CC-MAIN-2026-43", "bob", NOW).said == "skipped by bob"


def test_a_job_whose_record_is_gone(database: Database) -> None:
    create(database)
    look(database, NOW)
    job = end(database, State.FAILED)
    with database.write() as connection:
        jobs.delete(connection, job.id)
    look(database, NOW)
    assert all_runs(database) == [("CC-MAIN-2026-43", "waiting", 1)]
    assert retry(database).job_id != job.id
    (other,) = all_jobs(database)
    assert other.output == job.output


def test_what_a_person_skips_holds_up_nothing(database: Database) -> None:
    create(database, catch_up=True, retries=0)
    look(database, NOW)
    end(database, State.FAILED)
    look(database, NOW)
    assert look(database, NOW) == []
    with database.alone(schedules.LOCK) as connection:
        made = schedules.get(connection, "every")
        assert schedule_runs.skip(connection, made, "CC-MAIN-2026-38", "ada", NOW).state == RunState.SKIPPED
        with pytest.raises(Conflict, match="is skipped; only one that failed or waits"):
            schedule_runs.skip(connection, made, "CC-MAIN-2026-38", "ada", NOW)
    look(database, NOW)
    assert all_runs(database)[0] == ("CC-MAIN-2026-43", "active", 1)


def test_an_output_that_somebody_has_is_a_failure_that_passes(database: Database) -> None:
    create(database, retry_seconds=60)
    with database.write() as connection:
        taken = jobs.Submission("other", "web", "ada", {}, "/data/every/CC-MAIN-2026-43")
        other = jobs.submit(connection, taken)
    assert f"job {other.id} writes there" in look(database, NOW)[0]
    assert all_runs(database) == [("CC-MAIN-2026-43", "failed", 1)]
    end(database, State.COMPLETE)
    assert look(database, NOW + timedelta(seconds=59)) == []
    look(database, NOW + timedelta(seconds=60))
    assert all_runs(database) == [("CC-MAIN-2026-43", "active", 2)]


def test_a_job_that_is_no_longer_right_waits(database: Database) -> None:
    def stricter(content: object) -> Job:
        raise JobError("output.path: /data is not for jobs any more; write below /new")

    create(database, retries=5)
    assert "waits for a person: output.path: /data is not" in look(database, NOW, stricter)[0]
    assert all_runs(database) == [("CC-MAIN-2026-43", "waiting", 1)] and all_jobs(database) == []
    assert look(database, NOW + timedelta(days=9)) == []
    assert retry(database).state == RunState.ACTIVE


def test_the_table_refuses_a_second_run(database: Database) -> None:
    made = create(database)
    look(database, NOW)
    again = Start(made.id, "CC-MAIN-2026-43")
    with pytest.raises(sa.exc.IntegrityError), database.alone(schedules.LOCK) as connection:
        schedule_runs.carry_out(connection, again, made, NOW, check)
    assert len(all_jobs(database)) == 1


def test_many_runs_are_not_read_to_decide(database: Database) -> None:
    made = create(database, {"cron": "* * * * *"}, job=spec("/data/{time}"))
    rows = [
        {"id": f"{n:012}", "schedule_id": made.id, "occasion": f"2026-11-01T{n // 60:02}:{n % 60:02}:00Z",
         "state": "waiting" if n == 3 else "complete", "attempts": 1, "started_at": MADE}
        for n in range(1, 600)
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(runs.insert(), rows)
        found = schedule_runs.to_decide_on(connection, [made], NOW)
    assert sorted(run.occasion for run in found) == ["2026-11-01T00:03:00Z", "2026-11-01T09:59:00Z"]


def test_what_became_of_snapshots(database: Database) -> None:
    create(database)
    create(database, catch_up=True, name="all", job=spec("/data/all/{snapshot}"))
    listed = [*LISTED, Snapshot(BASE, "CC-MAIN-2012", None)]
    look(database, NOW)
    with database.read() as connection:
        found = schedule_runs.by_snapshot(connection, schedules.everything(connection), listed)
    assert found == {
        "CC-MAIN-2026-38": {"every": "missed", "all": "active"},
        "CC-MAIN-2026-43": {"every": "active", "all": "due"},
        "CC-MAIN-2012": {},
    }


@pytest.mark.parametrize(
    "trigger, more, said",
    [
        ({}, {}, "trigger: write {cron"),
        ({"cron": "0 6 * * *", "snapshots": True}, {}, "trigger: write {cron"),
        ({"cron": "0 6 * *"}, {}, "trigger.cron: 4 fields"),
        ({"crom": "0 6 * * *"}, {}, "trigger.crom: unknown; did you mean cron?"),
        ({"cron": "0 6 * * *", "zone": "Berlin"}, {}, "did you mean Europe/Berlin?"),
        ({"cron": "0 6 * * *", "since": "yesterday"}, {}, "trigger.since: 'yesterday': write a day or time"),
        ({"cron": "0 6 * * *", "since": "0001-01-01"}, {}, "trigger.since"),
        ({"cron": "0 6 * * *", "since": "9999-12-31T23:59-23:59"}, {}, "trigger.since"),
        ({"snapshots": True, "zone": "UTC"}, {}, "trigger.zone: goes with cron"),
        ({"snapshots": "http://169.254.169.254/"}, {}, "looks at https://index.example/ alone"),
        ({"snapshots": True, "since": "../../x"}, {}, "write one such as CC-MAIN-2026-43, or all"),
        ({"snapshots": True, "since": "all"}, {"catch_up": False}, "goes with catch_up: true"),
        (EVERY, {"name": "../x"}, "name: write letters"),
        (EVERY, {"name": "new"}, "name: new: has a page of that name already"),
        (EVERY, {"retries": -1}, "retries: "),
        (EVERY, {"retry_seconds": 10**9}, "retry_seconds: "),
        (EVERY, {"job": {"name": "x"}}, "job: source: missing"),
        (EVERY, {"job": spec("/data/{snapshot}", recipe="nope")}, "recipe nope: neither a shipped recipe"),
        (EVERY, {"job": spec("/data")}, "more than one run would write there; put {snapshot} into it"),
        (EVERY, {"job": spec(None)}, "output.path: missing"),
        (EVERY, {"job": spec("/data/{snap}")}, "output.path: {snap}: no variable here; did you mean snapshot?"),
        (EVERY, {"job": spec("/data/{date}")}, "output.path: {date}: no variable here"),
        (EVERY, {"job": spec("/data/{snapshot")}, "output.path: a lone {"),
        (EVERY, {"job": spec(source=commoncrawl("/mirror"))}, 'CC-MAIN-2026-43 in each run; write "{snapshot}"'),
        (DAILY, {"job": spec("/data/{snapshot}")}, "{snapshot}: no variable here"),
        ({"cron": "0 6,18 * * *"}, {"job": spec("/data/{date}")}, "put {time}, or {date} where it comes once a day"),
    ],
)  # fmt: skip
def test_what_is_refused(trigger: dict[str, Any], more: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError) as error:
        schedules.prepare(wanted(trigger, **more), team="web", by="ada", check=check, crawl=CRAWL, now=MADE)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, [], "x", {"name": "x"}, {"name": "x", "trigger": 3, "job": {}}])
def test_what_is_no_schedule(content: object) -> None:
    with pytest.raises(JobError, match="^schedule"):
        parse_schedule(content)


def test_templates() -> None:
    content = {"a": ["{x}/{{x}}", {"b": "{x}{y}"}], "{x}": 1, "c": None, "d": "}}{{"}
    assert fill(content, {"x": "1", "y": "{x}"}) == {"a": ["1/{x}", {"b": "1{x}"}], "{x}": 1, "c": None, "d": "}{"}
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(JobError, match="nested more than 50 deep"):
        fill({"a": deep}, {})
    for wrong in ("}", "{", "{x", "{}", "{x.y}", "{0}", "{x!r}", "{x:>9999999}", "{" * 99_999):
        with pytest.raises(JobError, match="^a: "):
            fill({"a": wrong}, {"x": "1"})
