"""Looking for snapshots on a website: how often, what is believed, and what a schedule makes of it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from crawls import FAST, commoncrawl
from fake_crawl import LIST, FakeCrawl
from hypothesis import given
from hypothesis import strategies as st
from origin import Behaviour, body, status

from pipeline.service import jobs
from pipeline.service.database import Database
from pipeline.service.scheduling import publication, schedule_loop, schedule_runs, schedules, snapshots
from pipeline.service.scheduling.collinfo import FeedFault, new_client, read_list
from pipeline.service.scheduling.schedule_loop import Scheduler
from pipeline.service.scheduling.schedules import Stored, parse_schedule
from pipeline.service.settings import Settings
from pipeline.spec import Job, parse_job

NOW = datetime(2026, 11, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url)
    made.upgrade()
    return made


@pytest.fixture
def crawl() -> Iterator[FakeCrawl]:
    with FakeCrawl() as made:
        yield made


def poll(database: Database, crawl: FakeCrawl, now: datetime, every: timedelta = HOUR) -> list[str]:
    with new_client() as client:
        return sorted(snapshots.poll(database, crawl.url, client, every, now))


def known(database: Database, crawl: FakeCrawl) -> dict[str, datetime | None]:
    with database.read() as connection:
        return {each.id: each.seen_at for each in snapshots.known(connection, crawl.url)}


def test_what_is_new(database: Database, crawl: FakeCrawl) -> None:
    crawl.announce("CC-MAIN-2026-38", "CC-MAIN-2012")
    assert poll(database, crawl, NOW) == ["CC-MAIN-2012", "CC-MAIN-2026-38"]
    crawl.announce("CC-MAIN-2026-43")
    assert poll(database, crawl, NOW + HOUR) == ["CC-MAIN-2026-43"]
    assert poll(database, crawl, NOW + 2 * HOUR) == []
    assert known(database, crawl) == {"CC-MAIN-2012": None, "CC-MAIN-2026-38": None, "CC-MAIN-2026-43": NOW + HOUR}
    first, second, third = crawl.asked(LIST)
    assert "If-None-Match" not in first.headers and first.headers["User-Agent"].startswith("crawlmill/")
    assert second.headers["If-None-Match"] != third.headers["If-None-Match"]  # and the last answer was 304
    with database.read() as connection:
        assert next(each for each in snapshots.known(connection, crawl.url) if each.seen_at).crawled_to == datetime(
            2026, 10, 18, 4, 5, 6, tzinfo=UTC
        )


def test_all_servers_ask_once(database: Database, crawl: FakeCrawl) -> None:
    crawl.announce("CC-MAIN-2026-38")
    with ThreadPoolExecutor(4) as servers:
        found = list(servers.map(lambda _: poll(database, crawl, NOW), range(8)))
    assert sorted(found, key=len)[-2:] == [[], ["CC-MAIN-2026-38"]]
    assert poll(database, crawl, NOW + HOUR - SECOND) == []
    assert len(crawl.asked(LIST)) == 1
    poll(database, crawl, NOW + HOUR)
    assert len(crawl.asked(LIST)) == 2
    poll(database, crawl, NOW - 999 * HOUR)  # the clock was wrong before
    assert len(crawl.asked(LIST)) == 3


@pytest.mark.parametrize(
    "answer, said",
    [
        (status(503), "503 Service Unavailable"),
        (status(404), "404 Not Found"),
        (status(302, {"Location": "http://10.0.0.1/"}), "302 Found; it has moved to http://10.0.0.1/"),
        (status(302, {"Location": "http://10.0.0.1/\x1b"}), "Invalid URL in location header"),
        (status(304), "304 Not Modified"),  # of what was never given
        (body(b"<html>"), "not JSON"),
        (body(b"[" * 100_000), "not JSON"),
        (body(b"9" * 10_000), "not JSON"),
        (body(b"\xff\xfe"), "not JSON"),
        (body(b"{}"), "not a list of snapshots"),
        (body(b"[]"), "names no snapshot"),
        (body(b"[" + b" " * 2**20 + b"]"), "more than 1048576 bytes"),
        (lambda handler: handler.raw(b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n[]"), "peer closed connection"),
        (lambda handler: handler.raw(b"no HTTP\r\n\r\n"), "illegal status line"),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, crawl: FakeCrawl, answer: Behaviour, said: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/db")
    database.upgrade()
    crawl.announce("CC-MAIN-2026-38")
    crawl.instead[LIST] = [answer] * 3
    for wait in (0, 1, 2, 4):  # longer each time
        with database.read() as connection:
            feed = snapshots.feed_of(connection, crawl.url)
        now = NOW if feed is None else feed.not_before or NOW
        before = len(crawl.asked(LIST))
        if feed is not None:
            assert feed.asked_at is not None and now == feed.asked_at + wait * HOUR
            assert poll(database, crawl, now - SECOND) == [] and len(crawl.asked(LIST)) == before
        if crawl.instead[LIST]:
            with pytest.raises(FeedFault) as fault:
                poll(database, crawl, now)
            assert said in str(fault.value) and "\n" not in str(fault.value) and "\x1b" not in str(fault.value)
        else:
            assert poll(database, crawl, now) == ["CC-MAIN-2026-38"]
    with database.read() as connection:
        feed = snapshots.feed_of(connection, crawl.url)
    assert feed is not None and (feed.failures, feed.said, feed.not_before) == (0, None, None)


@pytest.mark.parametrize(
    "asked, spared", [("7200", 2 * HOUR), ("60", HOUR), ("9" * 18, timedelta(days=7)), ("x", HOUR)]
)
def test_who_asks_to_be_spared(tmp_path: Path, crawl: FakeCrawl, asked: str, spared: timedelta) -> None:
    database = Database(f"sqlite:///{tmp_path}/db")
    database.upgrade()
    crawl.instead[LIST] = [status(429, {"Retry-After": asked})]
    with pytest.raises(FeedFault, match="429"):
        poll(database, crawl, NOW)
    with database.read() as connection:
        feed = snapshots.feed_of(connection, crawl.url)
    assert feed is not None and feed.not_before == NOW + spared


def test_nobody_answers(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db")
    database.upgrade()
    with FakeCrawl() as gone:
        pass
    with pytest.raises(FeedFault, match="Connection refused"):
        poll(database, gone, NOW)


def test_what_is_believed_of_a_list() -> None:
    odd: list[Any] = [
        None, 3, "CC-MAIN-2026-43", {}, {"id": None}, {"id": "../../etc"}, {"id": "CC-MAIN-2026-43/../x"},
        {"id": "CC-MAIN-2026-43\n"}, {"id": "CC-MAIN-٢٠٢٦-43"}, {"id": "CC-MAIN-" + "1" * 999},
        {"id": "CC-MAIN-2026-43", "name": "\ud800<b>\x00\n" + "x" * 999, "from": "0001-01-01T00:00:00+23:00", "to": 7},
        {"id": "CC-MAIN-2026-43", "name": "the second of its name"},
        {"id": "CC-MAIN-2009-2010", "from": "9999-12-31T23:59:59-01:00", "to": "2010-01-01T00:00:00Z"},
    ]  # fmt: skip
    first, second = read_list(json.dumps(odd).encode())
    assert first == {"id": "CC-MAIN-2026-43", "name": "<b>" + "x" * 253, "crawled_from": None, "crawled_to": None}
    assert (second["id"], second["crawled_from"], second["crawled_to"]) == (
        "CC-MAIN-2009-2010",
        None,
        datetime(2010, 1, 1, tzinfo=UTC),
    )


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda each: st.lists(each) | st.dictionaries(st.sampled_from(["id", "from", "name"]), each),
    )
)
def test_any_list_is_one_or_none(content: object) -> None:
    with contextlib.suppress(FeedFault):
        read_list(json.dumps(content).encode())


def check(content: object) -> Job:
    return parse_job(content, "job")


class Server:
    """One server's scheduler, and schedules in its database."""

    def __init__(self, database: Database, crawl: FakeCrawl, **settings: Any) -> None:
        self.database, self.crawl = database, crawl
        self.settings = Settings.model_validate({"crawl": crawl.url, **settings})
        self.scheduler = Scheduler(self.settings, database, check)

    def schedule(self, now: datetime = NOW, base: str | None = None, **more: Any) -> Stored:
        source = commoncrawl(base or self.crawl.url, snapshot="{snapshot}")
        job = {"name": "web", "source": source, "override": FAST, "output": {"path": "/data/{schedule}/{snapshot}"}}
        wanted = parse_schedule({"name": "every", "trigger": {"snapshots": True}, "job": job, **more})
        url = str(self.settings.crawl)
        made = schedules.prepare(wanted, team="web", by="ada", check=check, crawl=url, now=now)
        with self.database.alone(schedules.LOCK) as connection:
            schedules.create(connection, made)
        return made

    def awaited(self, now: datetime = NOW) -> dict[str, publication.Awaited]:
        with self.database.read() as connection:
            every = schedules.everything(connection)
        return publication.awaited(self.database, every, str(self.settings.data), now)

    def skip(self, occasion: str) -> schedule_runs.StoredRun:
        with self.database.alone(schedules.LOCK) as connection:
            return schedule_runs.skip(connection, schedules.get(connection, "every"), occasion, "ada", NOW)

    def outputs(self) -> list[str]:
        with self.database.read() as connection:
            return sorted(job.output for job in jobs.find(connection).jobs)


