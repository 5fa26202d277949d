"""Jobs in the database, on SQLite and on PostgreSQL: what may become of them, and who is first."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from pipeline.service import jobs
from pipeline.service.database import Database
from pipeline.service.jobs import Conflict, Job, NoSuchJob, State, Submission


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url)
    made.upgrade()
    return made


def given(output: str = "/data/out", **more: object) -> Submission:
    fields = {"name": "try", "team": "web", "by": "ada", "spec": {"name": "try"}, "output": output}
    return Submission(**(fields | more))  # type: ignore[arg-type]


def submitted(database: Database, output: str = "/data/out", **more: object) -> Job:
    with database.write() as connection:
        return jobs.submit(connection, given(output, **more))


def moved(database: Database, job: Job, *states: State) -> Job:
    with database.write() as connection:
        for state in states:
            following = jobs.move(connection, job, state)
            assert following is not None
            job = following
    return job


def test_a_job_is_as_it_was_submitted(database: Database) -> None:
    job = submitted(database, priority=3, spec={"name": "try", "deep": {"a": [1, None, "ü\u202e"]}})
    with database.read() as connection:
        assert jobs.get(connection, job.id) == job
        assert [(event.kind, event.said) for event in jobs.events_of(connection, job.id)] == [
            ("queued", "submitted by ada")
        ]
        assert jobs.spec_of(connection, job.id) == {"name": "try", "deep": {"a": [1, None, "ü\u202e"]}}
        with pytest.raises(NoSuchJob, match="no job 'none'"):
            jobs.get(connection, "none")
        with pytest.raises(NoSuchJob, match="no job 'none'"):
            jobs.spec_of(connection, "none")
    assert (job.state, job.attempt, job.priority) == (State.QUEUED, 0, 3)
    assert job.created_at.tzinfo is UTC and job.submission_id == f"crawlmill-{job.id}-0"


def test_an_output_is_one_jobs_while_it_goes_on(database: Database) -> None:
    first = submitted(database)
    with pytest.raises(Conflict, match=f"job {first.id} writes there; name another folder"):
        submitted(database)
    moved(database, first, State.CANCELLED)
    second = submitted(database)
    with database.write() as connection, pytest.raises(Conflict, match=f"job {second.id} writes there"):
        jobs.retry(connection, first.id, "ada")


@pytest.mark.parametrize("other", ["/data/out/deeper", "/data"])
def test_an_output_is_not_inside_anothers(database: Database, other: str) -> None:
    first = submitted(database)
    with pytest.raises(Conflict, match=f"job {first.id} writes to /data/out; name a folder beside it"):
        submitted(database, other)
    submitted(database, "/data/out2")


def test_who_tries_again_has_an_output_apart_as_well(database: Database) -> None:
    first = moved(database, submitted(database), State.FAILED)
    inside = submitted(database, "/data/out/deeper")
    with database.write() as connection, pytest.raises(Conflict, match=f"job {inside.id} writes to /data/out/deeper"):
        jobs.retry(connection, first.id, "ada")


@pytest.mark.parametrize("place", ["/data/out", "s3://bucket/out", "s3://bucket/out/"])
def test_nobody_writes_into_what_another_team_has_written(database: Database, place: str) -> None:
    first = moved(database, submitted(database, place), State.STARTING, State.COMPLETE)
    inside = place.rstrip("/") + "/a/b"
    with pytest.raises(Conflict, match=f"which is of job {first.id} of team web; name a folder outside it"):
        submitted(database, inside, team="other")
    submitted(database, place.rstrip("/") + "2", team="other")
    submitted(database, inside)


def test_another_team_takes_no_output_over(database: Database) -> None:
    first = moved(database, submitted(database, "/data/out/a", team="red"), State.CANCELLED)
    with pytest.raises(Conflict, match="lies in /data/out/a, which is of job .* of team red"):
        submitted(database, "/data/out/a", team="blue")
    above = submitted(database, "/data/out", team="blue")
    moved(database, above, State.STARTING, State.RUNNING, State.COMPLETE)
    with database.write() as connection, pytest.raises(Conflict, match="of team blue"):
        jobs.retry(connection, first.id, "ada")


def test_of_many_at_once_no_output_is_inside_anothers(database: Database) -> None:
    def submit(depth: int) -> bool:
        try:
            submitted(database, "/data" + "/out" * depth)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(1, 9))) == 1


def test_of_many_at_once_one_has_the_output(database: Database) -> None:
    def one(number: int) -> str:
        try:
            return submitted(database).id
        except Conflict as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(one, range(8)))
    winner = next(each for each in said if len(each) == 12)
    assert sorted(map(len, said))[0] == 12 and sum(f"job {winner} writes there" in each for each in said) == 7


def test_of_many_at_once_with_one_key_all_get_the_job(database: Database) -> None:
    def one(number: int) -> tuple[Job, bool]:
        with database.write() as connection:
            return jobs.submit_once(connection, given(), "k")

    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(one, range(8)))
    assert len({job.id for job, _ in came}) == 1 and sum(new for _, new in came) == 1


def test_a_key_stands_for_one_job(database: Database) -> None:
    now = datetime.now(UTC)

    def once(key: str, **more: object) -> tuple[Job, bool]:
        with database.write() as connection:
            return jobs.submit_once(connection, given(**more), key, now)

    first, new = once("k")
    again, renewed = once("k")
    assert (new, renewed, again) == (True, False, first)
    with pytest.raises(Conflict, match=f"'k' stands for another job \\({first.id}\\)"):
        once("k", priority=1)
    assert once("k", by="bob", output="/data/other")[1], "keys are each caller's own"
    now += timedelta(days=8)
    assert once("k", output="/data/third")[1], "a key is not kept for ever"


@pytest.mark.parametrize(
    "way, cancelled, retried",
    [
        ([], State.CANCELLED, None),
        ([State.STARTING], State.CANCELLING, None),
        ([State.STARTING, State.RUNNING], State.CANCELLING, None),
        ([State.STARTING, State.RUNNING, State.CANCELLING], State.CANCELLING, None),
        ([State.STARTING, State.RUNNING, State.COMPLETE], None, None),
        ([State.STARTING, State.FAILED], None, State.QUEUED),
        ([State.CANCELLED], None, State.QUEUED),
    ],
)
def test_what_may_become_of_a_job(
    database: Database, way: list[State], cancelled: State | None, retried: State | None
) -> None:
    for change, target in ((jobs.cancel, cancelled), (jobs.retry, retried)):
        job = moved(database, submitted(database, f"/data/{change.__name__}"), *way)
        with database.write() as connection:
            if target is None:
                with pytest.raises(Conflict, match=job.id):
                    change(connection, job.id, "bob")
            else:
                changed = change(connection, job.id, "bob")
                assert changed.state == target
                assert (changed.finished_at is not None) == target.over
                last = jobs.events_of(connection, job.id)[-1]
                assert last.kind == target and (job.state == target or "by bob" in last.said)


def test_whoever_is_late_changes_nothing(database: Database) -> None:
    job = submitted(database)
    with database.write() as connection:
        assert jobs.move(connection, job, State.STARTING, attempt=1) is not None
        assert jobs.move(connection, job, State.CANCELLED) is None
        jobs.keep_progress(connection, job, {"read": 1}, datetime.now(UTC))  # of attempt 0, which is over
        jobs.say(connection, job, "nothing")
        now = jobs.get(connection, job.id)
    assert (now.state, now.attempt, now.progress, now.said) == (State.STARTING, 1, None, None)


def test_what_a_program_printed_can_be_stored(database: Database) -> None:
    job = submitted(database)
    with database.write() as connection:
        moved = jobs.move(connection, job, State.STARTING, "a\0b\udcff" + "c" * 9_999)
        assert moved is not None and moved.said == "ab?" + "c" * (jobs.MAX_SAID - 4)
        jobs.say(connection, moved, "d\0\ud800")
        jobs.note(connection, moved, "e\0\udfff")
        assert jobs.get(connection, job.id).said == "d?"
        assert [event.said[:3] for event in jobs.events_of(connection, job.id)][1:] == ["ab?", "e?"]


def test_a_job_that_waits_has_no_progress(database: Database) -> None:
    job = moved(database, submitted(database), State.STARTING, State.RUNNING)
    with database.write() as connection:
        jobs.keep_progress(connection, job, {"states": "d" * 90_000}, datetime.now(UTC))
        assert jobs.get(connection, job.id).progress is not None
    assert moved(database, job, State.QUEUED).progress is None


def test_specs_are_read_where_they_are_wanted(database: Database) -> None:
    job, asked = submitted(database), []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    with database.read() as connection:
        assert [each.id for each in (*jobs.active(connection), *jobs.find(connection).jobs)] == [job.id, job.id]
        assert jobs.get(connection, job.id) == job
    assert len(asked) >= 3 and not any("spec" in statement for statement in asked)


def test_pages_hold_every_job_once(database: Database) -> None:
    same = datetime(2026, 11, 21, tzinfo=UTC)
    with database.write() as connection:
        made = [
            jobs.submit(
                connection, given(f"/data/{n}", name=f"n{n}", team="ab"[n % 2]), same + timedelta(seconds=n // 4)
            )
            for n in range(11)
        ]
    seen: list[str] = []
    cursor = None
    with database.read() as connection:
        while True:
            page = jobs.find(connection, limit=3, cursor=cursor)
            seen += [job.id for job in page.jobs]
            if (cursor := page.following) is None:
                break
        assert seen == [job.id for job in sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)]
        assert {job.team for job in jobs.find(connection, team="b").jobs} == {"b"}
        assert [job.name for job in jobs.find(connection, name="N1").jobs] == ["n10", "n1"]
        assert jobs.find(connection, name="%").jobs == []
        assert jobs.find(connection, states=["complete"]).jobs == []
        far, nul, short = (
            base64.urlsafe_b64encode(said).decode().rstrip("=")
            for said in (
                b"0001-01-01T00:00:00+23:00 k3v7q2m7xyab",
                b"2026-01-01T00:00:00+00:00 k3v7q2m7xya\0",
                b"2026-01-01T00:00:00+00:00 a",
            )
        )
        for wrong in ("", "!", "QQ", "2026", far, nul, short):
            with pytest.raises(ValueError, match="cursor: .* is none that a page gave"):
                jobs.find(connection, cursor=wrong)


def test_what_is_over_can_be_forgotten(database: Database) -> None:
    job = submitted(database)
    with database.write() as connection:
        with pytest.raises(Conflict, match="cancel it first"):
            jobs.delete(connection, job.id)
        jobs.cancel(connection, job.id, "ada")
        jobs.delete(connection, job.id)
        assert jobs.events_of(connection, job.id) == [] and jobs.counts(connection)[State.CANCELLED] == 0
