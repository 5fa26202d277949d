"""Manners hold for the whole cluster, and survive its driver: shown from the server's own log."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from crawls import digests
from origin import Handler, Origin, body
from refetching import fetches, kept, pdf, plan_of, whole, write_crawl

from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.fetching.journal import BINS, JOURNAL, bin_of, read_visits
from pipeline.run import run
from pipeline.store import Store
from stages.fetch.address import host_key

pytestmark = pytest.mark.cluster

HOSTS = ("127.0.0.1", "localhost")
SHARDS, NAMES = 4, 24
DELAY, ANSWER = 0.1, 0.05
"""Seconds between requests, and that an answer takes."""

DRIVER = """
import sys
sys.path[:0] = sys.argv[4:]
from functools import partial
from pathlib import Path
import refetching
import pipeline.meeting.meet as meet
from origin import Origin
from pipeline.engine.ray import RayEngine, ray
from pipeline.fetching.journal import Chunks
from pipeline.run import run

ray.cloudpickle.register_pickle_by_value(refetching)  # workers cannot import a test
meet.refetch = partial(meet.refetch, chunks=Chunks(visits=3))
origin = Origin({})
origin.port = int(sys.argv[3])
plan = refetching.plan_of(Path(sys.argv[1]), sys.argv[2], [origin], delay_seconds=DELAY)
with RayEngine(2, None, 1, 256 * 2**20, 1) as engine:
    for event in run(plan, engine):
        print(type(event).__name__, flush=True)
""".replace("DELAY", str(DELAY))


def answer(handler: Handler) -> None:
    handler.server.origin.closed.wait(ANSWER)
    body(pdf(handler.path[1:]))(handler)


def start(folder: Path, output: str, origin: Origin) -> subprocess.Popen[str]:
    tests = Path(__file__).parent.parent
    command = [sys.executable, "-c", DRIVER, str(folder), output, str(origin.port), str(tests), str(tests.parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(driver: subprocess.Popen[str]) -> None:
    said, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, said[-3000:]


def write_shards(folder: Path, origin: Origin) -> list[str]:
    """Each URL stands in two shards; the hosts are mixed."""
    urls = [origin.url(f"/{host}-{n}", host) for n in range(NAMES) for host in HOSTS]
    write_crawl(folder, [urls[shard::SHARDS] + urls[(shard + 1) % SHARDS :: SHARDS] for shard in range(SHARDS)])
    return urls


def of_host(origin: Origin, host: str) -> list[tuple[float, float]]:
    """When requests to a host came and went."""
    return [(each.came, each.went) for each in origin.log if each.host.rpartition(":")[0] == host]


def stored(store: Store) -> set[str]:
    """URLs whose outcome is in the journal."""
    visits = [table for number in range(BINS) for table in read_visits(store, number, ["url", "what"])]
    return {row["url"] for row in pa.concat_tables(visits).to_pylist() if row["what"] == "page"} if visits else set()


def test_limits_hold_for_two_workers_and_a_driver_that_is_killed(tmp_path: Path) -> None:
    assert len({bin_of(host_key(host)) for host in HOSTS}) == 2, "two hosts of two tasks"
    with Origin({"*": answer}) as origin:
        urls = write_shards(tmp_path, origin)
        driver = start(tmp_path, "killed", origin)
        store = Store(str(tmp_path / "killed"))
        deadline = time.monotonic() + 120
        while len(store.list(JOURNAL)) < 4:
            assert driver.poll() is None
            assert time.monotonic() < deadline, driver.communicate()[0]
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        asked = -1
        while asked != len(origin.log):  # Ray's workers notice it within a second or so
            asked = len(origin.log)
            time.sleep(3)
        before, known = [each.path for each in origin.log], stored(store)
        assert 12 <= len(known) < len(urls), "it was killed in the middle"
        assert all(before.count(f"/{url.rpartition('/')[2]}") == 1 for url in known)
        cut = len(origin.log)

        finish(start(tmp_path, "killed", origin))
        after = [each.path for each in origin.log[cut:]]
        assert not {f"/{url.rpartition('/')[2]}" for url in known} & set(after), "nobody is asked for what is stored"
        assert len(after) == len(set(after))
        assert list(verify(store)) == []

        for host in HOSTS:
            times = of_host(origin, host)
            assert len(times) >= NAMES + 1
            gaps = [came - went for (_, went), (came, _) in pairwise(times)]
            assert min(gaps) >= DELAY - ANSWER, "one at a time, and apart"
            starts = [later - sooner for (sooner, _), (later, _) in pairwise(times)]
            assert min(starts) >= DELAY
        ours, theirs = (of_host(origin, host) for host in HOSTS)
        assert any(a < d and c < b for a, b in ours for c, d in theirs), "two workers were at work"

        plan = plan_of(tmp_path, "undisturbed", [origin], delay_seconds=0.01)
        with InlineEngine(1) as engine:
            list(run(plan, engine))
        assert digests(plan.output) == digests(store.root)
        assert kept(plan) == {url: whole(pdf(url.rpartition("/")[2])) for url in urls}
        again = plan_of(tmp_path, "again", [origin], earlier=[store.root])
        count = len(origin.log)
        with InlineEngine(1) as engine:
            list(run(again, engine))
        assert len(origin.log) == count
        assert digests(again.output) == digests(store.root)
        assert {row["reason"] for row in fetches(again).values()} == {None}