def test_a_new_snapshot_is_run_for_when_it_is_published(database: Database, crawl: FakeCrawl) -> None:
    server = Server(database, crawl)
    crawl.publish("CC-MAIN-2026-38", [])
    server.scheduler.once(NOW)
    assert crawl.requests == []  # nobody wants to know
    server.schedule(NOW)
    server.scheduler.once(NOW)
    crawl.announce("CC-MAIN-2026-43")
    for hour in (1, 2):
        server.scheduler.once(NOW + hour * HOUR)
        server.scheduler.once(NOW + hour * HOUR + SECOND)
    there = "/crawl-data/CC-MAIN-2026-43/warc.paths.gz"
    assert server.outputs() == [] and len(crawl.asked(there)) == 2
    crawl.publish("CC-MAIN-2026-43", [])
    server.scheduler.once(NOW + 3 * HOUR)
    server.scheduler.once(NOW + 4 * HOUR)
    assert server.outputs() == ["/data/every/CC-MAIN-2026-43"] and len(crawl.asked(there)) == 3
    assert crawl.asked(there)[0].headers["Range"] == "bytes=0-0"


def test_a_mirror_in_a_folder_may_be_behind(database: Database, crawl: FakeCrawl, tmp_path: Path) -> None:
    server = Server(database, crawl, data=str(tmp_path))
    server.schedule(base="mirror", catch_up=True, trigger={"snapshots": True, "since": "all"})
    crawl.publish("CC-MAIN-2026-43", [])
    server.scheduler.once(NOW)
    assert server.outputs() == []
    there = tmp_path / "mirror/crawl-data/CC-MAIN-2026-43/warc.paths.gz"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"")
    server.scheduler.once(NOW + SECOND)
    assert server.outputs() == ["/data/every/CC-MAIN-2026-43"]


