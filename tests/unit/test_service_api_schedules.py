"""Schedules and snapshots over HTTP: made, paused, tried again by the right people, and told of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import yaml
from serving import Served, served
from test_service_api_gate import detail

from pipeline.service import jobs, tables
from pipeline.service.api.schedules import add
from pipeline.service.jobs import State
from pipeline.service.scheduling import schedule_runs, schedules
from pipeline.service.scheduling.scheduler import Start
from pipeline.service.service import Service
from pipeline.service.tokens import Caller, Role
from pipeline.spec import Job

SCHEDULES = "/api/v1/schedules"
CRAWL = "https://index.commoncrawl.org/"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schedules")
    with served(folder, f"sqlite:///{folder}/crawlmill.db", limits={"requests_per_minute": 100_000}) as made:
        yield made


@pytest.fixture(scope="module")
def mine(service: Served) -> Iterator[httpx.Client]:
    with service.client(service.token("mine", "red")) as client:
        yield client


def weekly(service: Served, name: str, **more: Any) -> dict[str, Any]:
    job = service.job(name, output={"path": f"{name}/{{date}}"})
    return {"name": name, "trigger": {"cron": "0 6 * * MON", "zone": "Europe/Berlin"}, "job": job, **more}


def test_a_schedule_is_made_shown_paused_and_removed(service: Served, mine: httpx.Client) -> None:
    content = yaml.safe_dump(weekly(service, "life", priority=3))
    answer = mine.post(SCHEDULES, content=content, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["trigger"] == {"cron": "0 6 * * MON", "zone": "Europe/Berlin"}
    assert (made["team"], made["created_by"], made["priority"], made["waiting"]) == ("red", "mine", 3, 0)
    assert datetime.fromisoformat(made["next"]) > datetime.now(UTC)
    assert made["spec"]["output"]["path"] == "life/{date}"
    where = answer.headers["location"]
    assert mine.get(where).json() == made
    assert {**made, "paused": True, "next": None} == mine.post(f"{where}/pause").json()
    assert mine.post(f"{where}/resume").json()["paused"] is False
    listed = mine.get(SCHEDULES).json()["schedules"]
    assert [each["name"] for each in listed] == ["life"] and "spec" not in listed[0]
    assert "there is one" in detail(mine.post(SCHEDULES, json=weekly(service, "life")), 409)
    assert mine.delete(where).status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("GET", "/runs")):
        assert "crawlmill schedule list" in detail(mine.request(method, where + path), 404)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a/b"}, "name"),
        ({"trigger": {"cron": "61 * * * *"}}, "cron"),
        ({"trigger": {"snapshots": "http://169.254.169.254/"}}, "looks at https://index.commoncrawl.org/ alone"),
        ({"retries": 21}, "retries"),
        ({"job": {"name": "x"}}, "source"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_wrong_with_one(service: Served, mine: httpx.Client, change: dict[str, Any], said: str) -> None:
    assert said in detail(mine.post(SCHEDULES, json={**weekly(service, "wrong"), **change}), 422)


def test_others_write_while_one_is_checked(service: Served) -> None:
    """On SQLite there is one writer; a check that met a lock would wait for its end in vain."""

    class Writing(Service):
        def check(self, content: object) -> Job:
            with self.database.write() as connection:
                jobs.waiting(connection, "red")
            return super().check(content)

    there = service.service
    add(
        Writing(there.settings, there.database, there.cluster), weekly(service, "slow"), Caller("m", "red", Role.SUBMIT)
    )


def test_only_its_team_changes_one(service: Served, mine: httpx.Client) -> None:
    mine.post(SCHEDULES, json=weekly(service, "guarded"))
    reading = service.token("reader", "red", "read")
    for token in (service.token("theirs", "blue"), reading):
        with service.client(token) as client:
            assert client.get(f"{SCHEDULES}/guarded").status_code == 200
            for method, path in (("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/runs/A/retry")):
                detail(client.request(method, f"{SCHEDULES}/guarded{path}"), 403)
    assert mine.get(f"{SCHEDULES}/guarded").json()["paused"] is False


def test_runs_that_a_person_tries_again_or_skips(service: Served, mine: httpx.Client) -> None:
    mine.post(SCHEDULES, json=weekly(service, "runs"))
    occasion, now = "2026-11-23T05:00:00Z", datetime.now(UTC)
    path = f"{SCHEDULES}/runs/runs"
    assert mine.get(path).json() == {"runs": []}
    detail(mine.post(f"{path}/{occasion}/retry"), 404)
    with service.service.database.alone(schedules.LOCK) as connection:
        schedule = schedules.get(connection, "runs")
        start = Start(schedule.id, occasion)
        schedule_runs.carry_out(connection, start, schedule, now, service.service.check)
    run = mine.get(path).json()["runs"][0]
    assert (run["occasion"], run["state"], run["attempts"]) == (occasion, "active", 1)
    assert "already" in detail(mine.post(f"{path}/{occasion}/retry"), 409)
    service.move(run["job_id"], State.STARTING, State.FAILED)
    again = mine.post(f"{path}/{occasion}/retry").json()
    assert (again["state"], again["attempts"], again["job_id"]) == ("active", 2, run["job_id"])
    service.move(run["job_id"], State.STARTING, State.FAILED)
    assert mine.post(f"{path}/{occasion}/skip").json()["state"] == "skipped"
    detail(mine.post(f"{path}/{occasion}/skip"), 409)


def test_snapshots_and_what_schedules_made_of_them(service: Served, mine: httpx.Client) -> None:
    empty = mine.get("/api/v1/snapshots").json()
    assert empty == {"base": CRAWL, "feed": None, "snapshots": []}
    source = {"kind": "commoncrawl", "snapshot": "{snapshot}", "files": "0:1"}
    job = service.job("crawls", source=source, output={"path": "crawls/{snapshot}"})
    trigger = {"snapshots": True, "since": "CC-MAIN-2026-43"}
    answer = mine.post(SCHEDULES, json={"name": "crawls", "trigger": trigger, "job": job})
    assert answer.json()["trigger"] == {"snapshots": CRAWL, "since": "CC-MAIN-2026-43"}
    now = datetime(2026, 11, 21, tzinfo=UTC)
    with service.service.database.write() as connection:
        connection.execute(tables.feeds.insert().values(base=CRAWL, failures=0, asked_at=now, answered_at=now))
        rows = [
            {"base": base, "id": id, "name": id, "crawled_from": None, "crawled_to": now, "seen_at": now}
            for base, id in ((CRAWL, "CC-MAIN-2026-39"), (CRAWL, "CC-MAIN-2026-43"), ("https://other/", "CC-MAIN-2012"))
        ]
        connection.execute(tables.snapshots.insert(), rows)
    found = mine.get("/api/v1/snapshots").json()
    assert found["feed"]["failures"] == 0 and found["feed"]["answered_at"] is not None
    standing = [(each["id"], each["schedules"]) for each in found["snapshots"]]
    assert standing == [("CC-MAIN-2026-43", {"crawls": "due"}), ("CC-MAIN-2026-39", {})]


def test_a_snapshot_that_is_waited_for_is_told_and_skipped(service: Served, mine: httpx.Client) -> None:
    source = {"kind": "commoncrawl", "snapshot": "{snapshot}", "files": "0:1", "base": "mirror"}
    job = service.job("behind", source=source, output={"path": "behind/{snapshot}"})
    trigger = {"snapshots": True, "since": "CC-MAIN-2026-51"}
    assert mine.post(SCHEDULES, json={"name": "behind", "trigger": trigger, "job": job}).json()["awaited"] is None
    with service.service.database.write() as connection:
        row = {"base": CRAWL, "id": "CC-MAIN-2026-51", "name": "", "seen_at": datetime(2026, 12, 30, tzinfo=UTC)}
        connection.execute(tables.snapshots.insert().values(row))
    path = service.data / "mirror/crawl-data/CC-MAIN-2026-51/warc.paths.gz"
    awaited = {"occasion": "CC-MAIN-2026-51", "said": f"there is no {path}"}
    assert mine.get(f"{SCHEDULES}/behind").json()["awaited"] == awaited
    listed = {each["name"]: each["awaited"] for each in mine.get(SCHEDULES).json()["schedules"]}
    assert listed["behind"] == awaited
    page = mine.get("/schedules/behind").text
    assert "Waits for" in page and str(path) in page and 'aria-label="Skip CC-MAIN-2026-51"' in page
    assert "waits for" in mine.get("/schedules").text
    detail(mine.post(f"{SCHEDULES}/behind/runs/CC-MAIN-2012/skip"), 404)
    run = mine.post(f"{SCHEDULES}/behind/runs/CC-MAIN-2026-51/skip").json()
    assert (run["state"], run["attempts"], run["said"]) == ("skipped", 0, "skipped by mine")
    assert mine.get(f"{SCHEDULES}/behind").json()["awaited"] is None
