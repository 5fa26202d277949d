"""Meetings give the same bytes though workers, or the driver, were killed with -9 in each of their phases."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.audit.verify import verify
from pipeline.engine import Context, Done, Progress
from pipeline.engine.inline import InlineEngine
from pipeline.engine.ray import RayEngine, ray
from pipeline.exchange import Hall
from pipeline.index import Index
from pipeline.plan import make_plan
from pipeline.run import run
from pipeline.store import Store

pytestmark = pytest.mark.cluster
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

PHASES = (
    *("bands scatter", "bands gather", "components.00.point gather", "components.00.move gather"),
    *("components.finish gather", "components.00.compose gather", "components.name gather"),
    *("members scatter", "members gather", "clusters scatter", "clusters gather", "home gather"),
    *("index.bands gather", "index.representatives gather"),
)
"""Of the meeting of `minhash` and of what follows it, in order."""
SHARDS, TEXTS = 6, 60
TASK_BYTES = 16 * 2**10
"""So that little data make several tasks a phase."""
LAST_EDGES = 100


def texts(shard: int) -> Iterator[str]:
    """Families of texts over all shards: each member has other words in some places."""
    for at in range(TEXTS):
        number = shard * TEXTS + at
        family, member = number % 97, number // 97
        words = [f"{word}{family}" for word in ("ledger", "harbour", "river", "marsh", "bridge", "winter")] * 12
        words = [f"{word}x{i}" for i, word in enumerate(words)]
        for i in range(member % 4):
            words[7 + 13 * i] = f"other{member}"
        yield " ".join(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of texts, and a recipe."""
    folder = tmp_path_factory.mktemp("meetings")
    for shard in range(SHARDS):
        rows = [{"id": f"{shard}-{at}", "text": text} for at, text in enumerate(texts(shard))]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"in-{shard}.parquet")
    return folder


def job(folder: Path, name: str) -> Path:
    """A job whose output and index are its own."""
    stages = ["dedup_text", {"minhash": {"verify": True, "index": str(folder / f"{name}-index")}}, "token_count"]
    (folder / f"{name}-recipe.yaml").write_text(yaml.safe_dump({"stages": stages}))
    content = {
        "name": name,
        "source": {"kind": "parquet", "paths": [f"{folder}/in-*.parquet"]},
        "recipe": f"{name}-recipe.yaml",
        "output": {"path": str(folder / name), "shard_bytes": "20KB"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def small_tasks(patch: Callable[[str, Any], None]) -> None:
    """Let little data take the way of much: several tasks a phase, and rounds before the last step."""
    from pipeline.components import components

    patch("pipeline.run.Hall", partial(Hall, task_bytes=TASK_BYTES, batch_bytes=TASK_BYTES // 8))
    patch("pipeline.meeting.near.components", partial(components, last_edges=LAST_EDGES))


def digests(output: Path) -> dict[str, str]:
    """sha256 of every public file, by its path in the dataset."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("data", "ledger")
        for path in sorted((output / folder).rglob("*.parquet"))
    }


def contents(index: Path) -> list[tuple[int, str]]:
    """What an index holds: of each file its partition and its digest; names differ."""
    newest = Index(str(index)).latest()
    assert newest is not None
    (extension,) = newest.extensions
    files = (*extension.bands, *extension.representatives)
    assert all(hashlib.sha256((index / file.path).read_bytes()).hexdigest() == file.sha256 for file in files)
    return [(file.partition, file.sha256) for file in files]


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, str]:
    """Digests of a run in one process, with tasks of the usual size."""
    list(run(make_plan(job(folder, "undisturbed")), InlineEngine(1)))
    assert list(verify(Store(str(folder / "undisturbed")))) == []
    return digests(folder / "undisturbed")


def once(marks: Path, label: str, work: Callable[[Any, Context], Any], item: Any, context: Context) -> Any:
    """Work that is killed with -9 the first time, when it has done everything but say so."""
    result = work(item, context)
    mark = marks / label.replace(" ", "_")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return result
    mark.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class DeadlyEngine(RayEngine):
    """Kills, for each phase, the worker that is first to do a task of it."""

    marks: Path

    def map(self, work: Any, items: Sequence[Any], label: Callable[[Any], str]) -> Iterator[Done[Any, Any] | Progress]:
        if items:
            phase = label(items[0]).rpartition(" ")[0]
            if phase in PHASES:
                work = partial(once, self.marks, phase, work)
        return super().map(work, items, label)


def test_workers_killed_in_each_phase(
    folder: Path, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tasks(monkeypatch.setattr)
    engine = DeadlyEngine(2, None, 1, 256 * 2**20, 1)
    engine.marks = tmp_path
    with engine:
        list(run(make_plan(job(folder, "workers")), engine))
    killed = {mark.name.replace("_", " "): int(mark.read_text()) for mark in tmp_path.iterdir()}
    assert set(killed) == set(PHASES), "in each of them somebody was at work"
    assert len(set(killed.values())) == len(killed), "each time another process"
    assert digests(folder / "workers") == undisturbed
    assert contents(folder / "workers-index") == contents(folder / "undisturbed-index")


DRIVER = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from test_meetings_killed import small_tasks
from pipeline.engine.inline import InlineEngine
from pipeline.plan import make_plan
from pipeline.run import run
from pipeline.events import Exchanging, Finished
import importlib

def patch(place, value):
    module, _, name = place.rpartition(".")
    setattr(importlib.import_module(module), name, value)

small_tasks(patch)
phases, at = sys.argv[3].split(","), int(sys.argv[2])
for event in run(make_plan(Path(sys.argv[1])), InlineEngine(1)):
    if at < len(phases) and isinstance(event, Exchanging) and event.phase == phases[at]:
        os.kill(os.getpid(), 9)
"""


def test_driver_killed_in_each_phase(folder: Path, undisturbed: dict[str, str]) -> None:
    tests = Path(__file__).parent
    path = job(folder, "driver")
    phases = PHASES[1::2]  # every other one: each costs a process
    options = [",".join(phases), str(tests), str(tests.parent), str(tests.parent.parent)]
    for at in range(len(phases) + 1):
        command = [sys.executable, "-c", DRIVER, str(path), str(at), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == (-signal.SIGKILL if at < len(phases) else 0), done.stderr[-2000:]
        assert (folder / "driver" / "manifest.json").exists() == (at == len(phases))
    assert digests(folder / "driver") == undisturbed
    assert contents(folder / "driver-index") == contents(folder / "undisturbed-index")