def test_what_a_mirror_never_has_is_told_and_can_be_skipped(
    database: Database, crawl: FakeCrawl, tmp_path: Path
) -> None:
    server = Server(database, crawl, data=str(tmp_path))
    server.schedule(base="mirror", trigger={"snapshots": True, "since": "CC-MAIN-2026-38"})
    for snapshot in ("CC-MAIN-2026-30", "CC-MAIN-2026-38", "CC-MAIN-2026-43"):
        crawl.publish(snapshot, [])
    stem = tmp_path / "mirror/crawl-data"
    (stem / "CC-MAIN-2026-43").mkdir(parents=True)
    (stem / "CC-MAIN-2026-43/warc.paths.gz").write_bytes(b"")
    server.scheduler.once(NOW)
    assert server.outputs() == []
    said = f"there is no {stem}/CC-MAIN-2026-38/warc.paths.gz"
    assert server.awaited() == {"every": publication.Awaited("CC-MAIN-2026-38", said)}
    for other in ("CC-MAIN-2026-30", "CC-MAIN-2026-39", "2026-11-21T06:00:00Z"):  # too old, not listed, no snapshot
        with pytest.raises(schedule_runs.NoSuchRun):
            server.skip(other)
    run = server.skip("CC-MAIN-2026-38")
    assert (run.state, run.attempts, run.job_id, run.said) == ("skipped", 0, None, "skipped by ada")
    with pytest.raises(jobs.Conflict, match="is skipped"):
        server.skip("CC-MAIN-2026-38")
    assert server.awaited() == {}
    server.scheduler.once(NOW + SECOND)
    assert server.outputs() == ["/data/every/CC-MAIN-2026-43"]
    with pytest.raises(jobs.Conflict, match="is active"):
        server.skip("CC-MAIN-2026-43")


