"""Jobs of the service on a real Ray: the daemon that outlives it, drivers that die, jobs that are cancelled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from published import run_over
from ray_daemons import kill, ray_daemon

from pipeline.sample.crawl import write_sample
from pipeline.service import jobs
from pipeline.service.cluster import Cluster, Status
from pipeline.service.daemon import ray_here
from pipeline.service.database import Database
from pipeline.service.dispatch import Dispatcher
from pipeline.service.jobs import Job, State, Submission
from pipeline.service.settings import Settings

pytestmark = pytest.mark.cluster
SHARDS = 10


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[Path, str]]:
    with ray_daemon() as made:
        yield made


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten shards, and what one process makes of them in `../out`."""
    folder = tmp_path_factory.mktemp("service")
    write_sample(folder / "sample")
    (folder / "crawl").mkdir()
    page = max((folder / "sample").glob("*.warc.gz"), key=lambda file: file.stat().st_size)
    for number in range(SHARDS):
        shutil.copy(page, folder / "crawl" / f"{number}.warc.gz")
    run_over(folder / "crawl", folder / "out")
    return folder / "crawl"


class Service:
    """The dispatcher and its database, looked at by hand."""

    def __init__(self, folder: Path, url: str) -> None:
        self.database = Database(f"sqlite:///{folder}/crawlmill.db")
        self.database.upgrade()
        self.cluster = Cluster(url)
        self.dispatcher = Dispatcher(Settings(), self.database, self.cluster)

    def submit(self, crawl: Path, output: Path) -> Job:
        spec = {
            "name": "sample",
            "source": {"kind": "warc", "paths": [f"{crawl}/*.warc.gz"]},
            "output": {"path": str(output)},
        }
        with self.database.write() as connection:
            return jobs.submit(connection, Submission("sample", "web", "ada", spec, str(output)))

    def until(self, job: Job, come: Callable[[Job], object], seconds: float = 240) -> Job:
        """Look after all jobs until one has come so far."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.dispatcher.once()
            self.dispatcher.settle()
            with self.database.read() as connection:
                job = jobs.get(connection, job.id)
            if come(job):
                return job
            time.sleep(0.2)
        raise AssertionError(f"{job.state}: {job.said}\n{self.cluster.logs(job.submission_id)}")


@pytest.fixture
def service(tmp_path: Path, daemon: tuple[Path, str]) -> Service:
    return Service(tmp_path, daemon[1])


def half_done(job: Job) -> bool:
    return job.state == State.RUNNING and 0 < (job.progress or {}).get("states", "").count("d") < SHARDS


def digests(output: Path) -> dict[str, str]:
    files = [file for kind in ("data", "ledger", "signals") for file in (output / kind).rglob("*.parquet")]
    return {str(file.relative_to(output)): sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_daemon_is_found_again(daemon: tuple[Path, str]) -> None:
    home, url = daemon
    assert ray_here(home) == url
    program = (
        f"from pathlib import Path; from pipeline.service.daemon import ray_here; print(ray_here(Path({str(home)!r})))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert other.stdout.strip() == url
    (head,) = Cluster(url).nodes()
    assert head.head and head.alive and head.cpus >= 1
    assert Cluster(url).attempt("nothing") is None and Cluster(url).logs("nothing") is None
    Cluster(url).stop("nothing")


def test_a_driver_that_is_killed_goes_on_and_the_bytes_are_the_same(
    service: Service, crawl: Path, tmp_path: Path
) -> None:
    job = service.until(service.submit(crawl, tmp_path / "out"), half_done)
    assert kill(f"pipeline.service.driver\0{job.output}"), "its driver runs"
    job = service.until(job, lambda job: job.state == State.COMPLETE)
    assert job.attempt == 2 and job.lost == 0
    assert digests(tmp_path / "out") == digests(crawl.parent / "out")
    assert (job.progress or {})["outcome"] == {"state": "complete", "said": job.said or ""}
    with service.database.read() as connection:
        kinds = [event.kind for event in jobs.events_of(connection, job.id)]
    assert kinds == ["queued", "starting", "running", "queued", "starting", "running", "complete"]
    assert '"records_read"' in (service.cluster.logs(job.submission_id) or "")


def test_cancelled_and_tried_again(service: Service, crawl: Path, tmp_path: Path) -> None:
    job = service.until(service.submit(crawl, tmp_path / "out"), half_done)
    with service.database.write() as connection:
        jobs.cancel(connection, job.id, "bob")
    job = service.until(job, lambda job: job.state.over)
    assert (job.state, job.said) == (State.CANCELLED, "cancelled by bob")
    attempt = service.cluster.attempt(job.submission_id)
    assert attempt is not None and attempt.status == Status.STOPPED
    done = {file.name for file in (tmp_path / "out/.work/shards").glob("*.json")}
    assert done, "finished shards are kept"
    with service.database.write() as connection:
        jobs.retry(connection, job.id, "bob")
    service.until(job, lambda job: job.state == State.COMPLETE)
    assert digests(tmp_path / "out") == digests(crawl.parent / "out")


def test_a_job_that_is_wrong_says_so_in_one_line(service: Service, crawl: Path, tmp_path: Path) -> None:
    job = service.submit(tmp_path / "nothing", tmp_path / "out")
    job = service.until(job, lambda job: job.state.over)
    assert job.state == State.FAILED and "matches no file" in (job.said or "") and "\n" not in (job.said or "")
