"""Connections that ask for nothing, for long, or take nothing: they end, and whoever asks is answered meanwhile."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from serving import Served, served
from test_service_api_events import follow
from test_service_api_gate import detail

from pipeline.service import connections, jobs
from pipeline.service.api import events as api_events
from pipeline.service.api import gate
from pipeline.service.jobs import State

JOBS = "/api/v1/jobs"
ASKING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, f"sqlite:///{tmp_path}/crawlmill.db") as made:
        yield made


def connect(service: Served, sends: bytes = b"") -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(sends)
    return connection


def test_those_who_say_nothing_give_way_to_who_comes(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OF_ONE", 3)
    with ExitStack() as stack, service.client() as client:
        silent = [stack.enter_context(connect(service)) for _ in range(8)]
        assert client.get("/healthz").status_code == 200
        assert [each.recv(1) for each in silent[:5]] == [b""] * 5
        silent[-1].sendall(ASKING)
        assert silent[-1].recv(12) == b"HTTP/1.1 200", "the last of them may still ask"


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        ASKING[:-2],
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 99\r\n\r\ntoken=",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_request_has_its_time_to_be_whole(service: Served, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    with connect(service, begun) as first:
        assert first.recv(1) == b""


def test_an_answer_has_all_the_time_it_takes(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    with service.client() as client:
        job = client.post(JOBS, json=service.job("watched")).json()["id"]
    stream = follow(service, job)
    next(stream)
    with connect(service) as silent:
        assert silent.recv(1) == b"", "more than 0.2 s are over"
    service.move(job, State.STARTING)
    assert json.loads(next(stream).data)["kind"] == "starting"
    stream.close()  # type: ignore[attr-defined]


def test_whether_the_process_lives_is_always_said(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "UNDERWAY", 0)
    with service.client() as client:
        assert "under way already" in detail(client.get(JOBS), 503)
        assert client.get("/healthz").status_code == 200


def test_who_takes_nothing_is_left(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream to a reader who reads nothing ends, and so does its connection."""
    monkeypatch.setattr(connections, "TAKING_SECONDS", 1)
    monkeypatch.setattr(api_events, "SEND_SECONDS", 1)
    monkeypatch.setattr(api_events, "LOOK_SECONDS", 0.01)
    with service.client() as client:
        job = client.post(JOBS, json=service.job("watched")).json()["id"]
    with connect(service, f"GET {JOBS}/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as reader:
        until = time.monotonic() + 20
        with pytest.raises(ConnectionError):  # sent to a connection that the other side has given up
            while time.monotonic() < until:
                with service.service.database.write() as connection:
                    progress = {"states": "w" * 90_000}
                    jobs.keep_progress(connection, jobs.get(connection, job), progress, datetime.now(UTC))
                reader.send(b"x")
