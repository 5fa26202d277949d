"""A joined cluster of several nodes: looked at before and while it works, lost in part, and shared among jobs."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from crawls import warcs, write_job
from origin import Origin, body
from refetching import pdf, write_crawl

from pipeline.engine import Context, Done, EngineError
from pipeline.engine.nodes import Mark, Needs
from pipeline.engine.ray import RayEngine, ray
from pipeline.sample.crawl import write_sample
from pipeline.service.cluster import ray_token

pytestmark = pytest.mark.cluster
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
PROJECT = Path(__file__).parents[2]
MEMORY = 256 * 2**20
PATIENCE = 120


@dataclass
class Nodes:
    """A head that only coordinates, and the workers that are added."""

    address: str
    logs: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, environment: Mapping[str, str] | None = None, cpus: int = 1) -> None:
        """Begin to start a worker; it is there in some seconds."""
        options = [f"--address={self.address}", f"--num-cpus={cpus}", "--block", "--disable-usage-stats"]
        # An address of its own, or drivers of this host might take it for the node that they are on.
        options.append(f"--node-ip-address=127.0.0.{2 + len(self.workers)}")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
        with (self.logs / str(len(self.workers))).open("wb") as out:
            node = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, **(environment or {})}, start_new_session=True
            )
        self.workers.append(node)

    def kill(self, at: int) -> None:
        """End a worker as a power cut does."""
        os.killpg(self.workers[at].pid, signal.SIGKILL)
        self.workers[at].wait()

    def engine(self, **options: Any) -> RayEngine:
        return RayEngine(None, self.address, 1, MEMORY, 1.0, **options)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster  # after pipeline.engine.ray has said that clusters have tokens

    if ray_token() is None:  # of this machine: Ray remembers the first one that a process has used
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"], check=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = Nodes(str(cluster.address), tmp_path_factory.mktemp("nodes"))
    yield nodes
    for at, worker in enumerate(nodes.workers):
        if worker.poll() is None:
            nodes.kill(at)
    cluster.shutdown()


@pytest.fixture
def other_code(tmp_path: Path) -> dict[str, str]:
    """The environment of a node whose Pythons have another crawlmill, wherever they look for it first."""
    for name in ("pipeline", "stages"):
        shutil.copytree(PROJECT / name, tmp_path / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "code" / "stages" / "tokens.py").open("a") as file:
        file.write("# another version\n")
    (tmp_path / "site").mkdir()
    code = str(tmp_path / "code")
    lines = ["import sys", f"sys.path.insert(0, {code!r})", "import pipeline, stages", f"sys.path.remove({code!r})"]
    (tmp_path / "site" / "sitecustomize.py").write_text("\n".join(lines))
    return {"PYTHONPATH": str(tmp_path / "site")}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def needs(folder: Path) -> Needs:
    return Needs((), (), (Mark(str(folder), ".work/mark", secrets.token_hex(8)),), (), ())


def hold(folder: Path, item: str, context: Context) -> str:
    """Work that never ends the first time."""
    try:
        (folder / item).touch(exist_ok=False)
    except FileExistsError:
        return "done elsewhere"
    while True:
        time.sleep(0.1)


def test_nodes_that_come_are_looked_at_and_those_that_go_are_done_without(
    nodes: Nodes, other_code: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.ray.RETRIES_OF_DEAD_WORKERS", 0)  # so one lost node is one too many for Ray
    work = partial(hold, tmp_path)
    with pytest.raises(EngineError, match=r"the largest node of the cluster has 0 processors and .* after 0 s"):
        nodes.engine(wait=0.1).__enter__()
    threading.Timer(6, nodes.add).start()
    with nodes.engine(wait=60) as engine:
        engine.check(needs(tmp_path))
        assert (tmp_path / ".work" / "mark").exists()

        def cut_power() -> None:
            until((tmp_path / "a").exists)
            nodes.add()
            nodes.kill(0)

        power_cut = threading.Thread(target=cut_power)
        power_cut.start()
        for event in engine.map(work, ["a"], str):
            assert isinstance(event, Done)
            assert (event.result, event.error) == ("done elsewhere", None)
        power_cut.join()
        nodes.add(other_code)
        with pytest.raises(EngineError, match=r"^node [0-9.]+: other code of crawlmill there \(stages/tokens.py\): "):
            list(engine.map(work, ["b"], str))
    assert not (tmp_path / ".work" / "mark").exists()
    nodes.kill(1)
    with nodes.engine() as engine:
        with pytest.raises(EngineError, match=r"a node that came later: other code of crawlmill there"):
            list(engine.map(work, ["c"], str))
        assert not (tmp_path / "c").exists(), "nothing of ours ran there"
    nodes.kill(2)


@pytest.fixture(scope="module")
def worker(nodes: Nodes) -> Nodes:
    """The same cluster, with a worker of two processors, once those that were killed are known to be gone."""
    nodes.add(cpus=2)
    options = "address=sys.argv[1], log_to_driver=False, configure_logging=False"
    program = f"import sys; from pipeline.engine.ray import ray; ray.init({options});"
    program += "print(sum(node['Alive'] for node in ray.nodes()))"
    count = [sys.executable, "-c", program, nodes.address]
    until(lambda: subprocess.run(count, capture_output=True, text=True, cwd=PROJECT).stdout.split()[-1:] == ["2"])
    return nodes


DRIVER = """
import sys
output, address, port, folder = sys.argv[1:5]
sys.path[:0] = sys.argv[5:]
from pathlib import Path
import refetching
from origin import Origin
from pipeline.engine.ray import RayEngine, ray
from pipeline.run import run

