"""The command line and a real `crawlmill serve`. What a cluster would do to jobs, the tests do in the database."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from program import Command, Said, calls

from pipeline.service import jobs
from pipeline.service.database import Database
from pipeline.service.jobs import Job, State
from pipeline.service.tables import snapshots

pytestmark = pytest.mark.service

PATIENCE = 60
PROGRESS = {
    "at": "2026-11-21T06:00:00Z",
    "phase": "shards",
    "after": None,
    "shards": 4,
    "states": "ddfr",
    "shards_done": 3,
    "shards_failed": 1,
    "read": 1_200,
    "kept": 300,
    "dropped": 890,
    "failed": 10,
    "rate": 57.0,
    "seconds_left": 65.0,
    "step": None,
    "stages": [{"stage": "gopher_quality", "dropped": 890, "failed": 10, "seconds": 1.5}],
    "failures": [{"shard": "crawl/2.warc.gz", "said": "crawl/2.warc.gz: not gzip"}],
    "alarms": [],
}


class Service:
    """`crawlmill serve` as a process, on a cluster that is away; no team may start anything."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, 0
        (home / "data").mkdir()
        content = {"home": str(home), "data": str(home / "data"), "limits": {"teams": {"default": 0, "web": 0}}}
        (home / "settings.yaml").write_text(yaml.safe_dump(content))
        self.start()
        self.database = Database(f"sqlite:///{home}/crawlmill.db")

    def start(self) -> None:
        """Start it, on the port that it had before."""
        words = ["serve", "--config", str(self.home / "settings.yaml"), "--port", str(self.port)]
        with (self.home / "log").open("w") as log:
            command = [sys.executable, "-m", "pipeline.cli", *words, "--ray", "http://127.0.0.1:9"]
            self.process = subprocess.Popen(command, stderr=log, cwd=self.home)
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"serving at http://127\.0\.0\.1:(\d+)", (self.home / "log").read_text())):
            assert self.process.poll() is None and time.monotonic() < end, (self.home / "log").read_text()
            time.sleep(0.05)
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, (self.home / "log").read_text()

    def move(self, job_id: str, state: State, said: str | None = None, **more: Any) -> Job:
        """What the dispatcher does when it has heard of the cluster."""
        with self.database.write() as connection:
            moved = jobs.move(connection, jobs.get(connection, job_id), state, said, **more)
        assert moved is not None
        return moved

    def work(self, job_id: str, **progress: Any) -> None:
        with self.database.write() as connection:
            jobs.keep_progress(connection, jobs.get(connection, job_id), PROGRESS | progress, datetime.now(UTC))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("service"))
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.fixture
def crawlmill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], service: Service) -> Command:
    """Runs the program in this process, for the service."""
    monkeypatch.setenv("CRAWLMILL_SERVER", service.url)
    return calls(monkeypatch, capfd)


