"""A crawl publishes snapshots while a schedule watches: one job each runs on a real Ray, whoever is killed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fake_crawl import LIST, FakeCrawl
from ray_daemons import ray_daemon

pytestmark = [pytest.mark.cluster, pytest.mark.postgres]
SCHEDULER = Path(__file__).resolve().parent.parent / "schedule_server.py"
WAIT_SECONDS = 120
OLD, NEW, NEWER = "CC-MAIN-2026-38", "CC-MAIN-2026-43", "CC-MAIN-2026-47"


class Server:
    """`crawlmill serve`, as a process."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        folder.mkdir()
        (folder / "service.yaml").write_text(yaml.safe_dump({**settings, "home": str(folder / "home")}))
        self._log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "pipeline.cli", "serve", "--config", f"{folder}/service.yaml", "--port", "0"]
        self.process = subprocess.Popen(command, stderr=self._log, cwd=folder)
        self.url = until(self._address)

    def ask(self, method: str, path: str, content: object = None) -> Any:
        answer = httpx.request(method, f"{self.url}/api/v1{path}", json=content, trust_env=False, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        assert self.process.wait(60) in (0, -number)

    def _address(self) -> str | None:
        said = Path(self._log.name).read_text()
        assert self.process.poll() is None, said
        return next((word.rstrip(";") for word in said.split() if word.startswith("http://127.0.0.1:")), None)


def until(holds: Callable[[], Any]) -> Any:
    """What a condition gives when it gives something."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := holds()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return found


@pytest.fixture
def crawl() -> Iterator[FakeCrawl]:
    with FakeCrawl() as made:
        made.publish(OLD)
        yield made


def test_one_job_for_each_snapshot(postgres: str, crawl: FakeCrawl, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with ray_daemon() as (_, ray), contextlib.ExitStack() as ends:
        settings = {
            "database": postgres,
            "ray": ray,
            "data": str(tmp_path / "data"),
            "crawl": crawl.url,
            "poll_seconds": 1,
            "storage": {"read": [crawl.url]},
        }

        def serve(name: str) -> Server:
            server = Server(tmp_path / name, settings)
            ends.callback(server.process.kill)
            return server

        first = serve("first")
        job = {
            "name": "watch-{snapshot}",
            "source": {"kind": "commoncrawl", "snapshot": "{snapshot}", "base": crawl.url, "requests_per_second": 100},
            "recipe": "extract-only",
            "output": {"path": "out/{snapshot}"},
        }
        given = {"name": "watch", "job": job, "trigger": {"snapshots": crawl.url}}
        first.ask("POST", "/schedules", given)
        until(lambda: crawl.asked(LIST))
        first.end()

        # The one that claims the new snapshot is killed before its job is submitted, by itself and at that very point.
        crawl.publish(NEW)
        assert _killed_in_between(postgres, crawl) == -signal.SIGKILL

        second, third = serve("second"), serve("third")
        until(lambda: _states(second) == ["complete"])
        assert list(_runs(second)) == [NEW]
        manifest = json.loads((tmp_path / "data" / "out" / NEW / "manifest.json").read_bytes())
        assert manifest["totals"]["records_read"] > 0 and manifest["job"]["name"] == f"watch-{NEW}"

        # And one of two is killed as soon as the next job is there.
        crawl.publish(NEWER)
        until(lambda: len(_states(second)) == 2)
        second.end(signal.SIGKILL)
        until(lambda: _runs(third) == {NEW: "complete", NEWER: "complete"})
        assert _states(third) == ["complete", "complete"]
        third.end()


def _states(server: Server) -> list[str]:
    return [job["state"] for job in server.ask("GET", "/jobs")["jobs"]]


def _runs(server: Server) -> dict[str, str]:
    return {run["occasion"]: run["state"] for run in server.ask("GET", "/schedules/watch/runs")["runs"]}


def _killed_in_between(database: str, crawl: FakeCrawl) -> int:
    command = [sys.executable, str(SCHEDULER), database, crawl.url, "claimed"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            return process.wait(WAIT_SECONDS)
        finally:
            process.kill()