ray.cloudpickle.register_pickle_by_value(refetching)  # workers cannot import a test
origin = Origin({})
origin.port = int(port)
plan = refetching.plan_of(Path(folder), output, [origin], delay_seconds=DELAY)
with RayEngine(None, address, 1, 256 * 2**20, 1) as engine:
    print("joined", flush=True)
    sys.stdin.readline()
    print([type(event).__name__ for event in run(plan, engine)][-1])
"""
DELAY = 0.2
ASKED = 20
"""URLs of each job."""


def test_two_jobs_take_turns_at_a_host(worker: Nodes, tmp_path: Path) -> None:
    with Origin({"*": lambda handler: body(pdf(handler.path[1:]))(handler)}) as origin:
        jobs: list[subprocess.Popen[str]] = []
        for name in ("one", "two"):
            write_crawl(tmp_path / name, [[origin.url(f"/{name}-{n}") for n in range(ASKED)]])
            where = [name, worker.address, str(origin.port), str(tmp_path / name), str(PROJECT / "tests"), str(PROJECT)]
            command = [sys.executable, "-c", DRIVER.replace("DELAY", str(DELAY)), *where]
            pipe = subprocess.PIPE
            jobs.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True))
        for job in jobs:
            assert job.stdout is not None
            while (said := job.stdout.readline()) != "joined\n":  # it may have to wait for the worker
                assert said.startswith("no node of the cluster has")
        for job in jobs:
            assert job.stdin is not None
            job.stdin.write("go\n")
            job.stdin.flush()
        for job in jobs:
            said, _ = job.communicate(timeout=PATIENCE)
            assert said.endswith("Finished\n")  # Ray may have something to say of nodes that are gone
        log = sorted(origin.log, key=lambda each: each.came)
    times = {name: [each.came for each in log if each.path.startswith(f"/{name}-")] for name in ("one", "two")}
    assert [len(each) for each in times.values()] == [ASKED, ASKED]
    assert max(each[0] for each in times.values()) < min(each[-1] for each in times.values()), "both at once"
    gaps = [later.came - sooner.went for sooner, later in pairwise(log)]
    assert min(gaps) >= DELAY - 0.02, "one at a time, and apart, whoever asks"


def test_sigterm_ends_a_run_that_keeps_what_is_done(worker: Nodes, tmp_path: Path) -> None:
    write_sample(tmp_path / "crawl")
    job, output = write_job(tmp_path, warcs(tmp_path / "crawl" / "*.gz"), override={}), tmp_path / "out"
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--output", str(output)]
    run = subprocess.Popen([*command, "--address", worker.address], stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    shards = output / ".work" / "shards"
    until(lambda: run.poll() is not None or any(shards.glob("*.json")))
    run.terminate()
    said = run.communicate(timeout=PATIENCE)[1]
    assert (run.returncode, "Traceback" in said) == (128 + signal.SIGTERM, False), said
    assert "Go on with: crawlmill run" in said
    done = {path.name: path.read_bytes() for path in shards.glob("*.json")}
    again = subprocess.run([*command, "--engine", "inline"], capture_output=True, text=True, cwd=PROJECT)
    assert again.returncode == 0, again.stderr
    assert all((shards / name).read_bytes() == report for name, report in done.items()), "they were not read again"