def test_what_a_website_does_not_have_yet_is_told(database: Database, crawl: FakeCrawl) -> None:
    server = Server(database, crawl)
    server.schedule(trigger={"snapshots": True, "since": "all"})
    crawl.announce("CC-MAIN-2026-43")
    address = f"{crawl.url}crawl-data/CC-MAIN-2026-43/warc.paths.gz"
    with new_client() as client:
        snapshots.poll(database, crawl.url, client, HOUR, NOW)

    def said() -> str:
        found = server.awaited()["every"]
        assert found.occasion == "CC-MAIN-2026-43"
        return found.said

    assert said() == f"{address} has not been asked for yet"
    server.scheduler.once(NOW + HOUR)
    assert said() == f"there was no {address} when it was asked for last, on 2026-11-04 13:00 UTC"
    crawl.instead["/crawl-data/CC-MAIN-2026-43/warc.paths.gz"] = [status(503)]
    server.scheduler.once(NOW + 2 * HOUR)
    assert said() == f"{address}: 503 Service Unavailable"
    with database.alone(schedules.LOCK) as connection:
        schedules.pause(connection, "every")
    assert server.awaited() == {}
    with database.alone(schedules.LOCK) as connection:
        schedules.resume(connection, "every")
    crawl.publish("CC-MAIN-2026-43", [])
    with new_client() as client:
        server.scheduler.poll(NOW + 4 * HOUR, client)
    assert server.awaited() == {}, "it is there, and starts at the next look"


def test_what_came_while_nobody_looked_is_no_news(database: Database, crawl: FakeCrawl) -> None:
    server = Server(database, crawl)
    crawl.publish("CC-MAIN-2026-38", [])
    server.schedule(NOW)
    server.scheduler.once(NOW)
    with database.alone(schedules.LOCK) as connection:
        schedules.remove(connection, "every")
    crawl.publish("CC-MAIN-2026-43", [])
    server.scheduler.once(NOW + 900 * HOUR)
    server.schedule(NOW + 1000 * HOUR)
    server.scheduler.once(NOW + 1000 * HOUR + SECOND)
    assert server.outputs() == []
    crawl.publish("CC-MAIN-2026-47", [])
    server.scheduler.once(NOW + 1001 * HOUR + SECOND)
    assert server.outputs() == ["/data/every/CC-MAIN-2026-47"]


def test_a_schedule_that_breaks_holds_up_no_other(
    database: Database, crawl: FakeCrawl, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(content: object) -> Job:
        job = check(content)
        if job.output.path == "/data/a/CC-MAIN-2026-43":
            raise ZeroDivisionError
        return job

    server = Server(database, crawl)
    for name in "ab":
        server.schedule(name=name, trigger={"snapshots": True, "since": "all"})
    crawl.publish("CC-MAIN-2026-43", [])
    Scheduler(server.settings, database, broken).once(NOW)
    assert server.outputs() == ["/data/b/CC-MAIN-2026-43"] and "ZeroDivisionError" in caplog.text
    with database.read() as connection:
        assert schedule_runs.runs_of(connection, schedules.get(connection, "a")) == []


def test_a_website_in_trouble_is_a_line_in_the_log(
    database: Database, crawl: FakeCrawl, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(database, crawl)
    server.schedule(trigger={"snapshots": True, "since": "all"})
    crawl.publish("CC-MAIN-2026-43", [])
    crawl.instead[LIST] = [status(500)]
    crawl.instead["/crawl-data/CC-MAIN-2026-43/warc.paths.gz"] = [status(500)]
    with caplog.at_level(logging.WARNING):
        for hour in range(3):
            server.scheduler.once(NOW + hour * HOUR)
    assert [record.getMessage().rpartition(" ")[0].partition(": ")[2] for record in caplog.records] == [
        "500 Internal Server"
    ] * 2
    assert server.outputs() == ["/data/every/CC-MAIN-2026-43"]


def test_a_database_that_is_away_for_a_while(
    database: Database, crawl: FakeCrawl, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant in ("LOOK_SECONDS", "HICCUP_SECONDS"):
        monkeypatch.setattr(schedule_loop, constant, 0.05)
    server = Server(database, crawl)
    server.schedule(trigger={"snapshots": True, "since": "all"})
    crawl.publish("CC-MAIN-2026-43", [])
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE schedules RENAME TO away"))
    stop = threading.Event()
    loop = threading.Thread(target=server.scheduler.run, args=(stop,))
    loop.start()
    try:
        until(lambda: "database: " in caplog.text)
        with database.write() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO schedules"))
        until(server.outputs)
    finally:
        stop.set()
        loop.join()
    assert all("\n" not in record.getMessage() and not record.exc_info for record in caplog.records)


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)  # between looks at a thread
