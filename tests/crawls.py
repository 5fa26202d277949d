"""Small crawls made of the sample's captures, jobs over them, and what came of a run."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from acceptance.cut_shards import members as gzip_members

from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished
from pipeline.plan import Plan, make_plan
from pipeline.run import run
from pipeline.sample.crawl import captures
from pipeline.sample.warc import Capture, members, warcinfo
from pipeline.store import Store

SNAPSHOT = "CC-MAIN-2026-43"
FAST = {"extract_html": {"extractor": "resiliparse"}}
PUBLIC = ("data", "ledger", "signals")


def packed(chosen: Sequence[Capture], name: str = "crawl.warc.gz") -> bytes:
    """A WARC file of captures, one gzip member a record."""
    return warcinfo(name) + b"".join(member for capture in chosen for member in members(capture, name))


def records(pack: bytes) -> list[bytes]:
    """The unpacked records of a file with one gzip member a record."""
    return [gzip.decompress(member) for member in gzip_members(pack)]


def cut(count: int, every: int = 5) -> list[bytes]:
    """Every fifth capture of the sample, dealt to `count` WARC files."""
    chosen = [capture for capture in captures() if not capture.damaged][::every]
    return [packed(chosen[at::count]) for at in range(count)]


def mirror(folder: Path, packs: Sequence[bytes]) -> Path:
    """A snapshot as Common Crawl lays it out."""
    stem = f"crawl-data/{SNAPSHOT}"
    paths = [f"{stem}/segments/1761.{at % 2}/warc/part-{at:05d}.warc.gz" for at in range(len(packs))]
    for path, pack in zip(paths, packs):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(pack)
    (folder / stem / "warc.paths.gz").write_bytes(gzip.compress("".join(f"{path}\n" for path in paths).encode()))
    return folder


def write_job(folder: Path, source: dict[str, Any], **job: Any) -> Path:
    """A job file; its stages are fast ones unless it says otherwise."""
    content = {"name": "test", "source": source, "override": FAST, **job}
    path = folder / f"job-{len(list(folder.glob('job-*.yaml')))}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def warcs(*paths: Path | str) -> dict[str, Any]:
    return {"kind": "warc", "paths": [str(path) for path in paths]}


def commoncrawl(base: Path | str, **fields: Any) -> dict[str, Any]:
    return {"kind": "commoncrawl", "snapshot": SNAPSHOT, "base": str(base), **fields}


def finish(plan: Plan) -> dict[str, Any]:
    """Run a plan to its end in this process; its manifest."""
    *_, last = run(plan, InlineEngine(plan.job.source.requests_per_second))
    assert isinstance(last, Finished)
    return last.manifest


def run_job(folder: Path, output: Path | str, source: dict[str, Any], /, **job: Any) -> dict[str, Any]:
    return finish(make_plan(write_job(folder, source, **job), str(output)))


def digests(output: Path | str) -> dict[str, str]:
    """sha256 of the files of data, ledger and signals."""
    store = Store(str(output))
    return {path: store.sha256(path) for folder in PUBLIC for path in store.list(folder)}