@contextmanager
def process(service: Service, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The program as a process, for the service; its stdout and stderr together."""
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CRAWLMILL_SERVER": service.url},
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def until(running: subprocess.Popen[str], pattern: str) -> str:
    """What it printed up to a line with a pattern."""
    assert running.stdout is not None
    seen = ""
    for line in running.stdout:
        seen += line
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"ended with {running.wait()} before {pattern}:\n{seen}")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of its own name and output, whose recipe is a file beside it."""
    (tmp_path / "mine.yaml").write_text("stages: [extract_html, gopher_quality: {min_words: 80}]\n")
    name = re.sub(r"[^A-Za-z0-9]", "-", tmp_path.name)
    source = {"kind": "warc", "paths": ["crawl/*.warc.gz"]}
    content = {"name": name, "source": source, "recipe": "mine.yaml", "output": {"path": f"out/{name}"}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "job.yaml"


@pytest.fixture
def queued(crawlmill: Command, job: Path) -> str:
    """The id of a job that was submitted."""
    said = crawlmill("submit", job, "--json")
    assert said.status == 0, said.err
    return str(json.loads(said.out)["id"])


def test_a_job_is_submitted_with_its_recipe(crawlmill: Command, service: Service, job: Path) -> None:
    said = crawlmill("submit", job, "--output", "out/elsewhere", "--priority", "7")
    assert (said.status, said.err) == (0, "")
    job_id = said.out.split()[1]
    assert said.out == f"job   {job_id}\npage  {service.url}/jobs/{job_id}\n"
    shown = json.loads(crawlmill("status", job_id, "--json").out)
    assert (shown["state"], shown["priority"]) == ("queued", 7)
    assert shown["spec"]["recipe"]["stages"][1] == {"gopher_quality": {"min_words": 80}}
    assert shown["output"].endswith("out/elsewhere")
    assert job_id in [each["id"] for each in json.loads(crawlmill("jobs", "--json").out)]
    crawlmill("cancel", job_id)


def test_what_the_service_refuses_is_said_in_its_line(crawlmill: Command, queued: str, job: Path) -> None:
    again = crawlmill("submit", job)
    assert (again.status, again.out) == (2, "")
    assert re.fullmatch(rf"crawlmill: output.path: .*: job {queued} writes there; name another folder.*\n", again.err)
    wrong = crawlmill("submit", job, "--output", "/etc/crawlmill")
    assert wrong.status == 2
    assert re.fullmatch(r"crawlmill: .*/etc/crawlmill.*\n", wrong.err)


@contextmanager
def losing(port: int, answers: int) -> Iterator[str]:
    """A way to a service on which the first answers are lost, though the service has done what was asked."""
    listening = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        for number in range(1_000):
            with (
                suppress(OSError),
                listening.accept()[0] as client,
                socket.create_connection(("127.0.0.1", port)) as there,
            ):
                client.settimeout(PATIENCE)
                head, _, content = _until_blank(client)
                length = re.search(rb"content-length: (\d+)", head.lower())
                while len(content) < int(length[1] if length else 0):
                    content += client.recv(65_536)
                there.sendall(head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + content)
                answer = b""
                while piece := there.recv(65_536):
                    answer += piece
                if number >= answers:
                    client.sendall(answer)
            if listening.fileno() < 0:
                return

    threading.Thread(target=relay, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


def _until_blank(client: socket.socket) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65_536)
        if not piece:
            raise OSError("the client went away")
        data += piece
    return data.partition(b"\r\n\r\n")


def test_a_job_whose_answer_was_lost_is_not_submitted_twice(crawlmill: Command, service: Service, job: Path) -> None:
    with losing(service.port, answers=2) as way:
        said = crawlmill("submit", job, "--server", way, "--json")
    assert said.status == 0, said.err
    assert said.err.count("asking again") == 2
    name = json.loads(said.out)["name"]
    assert [each["id"] for each in json.loads(crawlmill("jobs", "--name", name, "--json").out)] == [
        json.loads(said.out)["id"]
    ]


def test_a_job_is_found_by_the_beginning_of_its_id_and_by_its_name(crawlmill: Command, queued: str, job: Path) -> None:
    name = yaml.safe_load(job.read_text())["name"]
    for words in (queued[:8], name):
        said = crawlmill("status", words)
        assert said.status == 0
        assert said.err == f"{words} is job {queued}, {name}, queued\n"
        assert said.out.startswith(f"{name}  {queued}  team default\nqueued since ")
    crawlmill("submit", job, "--output", "out/second-of-its-name")
    said = crawlmill("cancel", name)
    assert (said.status, said.out) == (2, "")
    assert re.match(rf"crawlmill: '{name}' stands for 2 jobs; name one by its id: .*{queued} \(queued\)", said.err)
    for words in ("zzzzzzzzzzzz", "nothing", "no such name", queued[:3]):
        said = crawlmill("status", words)
        assert (said.status, said.err) == (
            2,
            f"crawlmill: no job '{words}', by id or name; `crawlmill jobs` lists them\n",
        )


def test_jobs_are_listed_by_state_and_page_by_page(crawlmill: Command, service: Service, queued: str) -> None:
    service.move(queued, State.RUNNING, attempt=1)
    service.work(queued)
    said = crawlmill("jobs", "--state", "running", "-n", "1")
    assert re.search(rf"{queued}\s+\S+\s+default\s+running\s+1,200\s+25.0%\s+0:01:05\s+\d+ s ago", said.out)
    all_of_them = json.loads(crawlmill("jobs", "--all", "--json").out)
    assert len(all_of_them) > 1
    assert len({each["id"] for each in all_of_them}) == len(all_of_them)
    assert [each["id"] for each in json.loads(crawlmill("jobs", "-n", "1", "--json").out)] == [queued]
    assert crawlmill("jobs", "--team", "nobody") == Said(0, "", "no such jobs\n")
    service.move(queued, State.FAILED, "enough")


def test_status_says_how_far_a_job_is_and_what_to_do(crawlmill: Command, service: Service, queued: str) -> None:
    service.move(queued, State.RUNNING, attempt=1)
    service.work(queued)
    said = crawlmill("status", queued[:6]).out
    assert "shards 3/4 · 1,200 records · 57/s · 25.0% kept · 0:01:05 left · 1 shards failed\n" in said
    assert re.search(r"gopher_quality +890 +10 +1\.5\n", said)
    assert "could not be read: crawl/2.warc.gz: crawl/2.warc.gz: not gzip\n" in said
    assert f"watch    crawlmill status {queued} --watch\npage     {service.url}/jobs/{queued}\n" in said
    service.move(queued, State.FAILED, "a line that says why")
    said = crawlmill("status", queued).out
    assert re.search(r"failed since .* ago\): a line that says why\n", said)
    assert "1,200 read = 300 kept (25.0%) + 890 dropped + 10 failed\n" in said
    assert f"go on    crawlmill retry {queued}\n" in said


def test_cancel_and_retry(crawlmill: Command, queued: str) -> None:
    assert crawlmill("cancel", queued) == Said(0, f"job {queued} is cancelled\n", "")
    assert crawlmill("cancel", queued).err == f"crawlmill: job {queued} is cancelled already\n"
    assert crawlmill("retry", queued) == Said(0, f"job {queued} is queued\n", "")
    assert crawlmill("retry", queued).status == 2


@pytest.mark.parametrize("end, status", [(State.COMPLETE, 0), (State.FAILED, 1)])
def test_a_watch_ends_with_the_job(service: Service, queued: str, end: State, status: int) -> None:
    with process(service, "status", queued, "--watch") as watching:
        until(watching, "queued: submitted by local")
        service.move(queued, State.RUNNING, attempt=1)
        until(watching, "running")
        service.work(queued, states="dddd", shards_done=4, shards_failed=0, phase="over", seconds_left=None)
        service.move(queued, end, "it is over")
        rest = until(watching, f"{end}: it is over") + watching.communicate(timeout=PATIENCE)[0]
        assert watching.returncode == status
    assert "1,200 read = 300 kept" in rest
    wanted = f"report   {service.url}/jobs/{queued}/report" if status == 0 else f"crawlmill retry {queued}"
    assert wanted in rest


def test_a_watch_outlives_the_service(service: Service, queued: str) -> None:
    with process(service, "status", queued, "--watch") as watching:
        until(watching, "queued: ")
        service.stop()
        said = until(watching, "the job goes on, and the service is asked again")
        service.start()
        service.move(queued, State.RUNNING, "seen after the restart", attempt=1)
        said += until(watching, "running: seen after the restart")
        service.move(queued, State.COMPLETE)
        said += watching.communicate(timeout=PATIENCE)[0]
        assert watching.returncode == 0
    assert "queued: " not in said, "nothing is said twice"


def test_ctrl_c_leaves_the_job_alone(crawlmill: Command, service: Service, queued: str) -> None:
    with process(service, "status", queued, "--watch") as watching:
        until(watching, "queued: ")
        watching.send_signal(signal.SIGINT)
        said = watching.communicate(timeout=PATIENCE)[0]
        assert watching.returncode == 130
    assert f"crawlmill status {queued} --watch" in said
    assert f"crawlmill cancel {queued}" in said
    assert json.loads(crawlmill("status", queued, "--json").out)["state"] == "queued"


def test_a_watched_submission_is_one_document(service: Service, job: Path) -> None:
    with process(service, "submit", str(job), "--watch", "--json") as watching:
        found = re.search(r"queued: ", until(watching, "queued: "))
        assert found
        with service.database.read() as connection:
            newest = jobs.find(connection, limit=1).jobs[0]
        service.move(newest.id, State.COMPLETE)
        rest = watching.communicate(timeout=PATIENCE)[0]
        assert watching.returncode == 0
    document = json.loads(rest.splitlines()[-1])
    assert (document["id"], document["state"]) == (newest.id, "complete")


def test_logs_are_followed_until_the_job_is_over(service: Service, queued: str) -> None:
    with process(service, "logs", queued, "--tail", "5", "--follow") as following:
        service.move(queued, State.CANCELLED)
        said = following.communicate(timeout=PATIENCE)[0]
        assert following.returncode == 0
    assert said == f"no log of job {queued}: it has not started yet\n"


def test_tokens_say_who_may(
    crawlmill: Command, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, job: Path
) -> None:
    other = Service(tmp_path_factory.mktemp("with-tokens"))
    monkeypatch.setenv("CRAWLMILL_SERVER", other.url)
    database = ("--database", f"sqlite:///{other.home}/crawlmill.db")
    try:
        assert crawlmill("token", "list", *database).err.startswith("no tokens: the service answers everybody")
        said = crawlmill("token", "create", "eve", "--role", "read", *database)
        token = said.out.strip()
        assert said.status == 0 and token.startswith("cm_")
        assert "from now on this service answers nobody without a token" in said.err
        made = json.loads(crawlmill("token", "create", "ada", "--team", "web", "--json", *database).out)
        listed = crawlmill("token", "list", *database).out
        assert re.search(r"ada +web +submit", listed) and "cm_" not in listed
        assert {each["name"] for each in json.loads(crawlmill("token", "list", "--json", *database).out)} == {
            "ada",
            "eve",
        }

        said = crawlmill("jobs")
        assert said.status == 2
        assert re.fullmatch(r"crawlmill: .*CRAWLMILL_TOKEN.*`crawlmill token create NAME` makes one\n", said.err)
        monkeypatch.setenv("CRAWLMILL_TOKEN", token + "\n")
        assert crawlmill("jobs").status == 0
        said = crawlmill("submit", job)
        assert said.status == 2 and "eve may read only" in said.err and token not in said.err
        monkeypatch.setenv("CRAWLMILL_TOKEN", made["token"])
        assert json.loads(crawlmill("submit", job, "--json").out)["team"] == "web"
        assert crawlmill("token", "revoke", "ada", *database).out == "revoked ada\n"
        assert crawlmill("jobs").status == 2
        said = crawlmill("token", "revoke", "ada", *database)
        assert said.status == 2 and "token list" in said.err
    finally:
        other.stop()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    content = {
        "name": "crawl-{snapshot}",
        "source": {"kind": "commoncrawl", "snapshot": "{snapshot}", "files": "0:1"},
        "recipe": {"stages": ["extract_html"]},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "job.yaml"


def test_a_schedule_for_snapshots(crawlmill: Command, template: Path) -> None:
    options = ("--snapshots", "--since", "CC-MAIN-2026-30", "--retries", "1", "--retry-after", "30min")
    said = crawlmill("schedule", "add", "every-crawl", template, "--output", "crawls/{snapshot}", *options, "--json")
    assert said.status == 0, said.err
    made = json.loads(said.out)
    assert made["trigger"]["since"] == "CC-MAIN-2026-30"
    assert (made["catch_up"], made["retries"], made["retry_seconds"]) == (True, 1, 1_800)
    shown = crawlmill("schedule", "show", "every-crawl").out
    assert "every snapshot of https://index.commoncrawl.org/, since CC-MAIN-2026-30\n" in shown
    assert "path: crawls/{snapshot}\n" in shown
    assert crawlmill("schedule", "runs", "every-crawl").err == "every-crawl has not run yet\n"
    assert "every-crawl  team default, paused\n" in crawlmill("schedule", "pause", "every-crawl").out
    assert re.search(r"every-crawl +default +every snapshot .* paused", crawlmill("schedule", "list").out)
    assert "paused" not in crawlmill("schedule", "resume", "every-crawl").out
    for do in ("retry", "skip"):
        said = crawlmill("schedule", do, "every-crawl", "CC-MAIN-2026-43")
        assert said.status == 2 and "has no run for 'CC-MAIN-2026-43'" in said.err
    assert crawlmill("schedule", "remove", "every-crawl") == Said(0, "removed every-crawl\n", "")
    assert crawlmill("schedule", "show", "every-crawl").status == 2


def test_a_schedule_by_the_clock(crawlmill: Command, template: Path) -> None:
    words = ["schedule", "add", "weekly", template, "--cron", "0 6 * * MON", "--zone", "Europe/Berlin"]
    said = crawlmill(*words, "--output", "crawls/{date}")
    assert said.status == 2 and "snapshot" in said.err, "a variable of the other kind"
    template.write_text(template.read_text().replace("{snapshot}", "CC-MAIN-2026-43"))
    said = crawlmill(*words, "--output", "crawls/{date}")
    assert said.status == 0, said.err
    assert re.search(r"runs     0 6 \* \* MON in Europe/Berlin\nnext     \d{4}-", said.out)
    assert crawlmill(*words, "--output", "crawls/{date}").status == 2, "the name is taken"
    assert json.loads(crawlmill("schedule", "list", "--json").out)[0]["next"]
    assert crawlmill("schedule", "remove", "weekly").status == 0


def test_snapshots_are_listed_with_what_became_of_them(crawlmill: Command, service: Service) -> None:
    assert "none known yet" in crawlmill("snapshots").err
    seen = datetime(2026, 11, 1, tzinfo=UTC)
    row = {"base": "https://index.commoncrawl.org/", "id": "CC-MAIN-2026-43", "name": "October 2026", "seen_at": seen}
    with service.database.write() as connection:
        connection.execute(snapshots.insert().values(row | {"crawled_from": seen, "crawled_to": seen}))
    assert re.search(r"CC-MAIN-2026-43 +2026-11-01 to 2026-11-01 +2026-", crawlmill("snapshots").out)
    assert [each["id"] for each in json.loads(crawlmill("snapshots", "--json").out)["snapshots"]] == ["CC-MAIN-2026-43"]
