"""What befalls a job, as a stream and as a list."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Served, served
from test_service_api_gate import detail

from pipeline.client.event_stream import ServerEvent, read_events
from pipeline.service import jobs
from pipeline.service.api import events as api_events
from pipeline.service.jobs import State

JOBS = "/api/v1/jobs"
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("events")
    with served(folder, f"sqlite:///{folder}/crawlmill.db", limits={"requests_per_minute": 100_000}) as made:
        yield made


@pytest.fixture
def job(service: Served, request: pytest.FixtureRequest) -> str:
    with service.client() as client:
        answer = client.post(JOBS, json=service.job(request.node.name.split("[")[0].replace("_", "-")))
        return str(answer.json()["id"])


def follow(service: Served, job: str, **headers: str) -> Iterator[ServerEvent]:
    with (
        service.client() as client,
        client.stream(
            "GET",
            f"{JOBS}/{job}/events",
            headers=STREAM | {name.replace("_", "-"): value for name, value in headers.items()},
        ) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield from read_events(answer.iter_raw())


def keep(service: Served, job: str, **progress: Any) -> None:
    with service.service.database.write() as connection:
        job_now = jobs.get(connection, job)
        jobs.keep_progress(connection, job_now, progress, job_now.changed_at)


def told(events: list[ServerEvent]) -> list[tuple[str, Any]]:
    return [(each.kind, json.loads(each.data).get("kind" if each.kind != "progress" else "read")) for each in events]


def test_a_stream_goes_with_the_job_and_ends_with_it(service: Served, job: str) -> None:
    stream = follow(service, job)
    assert json.loads(next(stream).data)["kind"] == "queued"
    service.move(job, State.STARTING, State.RUNNING)
    assert [json.loads(next(stream).data)["kind"] for _ in range(2)] == ["starting", "running"]
    keep(service, job, read=5, states="dr", rate=float("inf"))
    first = next(stream)
    assert (first.kind, json.loads(first.data)) == ("progress", {"read": 5, "states": "dr", "rate": None})
    with service.service.database.write() as connection:
        jobs.note(connection, jobs.get(connection, job), "two\nlines\r\nhere")
    service.move(job, State.COMPLETE, said="well\n\ndata: done")
    rest = list(stream)
    assert told(rest) == [("note", "note"), ("state", "complete")]
    assert json.loads(rest[1].data)["said"] == "well\n\ndata: done", "what is said cannot make events"


def test_who_comes_again_hears_what_was_missed(service: Served, job: str) -> None:
    service.move(job, State.STARTING, State.RUNNING, State.FAILED, said="why")
    events = list(follow(service, job))
    assert told(events) == [("state", kind) for kind in ("queued", "starting", "running", "failed")]
    assert told(list(follow(service, job, Last_Event_ID=events[1].id))) == told(events[2:])
    with service.client() as client:
        for headers, query in (({"Last-Event-ID": events[-1].id}, ""), ({}, f"?after={events[-1].id}")):
            answer = client.get(f"{JOBS}/{job}/events{query}", headers=STREAM | headers)
            assert (answer.status_code, answer.content) == (204, b""), "what tells browsers not to come again"


def test_a_list_for_who_takes_json(service: Served, job: str) -> None:
    service.move(job, State.STARTING)
    with service.client(Accept="application/json") as client:
        found = client.get(f"{JOBS}/{job}/events").json()["events"]
        assert [each["kind"] for each in found] == ["queued", "starting"]
        assert client.get(f"{JOBS}/{job}/events?after={found[0]['id']}").json()["events"] == found[1:]
        detail(client.get(f"{JOBS}/aaaaaaaaaaaa/events"), 404)
        for wrong in ("x", "-1", "1" * 19):
            detail(client.get(f"{JOBS}/{job}/events", headers={"Last-Event-ID": wrong}), 422)


def test_who_comes_again_to_a_job_that_goes_on_hears_nothing_twice(service: Served, job: str) -> None:
    service.move(job, State.STARTING)
    with service.client() as client:
        last = client.get(f"{JOBS}/{job}/events", headers={"Accept": "application/json"}).json()["events"][-1]["id"]
    stream = follow(service, job, Last_Event_ID=str(last))
    threading.Timer(2.5 * api_events.LOOK_SECONDS, service.move, (job, State.RUNNING, State.COMPLETE)).start()
    assert told(list(stream)) == [("state", "running"), ("state", "complete")]


def test_a_job_that_is_forgotten_ends_its_stream(service: Served, job: str) -> None:
    stream = follow(service, job)
    next(stream)
    with service.service.database.write() as connection:
        jobs.cancel(connection, job, "me")
        jobs.delete(connection, job)
    assert list(stream) == []


def test_many_who_watch_leave_room_for_others(service: Served, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More streams than the server has threads, and it still answers at once."""
    together = threading.Barrier(61)

    monkeypatch.setattr(api_events, "OF_ONE", 60)

    def watch() -> int:
        stream = follow(service, job)
        next(stream)
        together.wait()
        return len(list(stream))

    with ThreadPoolExecutor(60) as pool:
        watching = [pool.submit(watch) for _ in range(60)]
        together.wait(timeout=60)
        with service.client() as client:
            assert client.get(f"{JOBS}/{job}").status_code == 200
            client.post(f"{JOBS}/{job}/cancel")
        assert [each.result(timeout=60) for each in watching] == [1] * 60


def test_streams_have_an_end_in_number(service: Served, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_events, "MAX_STREAMS", 1)
    stream = follow(service, job)
    next(stream)
    with service.client() as client:
        answer = client.get(f"{JOBS}/{job}/events", headers=STREAM)
        assert "watch already" in detail(answer, 503) and "retry-after" in answer.headers
        service.move(job, State.STARTING, State.CANCELLED)
        list(stream)
        assert client.get(f"{JOBS}/{job}/events", headers=STREAM).status_code == 200


def test_one_token_s_streams_leave_room_for_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_events, "OF_ONE", 2)
    reading = []  # what is read no more is closed
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service, ExitStack() as stack:
        one, other = service.token("one", role="read"), service.token("other")
        with service.client(other) as client:
            job = client.post(JOBS, json=service.job("watched")).json()["id"]
        for token, watch in ((one, True), (one, True), (one, False), (other, True)):
            client = stack.enter_context(service.client(token))
            answer = stack.enter_context(client.stream("GET", f"{JOBS}/{job}/events", headers=STREAM))
            assert answer.status_code == (200 if watch else 503)
            reading.append(answer.iter_text())
            said = next(reading[-1])
            assert watch or "token one watches 2 times already" in said


def test_streams_end_with_the_service(tmp_path: Any) -> None:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as service:
        with service.client() as client:
            job = client.post(JOBS, json=service.job("a")).json()["id"]
        stream = follow(service, job)
        next(stream)
        ended = threading.Thread(target=lambda: list(stream))
        ended.start()
    ended.join(timeout=60)
    assert not ended.is_alive()


def test_head_of_a_stream_is_no_stream(service: Served, job: str) -> None:
    with service.client() as client:
        answer = client.head(f"{JOBS}/{job}/events", headers=STREAM)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert client.get(f"{JOBS}/{job}").status_code == 200, "the connection was left as one may go on with it"
    with pytest.raises(httpx.HTTPStatusError), service.client() as client:
        client.get(f"{JOBS}/aaaaaaaaaaaa/events", headers=STREAM).raise_for_status()
