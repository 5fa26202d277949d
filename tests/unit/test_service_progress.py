"""A job's progress, made from the events of real runs, and read back from its output."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.budget import LocalBudget
from pipeline.engine.inline import InlineEngine
from pipeline.events import Exchanging, ShardDone, Started, Working
from pipeline.faults import StoreError
from pipeline.plan import plan_job
from pipeline.run import run
from pipeline.sample.crawl import write_sample
from pipeline.service.progress import FILE, MAX_BYTES, Tracker, read_progress, write_progress
from pipeline.spec import parse_job
from pipeline.store import Store
from pipeline.tasks import ShardReport


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:  # type: ignore[type-arg]
    """What was said of a run after each of its events; the last two of a second attempt, which finds all done."""
    folder = tmp_path_factory.mktemp("progress")
    write_sample(folder / "crawl")
    (folder / "crawl" / "broken.warc.gz").write_bytes(b"\x1f\x8b" + b"no gzip" * 99)
    source = {"kind": "warc", "paths": [f"{folder}/crawl/*.warc.gz"]}
    job = parse_job(
        {"name": "try", "source": source, "run": {"max_failed_shards": 1}, "output": {"path": f"{folder}/out"}}, "job"
    )
    said = []
    for _ in range(2):
        plan = plan_job(job, folder, f"{folder}/out", LocalBudget(1))
        tracker = Tracker("crawlmill-x-1", 0.0)
        said.append(tracker.snapshot(0.0))
        tracker.planned(plan)
        with InlineEngine(1) as engine:
            for second, event in enumerate(run(plan, engine), 1):
                tracker.take(event, float(second))
                said.append(tracker.snapshot(float(second)))
        said.append(tracker.snapshot(99.0, {"state": "complete", "said": ""}))
    return json.loads(json.dumps(said))  # type: ignore[no-any-return]


def test_a_run_is_followed_from_its_plan_to_its_end(snapshots: list[dict]) -> None:  # type: ignore[type-arg]
    assert snapshots[0]["phase"] == "planning" and snapshots[0]["states"] == ""
    phases = list(dict.fromkeys(each["phase"].split(":")[0] for each in snapshots))
    assert phases == ["planning", "shards", "minhash", "data", "over"]
    assert snapshots[1]["states"] == "wwwww"
    states = [each["states"] for each in snapshots if each["phase"] == "shards" and each["after"] is None]
    assert all(later.count("w") <= earlier.count("w") for earlier, later in pairwise(states))
    assert all(each["outcome"] is None for each in snapshots[:-1] if each["phase"] != "over")


def test_the_end_is_what_the_manifest_says(snapshots: list[dict]) -> None:  # type: ignore[type-arg]
    last = snapshots[-1]
    assert last["outcome"] == {"state": "complete", "said": ""} and last["rate"] is None
    assert last["read"] == last["kept"] + last["dropped"] + last["failed"] == 383
    assert last["dropped"] == sum(each["dropped"] for each in last["stages"])
    first = next(each for each in snapshots if each["outcome"] is not None)
    assert first["states"].count("f") == 1 and first["states"].count("d") == 4
    assert [each["shard"].rpartition("/")[2] for each in first["failures"]] == ["broken.warc.gz"]
    same = ("states", "read", "kept", "dropped", "failed", "stages", "failures")
    assert [first[name] for name in same] == [last[name] for name in same], "a later attempt finds all done"


def test_work_in_progress_counts(tmp_path: Path) -> None:
    write_sample(tmp_path / "crawl")
    source = {"kind": "warc", "paths": [f"{tmp_path}/crawl/*.warc.gz"]}
    job = parse_job({"name": "try", "source": source, "output": {"path": f"{tmp_path}/out"}}, "job")
    plan = plan_job(job, tmp_path, f"{tmp_path}/out", LocalBudget(1))
    tracker = Tracker("x", 0.0)
    tracker.planned(plan)
    tracker.take(Started(4, (), None), 0.0)
    tracker.take(Working({2: (50, 20), 3: (30, 10)}), 4.0)
    said = tracker.snapshot(4.0)
    assert (said["states"], said["read"], said["kept"], said["rate"]) == ("wwrr", 80, 30, 20.0)
    tracker.take(ShardDone(ShardReport(3, "shard", 1, read=40, kept=12)), 4.5)
    tracker.take(Working({3: (40, 12)}), 4.6)  # sent before the report, heard after it
    said = tracker.snapshot(5.0)
    assert (said["states"], said["shards_done"], said["read"], said["kept"]) == ("wwrd", 1, 90, 32)
    tracker.take(Exchanging("minhash", "clusters", 1, 3), 5.0)
    said = tracker.snapshot(5.0)
    assert said["phase"] == "minhash: clusters" and said["step"]["done"] == 1 and said["rate"] is None


def test_progress_is_read_by_the_attempt_it_is_of(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_progress(store, "crawlmill-x-1") is None
    snapshot = Tracker("crawlmill-x-1", 0.0).snapshot(1.0)
    write_progress(store, snapshot)
    assert read_progress(store, "crawlmill-x-1") == snapshot
    assert read_progress(store, "crawlmill-x-2") is None
    (tmp_path / FILE).write_text("[1, 2")
    with pytest.raises(StoreError, match="not JSON"):
        read_progress(store, "crawlmill-x-1")
    (tmp_path / FILE).write_text("[" * 100_000)
    with pytest.raises(StoreError, match="not JSON"):
        read_progress(store, "crawlmill-x-1")
    (tmp_path / FILE).write_text(json.dumps(snapshot | {"said": "x" * MAX_BYTES}))
    with pytest.raises(StoreError, match="more than 1048576 bytes"):
        read_progress(store, "crawlmill-x-1")


def test_of_very_many_shards_states_are_left_out(tmp_path: Path) -> None:
    write_sample(tmp_path / "crawl")
    source = {"kind": "warc", "paths": [f"{tmp_path}/crawl/*.warc.gz"]}
    job = parse_job({"name": "try", "source": source, "output": {"path": f"{tmp_path}/out"}}, "job")
    plan = plan_job(job, tmp_path, f"{tmp_path}/out", LocalBudget(1))
    tracker = Tracker("x", 0.0)
    tracker.planned(replace(plan, inputs=plan.inputs * 30_000))
    said = tracker.snapshot(1.0)
    assert said["shards"] == 120_000 and said["states"] == ""
