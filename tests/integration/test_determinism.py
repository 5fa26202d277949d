"""The same job gives the same bytes: on one process or several, and after whatever crashed on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from acceptance.cut_shards import members

from pipeline.sample.crawl import write_sample

pytestmark = pytest.mark.cluster

SHARDS = 24
PAGES = 260
PUBLIC = ("data", "ledger", "signals")
PATIENCE = 300


def cut(pack_members: list[bytes], folder: Path) -> None:
    """Uneven shards: the k-th takes k times as many captures as the first; then an empty one, and one damaged in the
    middle.
    """
    folder.mkdir()
    info, rest = pack_members[0], pack_members[1:]
    captures = [b"".join(rest[at : at + 3]) for at in range(0, len(rest) - 2, 3)]
    weights = sum(range(1, SHARDS - 1))
    start = 0
    for k in range(1, SHARDS - 1):
        end = start + max(1, len(captures) * k // weights)
        (folder / f"shard-{k:02d}.warc.gz").write_bytes(info + b"".join(captures[start:end]))
        start = end
    (folder / "shard-00.warc.gz").write_bytes(b"")
    whole = bytearray((folder / f"shard-{SHARDS - 2:02d}.warc.gz").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    (folder / f"shard-{SHARDS - 1:02d}.warc.gz").write_bytes(whole)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job over 24 uneven shards: real pages where the corpora are, else the sample crawl."""
    folder = tmp_path_factory.mktemp("determinism")
    corpora = Path(os.environ.get("CRAWLMILL_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))
    pack = corpora / "html" / "web-bench.warc.gz"
    if pack.is_file():
        cut(members(pack.read_bytes())[: 1 + 3 * PAGES], folder / "crawl")
    else:
        packs = [members(path.read_bytes()) for path in write_sample(folder / "sample")[:3]]
        cut([packs[0][0], *(member for each in packs for member in each[1:])], folder / "crawl")
    assert len(list((folder / "crawl").iterdir())) == SHARDS
    content = {
        "name": "determinism",
        "source": {"kind": "warc", "paths": [f"{folder}/crawl/*.warc.gz"]},
        "recipe": "fineweb",
        "output": {"shard_bytes": "60KB", "dropped_text": "sample"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def start(job: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--output", str(output), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def digests(output: Path) -> dict[str, str]:
    """sha256 of every public file, by its path in the dataset."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in PUBLIC
        for path in sorted((output / folder).rglob("*.parquet"))
    }


@pytest.fixture(scope="module")
def undisturbed(job: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the inline engine's output, which all others must equal."""
    output = tmp_path_factory.mktemp("inline") / "out"
    finish(start(job, output, "--engine", "inline"))
    manifest = json.loads((output / "manifest.json").read_bytes())
    assert manifest["totals"]["bytes_lost"] > 0, "one shard is damaged"
    assert [shard["read"] for shard in manifest["shards"]].count(0) == 1, "one shard is empty"
    assert len([file for file in manifest["files"] if file["path"].startswith("data/")]) >= 3
    return digests(output)


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_bytes_of_the_inline_engine(
    job: Path, undisturbed: dict[str, str], tmp_path: Path, workers: int
) -> None:
    finish(start(job, tmp_path / "out", "--workers", str(workers)))
    assert digests(tmp_path / "out") == undisturbed


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_the_middle(output: Path) -> bool:
    """Whether some shards are done and another one is being written."""
    work = output / ".work"
    done = {path.stem for path in (work / "shards").glob("*.json")}
    begun = {path.name.split(".")[0] for path in (work / "attempts").glob("*.ledger.parquet")}
    return len(done) >= 3 and bool(begun - done)


def assert_unfinished(output: Path) -> int:
    """How many shards are done; nothing is public yet."""
    assert not (output / "manifest.json").exists()
    assert not (output / "data").exists()
    done = len(list((output / ".work" / "shards").glob("*.json")))
    assert 3 <= done < SHARDS
    return done


def test_killed_driver_resumes_to_the_same_bytes(job: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(job, output, "--workers", "2")
    until(lambda: in_the_middle(output), process)
    process.kill()
    process.wait()
    done = assert_unfinished(output)
    said = finish(start(job, output, "--workers", "1"))
    earlier = re.search(r"(\d+) of 24 shards were finished by an earlier attempt", said)
    assert earlier
    assert int(earlier[1]) >= done
    assert digests(output) == undisturbed


def test_ctrl_c_says_how_to_go_on(job: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(job, output, "--engine", "inline")
    until(lambda: in_the_middle(output), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert f"Go on with: crawlmill run {job} --output {output}" in said
    assert_unfinished(output)
    finish(start(job, output, "--engine", "inline"))
    assert digests(output) == undisturbed


def ray_workers(driver: int) -> Iterator[int]:
    """Processes below a driver that hold a shard: Ray names a worker for what it runs."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)] = (int(fields[1]), (entry.parent / "cmdline").read_bytes())
        except OSError:  # it ended while we looked
            continue
    for pid, (_, command) in parents.items():
        ancestor = pid
        while ancestor in parents and ancestor != driver:
            ancestor = parents[ancestor][0]
        if ancestor == driver and command.startswith(b"ray::") and b"shard " in command:
            yield pid


def test_killed_workers_are_replaced(job: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(job, output, "--workers", "2")
    until(lambda: in_the_middle(output), process)
    killed = []
    for pid in ray_workers(process.pid):
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    finish(process)
    assert killed, "no worker held a shard"
    names = {path.name.split(".")[0] for path in (output / ".work" / "shards").glob("*.json")}
    assert len(names) == SHARDS
    assert digests(output) == undisturbed


def test_changed_plan_is_refused(job: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(job, output, "--engine", "inline")
    until(lambda: in_the_middle(output), process)
    process.kill()
    process.wait()
    content = yaml.safe_load(job.read_text())
    changed = job.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(content | {"override": {"gopher_quality": {"min_words": 30}}}))
    again = start(changed, output, "--engine", "inline")
    said, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 2
    assert "stages[4].min_words: 50 then, 30 now" in said
    changed.write_text(yaml.safe_dump(content | {"name": "other", "run": {"max_failed_share": 0.5}}))
    finish(start(changed, output, "--engine", "inline"))
    assert digests(output) == undisturbed
