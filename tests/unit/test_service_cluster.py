"""What is made of the answers of a job server, which may not be one, and which clusters are refused.

Ray itself answers in tests/integration/test_service_on_ray.py; here an HTTP server says what it could say.
"""

from __future__ import annotations

import json
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.service import cluster
from pipeline.service.cluster import Cluster, ClusterFault, ClusterRefused, Status, is_loopback, ray_token
from pipeline.service.daemon import ray_here

TOKEN = "a" * 64
UNKNOWN = "Job x does not exist"


class Server(ThreadingHTTPServer):
    """Answers every request alike; asks: whether it wants the token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, str] = (200, "{}")
        self.asks = True

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        status, body = self.server.answer
        if self.server.asks and self.headers["Authorization"] != f"Bearer {TOKEN}":
            status, body = (403 if self.headers["Authorization"] else 401), "Unauthorized"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


def test_the_token_is_where_ray_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ray_token() == TOKEN
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    assert ray_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("default\n")
    assert ray_token() == "default"
    (tmp_path / "other").write_text("other\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    assert ray_token() == "other"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "localhost.evil.org", "127.0.0.1.evil.org", ""])
def test_what_others_may_reach(host: str) -> None:
    assert not is_loopback(host)


def test_beyond_this_machine_no_cluster_without_a_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beyond = server.url("0.0.0.0")  # which connects to this machine, and is no loopback address
    Cluster(beyond).check()
    server.asks = False
    Cluster(server.url()).check()
    with pytest.raises(ClusterRefused, match="asks nobody for a token.*RAY_AUTH_MODE=token"):
        Cluster(beyond).check()
    with pytest.raises(ClusterFault, match="asks nobody for a token"):  # it came when the service was there already
        Cluster(beyond).submit("crawlmill-a-1", "true", {})
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterRefused, match="needs a token: put the cluster's token into RAY_AUTH_TOKEN"):
        Cluster(beyond).check()


def test_a_node_that_was_told_to_go_is_not_lost(server: Server) -> None:
    reasons = ("EXPECTED_TERMINATION", "AUTOSCALER_DRAIN_IDLE", "AUTOSCALER_DRAIN_PREEMPTED", "UNEXPECTED_TERMINATION")
    gone = [{"raylet": {"state": "DEAD", "deathInfo": {"reason": reason}}} for reason in reasons]
    living = [{"raylet": {"state": "ALIVE"}}, {"raylet": {"state": "DEAD"}}]
    server.answer = 200, json.dumps({"data": {"summary": [*gone, *living]}})
    assert sorted(node.dismissed for node in Cluster(server.url()).nodes()) == [False] * 4 + [True] * 2


def test_an_attempt_is_what_ray_says(server: Server) -> None:
    server.answer = 200, json.dumps({"status": "FAILED", "message": "gone", "driver_exit_code": 137})
    attempt = Cluster(server.url()).attempt("x")
    assert attempt is not None and (attempt.status, attempt.exit_code) == (Status.FAILED, 137) and attempt.status.over
    server.answer = 404, UNKNOWN
    assert Cluster(server.url()).attempt("x") is None
    Cluster(server.url()).stop("x")


@pytest.mark.parametrize(
    "answer, line",
    [
        ((404, "<h1>404 Not Found</h1>"), "says 404"),  # somebody else's: the job may well go on
        ((500, "Traceback\n  File\nValueError: no\n"), "says 500: ValueError: no"),
        ((200, "<html>"), "no answer of Ray's job server"),
        ((200, "[]"), "no answer of Ray's job server"),
        ((200, '{"status": "DANCING"}'), "no answer of Ray's job server"),
        ((503, ""), "says 503"),
    ],
)
def test_what_is_no_answer_is_a_fault_in_one_line(server: Server, answer: tuple[int, str], line: str) -> None:
    server.answer = answer
    with pytest.raises(ClusterFault, match=line) as caught:
        Cluster(server.url()).attempt("x")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(server.url())


def test_another_token_and_nobody_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    assert "has another token" in (Cluster(server.url()).fault() or "")
    assert "does not answer" in (Cluster("http://127.0.0.1:9").fault() or "")


def test_a_second_ray_is_not_started_beside_one_that_does_not_answer(server: Server) -> None:
    with tempfile.TemporaryDirectory(prefix="cm-") as folder:  # short, as Ray's sockets need
        home = Path(folder)
        (home / "ray").mkdir()
        (home / "ray/job-server").write_text(server.url())
        server.answer = 503, "busy"
        with pytest.raises(ClusterFault, match="503.*says that a Ray of this service runs there"):
            ray_here(home)
        server.answer = 200, '{"version": "4"}'
        assert ray_here(home) == server.url()


@pytest.mark.parametrize("shift", range(13))
def test_of_a_long_log_the_end_is_handed_on(server: Server, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    """Wherever it is cut, be it within an escape; none of it is held but the end."""
    monkeypatch.setattr(cluster, "MAX_LOG", 2**10)
    log = "".join(f'{n} \\ "ü😀\\\\n" well\n' for n in range(2**10)) + "x" * shift
    server.answer = 200, json.dumps({"logs": log})
    end = Cluster(server.url()).logs("x")
    assert end is not None and len(end) > 300 and log.endswith(end)
    server.answer = 200, json.dumps({"logs": "short \\"})
    assert Cluster(server.url()).logs("x") == "short \\"


def test_a_log_is_not_taken_whole(server: Server) -> None:
    server.answer = 200, json.dumps({"logs": "line\n" * 2**23})
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        end = Cluster(server.url()).logs("x")
        assert end is not None and end.endswith("line\n" * 9)
        # The server is of this process, and encodes its answer once.
        assert tracemalloc.get_traced_memory()[1] - before < len(server.answer[1]) + 8 * cluster.MAX_LOG
    finally:
        tracemalloc.stop()


def test_a_log_that_does_not_end_is_waited_for_no_longer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOG_SECONDS", 0.0)
    server.answer = 200, json.dumps({"logs": "line\n" * 2**20})
    with pytest.raises(ClusterFault, match="does not"):
        Cluster(server.url()).logs("x")


@pytest.mark.parametrize(
    "answer, said", [((200, "{"), "no answer"), ((404, "<h1>"), None), ((500, "no\nwhy"), "500: why")]
)
def test_no_log(server: Server, answer: tuple[int, str], said: str | None) -> None:
    server.answer = answer
    if said is None:
        assert Cluster(server.url()).logs("x") is None
        return
    with pytest.raises(ClusterFault, match=said):
        Cluster(server.url()).logs("x")
