"""`crawlmill gc` removes what dead attempts left, and nothing that the next attempt or a reader needs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from published import plan_over, run_over

from pipeline.audit.dataset import NotADataset
from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.events import Exchanging, ShardDone
from pipeline.gc import Removed, collect
from pipeline.index import Extension, Index
from pipeline.run import run
from pipeline.store import Store
from stages.dedup.index import Settings

LITTER = {
    ".work/attempts/00003.0123456789ab.ledger.parquet": b"PAR1",
    ".work/attempts/data.part-00000.parquet.0123456789ab": b"PAR1...",
    ".work/shards/.00003.json.0123456789abcdef.partial": b"{",
    ".work/errors/00000.txt": b"Traceback",
    ".manifest.json.0123456789abcdef.partial": b"",
}
NEEDED = {
    ".work/errors/00003.txt": b"Traceback",
    "data/.mirror.partial": b"another program's",
    "notes.txt": b"mine",
}


@pytest.fixture(scope="module")
def dead(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the sample crawl that died after two of four shards, and what it left."""
    out, done = tmp_path_factory.mktemp("dead") / "out", 0
    for event in run(plan_over(dataset.parent / "crawl", out, output={"shard_bytes": "20KB"}), InlineEngine(2.0)):
        done += isinstance(event, ShardDone)
        if done == 2:
            break
    for path, content in (LITTER | NEEDED).items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    return out


@pytest.fixture
def interrupted(dead: Path, tmp_path: Path) -> Path:
    """A copy of it, from long ago."""
    out = Path(shutil.copytree(dead, tmp_path / "out"))
    age(out, hours=2)
    return out


def age(folder: Path, hours: float) -> None:
    """As if nothing had been written since."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_litter_goes(interrupted: Path) -> None:
    before = files(interrupted)
    removed = collect(Store(str(interrupted)))
    assert removed == [Removed(path, len(content)) for path, content in sorted(LITTER.items())]
    assert files(interrupted) == before - LITTER.keys()
    assert collect(Store(str(interrupted))) == []


def test_the_run_goes_on_from_there(interrupted: Path, dataset: Path) -> None:
    collect(Store(str(interrupted)))
    for path in NEEDED:
        (interrupted / path).unlink()
    reports = {
        path: (interrupted / path).stat().st_mtime for path in files(interrupted) if path.startswith(".work/shards")
    }
    assert len(reports) == 2
    run_over(dataset.parent / "crawl", interrupted, output={"shard_bytes": "20KB"})
    assert list(verify(Store(str(interrupted)))) == []
    for folder in ("data", "ledger", "signals", "dropped"):
        for path in (dataset / folder).glob("*.parquet"):
            assert (interrupted / folder / path.name).read_bytes() == path.read_bytes()
    assert reports == {path: (interrupted / path).stat().st_mtime for path in reports}


def test_a_dry_run_removes_nothing(interrupted: Path) -> None:
    before = files(interrupted)
    assert {each.path for each in collect(Store(str(interrupted)), dry_run=True)} == LITTER.keys()
    assert files(interrupted) == before


@pytest.mark.parametrize("fresh", [".work/attempts/00003.0123456789ab.ledger.parquet", ".work/shards/00001.json"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_run_that_may_be_alive_is_left_alone(interrupted: Path, fresh: str, dry_run: bool) -> None:
    os.utime(interrupted / fresh)
    before = files(interrupted)
    with pytest.raises(ValueError, match="a run may be alive"):
        collect(Store(str(interrupted)), dry_run=dry_run)
    assert files(interrupted) == before
    assert {each.path for each in collect(Store(str(interrupted)), dry_run=dry_run, force=True)} == LITTER.keys()


def test_of_a_complete_run_all_attempts_go(dataset: Path, tmp_path: Path) -> None:
    """Killed after its manifest: the attempts' files are still there, and the reports name some of them."""
    out = tmp_path / "out"
    run_over(dataset.parent / "crawl", out)
    report = (out / ".work/shards/00000.json").read_text()
    named = report.partition(".work/attempts/")[2].partition('"')[0]
    (out / ".work/attempts").mkdir()
    (out / ".work/attempts" / named).write_bytes(b"PAR1")
    age(out, hours=2)
    assert [each.path for each in collect(Store(str(out)))] == [f".work/attempts/{named}"]
    assert list(verify(Store(str(out)))) == []


def test_a_finished_dataset_has_no_litter(dataset: Path) -> None:
    assert collect(Store(str(dataset))) == []


@pytest.mark.parametrize("report", [b"", b"{}", b"[]", b'{"files": {"ledger": {}}, "kept_files": {}}', b"\xff"])
def test_nothing_goes_where_a_report_cannot_be_read(interrupted: Path, report: bytes) -> None:
    (interrupted / ".work/shards/00001.json").write_bytes(report)
    age(interrupted, hours=2)
    before = files(interrupted)
    with pytest.raises(ValueError, match=r"00001\.json: cannot be read"):
        collect(Store(str(interrupted)))
    assert files(interrupted) == before


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / ".work" / "attempts").mkdir(parents=True)
    (tmp_path / ".work" / "attempts" / "mine").write_bytes(b"")
    with pytest.raises(NotADataset):
        collect(Store(str(tmp_path)), force=True)
    assert files(tmp_path) == {".work/attempts/mine"}


def test_an_object_store_wants_to_be_told(interrupted: Path) -> None:
    store = Store("memory://gc-test")
    for path in files(interrupted):
        store.write_atomic(path, (interrupted / path).read_bytes())
    with pytest.raises(ValueError, match="--force"):
        collect(store)
    assert {each.path for each in collect(store, force=True)} == LITTER.keys()
    assert set(store.list()) | set(store.partials()) == files(interrupted) - LITTER.keys()


def test_what_a_meeting_goes_on_from_stays(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_over(dataset.parent / "crawl", out, output={"shard_bytes": "20KB"})
    for event in run(plan, InlineEngine(2.0)):
        if isinstance(event, Exchanging) and event.phase == "clusters gather":
            break
    (meeting,) = (out / ".work" / "meetings").iterdir()
    litter = meeting / "members" / "out" / "members.00000.0123456789abcdef.arrow"
    litter.write_bytes(b"ARROW1")
    before = {path for path in out.rglob("*") if path.is_file()}
    age(out, hours=2)
    assert Removed(str(litter.relative_to(out)), 6) in collect(Store(str(out)))
    done = {path.name for path in meeting.glob("*.json")}
    assert {"bands.json", "members.json", "clusters.scattered.json"} <= done
    for _ in run(plan, InlineEngine(2.0)):
        pass
    assert list(verify(Store(str(out)))) == []
    assert litter in before
    assert (out / "data").exists()


def test_an_index_is_rid_of_what_no_version_lists(tmp_path: Path) -> None:
    index = Index(str(tmp_path))
    settings = Settings(ngram=5, bands=14, rows=8)
    index.extend(Extension(name="one", snapshot="", bands=(), representatives=()), settings)
    litter = tmp_path / "extensions" / "two" / "bands" / "part-00003-0123456789abcdef.parquet"
    litter.parent.mkdir(parents=True)
    litter.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="within the last hour"):
        collect(index.store)
    age(tmp_path, hours=2)
    assert collect(index.store) == [Removed(str(litter.relative_to(tmp_path)), 4)]
    assert index.latest() is not None
