"""The origin of the sample's truncated PDFs: what it answers, and how it starts and ends with a command."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pipeline.sample.origin import Origin, serving
from pipeline.sample.pdfs import CUTS, Cut

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds
ASK = "import sys, urllib.request as r; sys.exit(len(r.urlopen(sys.argv[1]).read()) % 100)"


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def client(log: io.StringIO) -> Iterator[httpx.Client]:
    with serving(Origin(0, log)) as origin:
        host, port = origin.server_address[:2]
        with httpx.Client(base_url=f"http://{host!s}:{port}", trust_env=False, timeout=PATIENCE) as client:
            yield client


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.sample.origin", *map(str, words)]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.path)
def test_a_truncated_capture_has_the_answer_that_is_listed(cut: Cut, client: httpx.Client) -> None:
    answers = [client.get(cut.path)]
    if cut.answer == "busy":
        assert (answers[0].status_code, answers[0].headers["Retry-After"]) == (429, "1")
        answers.append(client.get(cut.path))
    elif cut.answer == "moved":
        assert answers[0].status_code == 301
        answers.append(client.get(answers[0].headers["Location"]))
    last = answers[-1]
    if cut.answer == "gone":
        assert last.status_code == 404
    elif cut.answer == "replaced":
        assert (last.status_code, last.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert last.text.startswith("<html>")
    else:
        assert (last.status_code, last.headers["Content-Type"]) == (200, "application/pdf")
        assert last.content == cut.whole()


def test_robots_disallow_one_of_them(client: httpx.Client) -> None:
    rules = client.get("/robots.txt").text.splitlines()
    (path,) = [line.removeprefix("Disallow: ") for line in rules if line.startswith("Disallow: ")]
    assert [cut.path for cut in CUTS if cut.path.startswith(path)] == ["/private/minutes.pdf"]


def test_patience_is_asked_for_once_however_many_come_at_a_time(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: client.get("/reports/busy.pdf").status_code, range(16)))
    assert sorted(statuses) == [200] * 15 + [429]


def test_head_has_the_length_and_no_body(client: httpx.Client) -> None:
    answer = client.head("/reports/annual.pdf")
    assert (answer.content, int(answer.headers["Content-Length"])) == (b"", len(CUTS[0].whole()))
    assert client.get("/robots.txt").status_code == 200  # on the same connection


def test_log_has_a_line_for_each_request_and_nothing_of_a_terminal(client: httpx.Client, log: io.StringIO) -> None:
    client.get("/reports/gone.pdf", headers={"User-Agent": "mill/1 (+mailto:me@mill.example)"})
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), PATIENCE) as raw:
        raw.sendall(b"\x1b[2J\r\n\r\n")
        assert raw.recv(1000)
    asked, *others = log.getvalue().splitlines()
    assert '"GET /reports/gone.pdf HTTP/1.1" 404' in asked
    assert asked.endswith("mill/1 (+mailto:me@mill.example)")
    assert others
    assert "\x1b" not in "".join(others)


def test_answers_while_a_command_runs_and_ends_with_its_status(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}/reports/annual.pdf"
    asking = command("--log", tmp_path / "log", "--port", port, "--", sys.executable, "-c", ASK, url)
    assert subprocess.run(asking, cwd=PROJECT, timeout=PATIENCE).returncode == len(CUTS[0].whole()) % 100
    assert "annual.pdf" in (tmp_path / "log").read_text()
    with socket.create_server(("127.0.0.1", port)):  # it listens no longer
        pass


def test_terminating_it_terminates_the_command(port: int) -> None:
    waiting = "import sys; print('up', flush=True); sys.stdin.read()"
    words = command("--port", port, "--", sys.executable, "-c", waiting)
    with subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        run.send_signal(signal.SIGTERM)
        assert run.wait(PATIENCE) == 128 + signal.SIGTERM
        assert run.stdout.read() == b""  # the command, which held the other end, is gone


def test_port_in_use_is_said_in_a_line(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        words = command("--port", taken, "--", sys.executable, "-c", f"open({str(ran)!r}, 'w')")
        said = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        f"Error: port {taken} is in use on this machine: stop what listens there (another `make demo`?) and try again\n"
    )
    assert not ran.exists()
