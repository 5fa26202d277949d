"""Jobs as users write them, from every kind of source into every kind of output, to the published files."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zstandard
from buckets import s3_server
from crawls import (
    FAST,
    SNAPSHOT,
    commoncrawl,
    cut,
    digests,
    finish,
    mirror,
    packed,
    records,
    run_job,
    warcs,
    write_job,
)

from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished, ShardDone, Started
from pipeline.plan import make_plan
from pipeline.run import run
from pipeline.sample.crawl import captures
from pipeline.sample.warc import Capture
from pipeline.spec import JobError
from pipeline.store import Store

S3_STEM = f"s3://commoncrawl/crawl-data/{SNAPSHOT}/segments"


def rows(output: Path | str) -> list[dict[str, Any]]:
    """The published records."""
    store = Store(str(output))
    tables = []
    for path in store.list("data"):
        with store.open_read(path) as stream:
            tables.append(pq.ParquetFile(stream).read())
    found: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return found


def by_url(output: Path | str) -> dict[str, str]:
    return {row["url"]: row["text"] for row in rows(output)}


@pytest.fixture(scope="module")
def packs() -> list[bytes]:
    """Four WARC files of about 17 captures."""
    return cut(4)


@pytest.fixture(scope="module")
def snapshot(packs: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mirror(tmp_path_factory.mktemp("mirror"), packs)


@pytest.fixture(scope="module")
def from_mirror(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes of the second and third file of the mirror, in several parts."""
    folder = tmp_path_factory.mktemp("from_mirror")
    run_job(folder, folder / "out", commoncrawl(snapshot, files="1:3"), output={"shard_bytes": "5KB"})
    return folder / "out"


def test_a_slice_of_a_mirrored_snapshot(from_mirror: Path) -> None:
    found = rows(from_mirror)
    assert {row["dump"] for row in found} == {SNAPSHOT}
    assert {row["file_path"] for row in found} == {f"{S3_STEM}/1761.{n % 2}/warc/part-{n:05d}.warc.gz" for n in (1, 2)}
    assert {row["media"] for row in found} == {"html"}
    assert len(list((from_mirror / "data").iterdir())) == 2
    assert list(verify(Store(str(from_mirror)))) == []


@dataclass
class Website:
    """Serves a folder; answers paths in `refused` with 503 so many times first. `log`: (seconds, path, status)."""

    folder: Path
    refused: Counter[str] = field(default_factory=Counter)
    retry_after: int = 2
    log: list[tuple[float, str, int]] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Website:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                status = 503 if site.refused[name] > 0 else 200
                site.refused[name] -= 1
                site.log.append((time.monotonic(), name, status))
                body = (site.folder / self.path[1:]).read_bytes() if status == 200 else b"slow down"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 503:
                    self.send_header("Retry-After", str(site.retry_after))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def waits(self) -> list[float]:
        """Seconds between requests."""
        return [after[0] - before[0] for before, after in zip(self.log, self.log[1:])]


@pytest.fixture
def website(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with Website(snapshot) as site:
        yield site


def test_a_website_that_asks_for_patience_gives_the_bytes_of_the_mirror(
    website: Website, from_mirror: Path, tmp_path: Path
) -> None:
    website.refused.update(["warc.paths.gz", "part-00001.warc.gz"])
    source = commoncrawl(website.url, files="1:3", requests_per_second=1000)
    run_job(tmp_path, tmp_path / "out", source, output={"shard_bytes": "5KB"})
    assert digests(tmp_path / "out") == digests(from_mirror)
    assert [(name, status) for _, name, status in website.log] == [
        ("warc.paths.gz", 503),
        ("warc.paths.gz", 200),
        ("part-00002.warc.gz", 200),
        ("part-00001.warc.gz", 503),
        ("part-00001.warc.gz", 200),
    ]
    assert website.waits[0] >= 2
    assert website.waits[3] >= 2


@pytest.mark.cluster
def test_all_workers_share_one_budget(website: Website, snapshot: Path, tmp_path: Path) -> None:
    source, output = commoncrawl(website.url, requests_per_second=1), {"shard_bytes": "5KB"}
    website.refused.update(["part-00001.warc.gz"])
    website.retry_after = 4
    job = write_job(tmp_path, source, output=output)
    with_ray(job, tmp_path / "ray")
    run_job(tmp_path, tmp_path / "inline", commoncrawl(snapshot), output=output)
    assert digests(tmp_path / "ray") == digests(tmp_path / "inline")
    assert len(website.log) == 6
    shares = list(zip(website.waits, website.log))[1:]  # the first wait is Ray's start
    slack = 0.4  # what a busy machine may add on the way of one request and not of the next
    assert all(wait >= 1 - slack for wait, _ in shares)
    assert all(wait >= 4 - slack for wait, (_, _, status) in shares if status == 503)


def with_ray(job: Path, output: Path) -> None:
    """Run a job on two workers of a Ray of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(job), "--output", str(output), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain.warc": lambda pack: b"".join(records(pack)),
    "whole.warc.gz": lambda pack: gzip.compress(b"".join(records(pack)), mtime=0),
    "frames.warc.zst": lambda pack: b"".join(zstandard.compress(record) for record in records(pack)),
    "whole.warc.zst": lambda pack: zstandard.compress(b"".join(records(pack))),
}


def test_the_compression_of_a_warc_does_not_matter(packs: list[bytes], tmp_path: Path) -> None:
    wanted, counts = {}, []
    for name, form in {"crawl.warc.gz": bytes, **FORMS}.items():
        (tmp_path / name).write_bytes(form(packs[0]))
        manifest = run_job(tmp_path, tmp_path / f"out-{name}", warcs(tmp_path / name))
        wanted[name] = by_url(tmp_path / f"out-{name}")
        counts.append([manifest["totals"][each] for each in ("records_read", "kept", "skipped", "bytes_lost")])
    assert all(found == wanted["crawl.warc.gz"] for found in wanted.values())
    assert len(wanted["crawl.warc.gz"]) > 3
    assert all(each == counts[0] for each in counts)


ARC = (
    b"filedesc://old.arc 0.0.0.0 20010101000000 text/plain 77\n1 0 InternetArchive\n"
    b"URL IP-address Archive-date Content-type Archive-length\n\n"
)


def test_an_arc_file_fails_the_run_until_the_limit_allows_it(packs: list[bytes], tmp_path: Path) -> None:
    crawl, output = tmp_path / "crawl", tmp_path / "out"
    crawl.mkdir()
    for n, pack in enumerate(packs[:2]):
        (crawl / f"{n}.warc.gz").write_bytes(pack)
    run_job(tmp_path, tmp_path / "clean", warcs(crawl / "*"))
    (crawl / "old.arc.gz").write_bytes(gzip.compress(ARC))
    manifest = run_job(tmp_path, output, warcs(crawl / "*"))
    assert manifest["state"] == "failed"
    (failed,) = manifest["failed_shards"]
    assert failed["path"] == str(crawl / "old.arc.gz")
    assert "ARC" in failed["cause"] and str(crawl / "old.arc.gz") in failed["cause"] and "\n" not in failed["cause"]
    assert manifest["alarms"] == ["1 input could not be read (run.max_failed_shards is 0)"]
    assert not (output / "data").exists()
    for n in range(2):  # who read them again would fail
        path = crawl / f"{n}.warc.gz"
        path.write_bytes(bytes(path.stat().st_size))
    manifest = run_job(tmp_path, output, warcs(crawl / "*"), run={"max_failed_shards": 1})
    assert manifest["state"] == "complete"
    assert [each["path"] for each in manifest["failed_shards"]] == [str(crawl / "old.arc.gz")]
    assert digests(output) == digests(tmp_path / "clean")
    assert list(verify(Store(str(output)))) == []


def test_the_output_of_a_run_is_the_input_of_another(from_mirror: Path, tmp_path: Path) -> None:
    source = {"kind": "parquet", "paths": [str(from_mirror / "data" / "*.parquet")]}
    manifest = run_job(tmp_path, tmp_path / "out", source)
    before, after = rows(from_mirror), rows(tmp_path / "out")
    assert manifest["totals"]["records_read"] == len(before)
    assert {row["file_path"] for row in after} == {str(path) for path in (from_mirror / "data").iterdir()}
    carried = ("text", "id", "url", "date", "dump", "language", "media")
    known = {row["id"]: {name: row[name] for name in carried} for row in before}
    assert all({name: row[name] for name in carried} == known[row["id"]] for row in after)
    assert len(after) > 0.9 * len(before)
    assert list(verify(Store(str(tmp_path / "out")))) == []


ENGLISH = "The kettle was on the stove, and the cat was asleep in front of it when the letter came."


@pytest.fixture
def table(tmp_path: Path) -> str:
    columns = {
        "body": pa.array([ENGLISH, None, ENGLISH * 2]),
        "key": [7, 8, None],
        "url": ["http://a.example/", "", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    return str(tmp_path / "mine.parquet")


def test_a_parquet_of_other_column_names(table: str, tmp_path: Path) -> None:
    source = {"kind": "parquet", "paths": [table], "text": "body", "id": "key"}
    manifest = run_job(tmp_path, tmp_path / "out", source, recipe="extract-only")
    first, third = rows(tmp_path / "out")
    assert (first["id"], first["text"], first["url"]) == ("7", ENGLISH, "http://a.example/")
    assert (third["text"], third["url"]) == (ENGLISH * 2, "")
    assert third["id"].startswith(f"{table}#"), "a row without an id gets one from its place"
    assert first["language"] == "eng_Latn" and first["media"] == "text"
    assert [(drop["reason"], drop["count"]) for drop in manifest["drops"]] == [("no_text", 1)]


@pytest.mark.parametrize(
    ("columns", "cause"),
    [
        ({}, "has no column text; name one of body, key, url in source.text"),
        ({"text": "body", "id": "nosuch"}, "has no column nosuch; name one of body, key, url in source.id"),
        ({"text": "body", "id": "list"}, "column list is list<element: int64>, which cannot be read as string"),
    ],
)
def test_a_column_that_will_not_do_is_said_in_one_line(
    table: str, tmp_path: Path, columns: dict[str, str], cause: str
) -> None:
    if columns.get("id") == "list":
        pq.write_table(pq.read_table(table).append_column("list", pa.array([[1]] * 3)), table)
    source = {"kind": "parquet", "paths": [table], **columns}
    manifest = run_job(tmp_path, tmp_path / "out", source, recipe="extract-only")
    assert manifest["state"] == "failed"
    (failed,) = manifest["failed_shards"]
    assert failed["cause"].startswith(f"{table}: {cause}")


@pytest.fixture(scope="module")
def s3(snapshot: Path) -> Iterator[str]:
    """The mirror in a bucket on an S3 server of this machine; address and credentials are in the environment."""
    with s3_server("bucket") as client:
        for path in snapshot.rglob("*.gz"):
            client.put_object(Bucket="bucket", Key=f"mirror/{path.relative_to(snapshot)}", Body=path.read_bytes())
        yield "s3://bucket"


def test_from_s3_into_s3_the_bytes_are_the_same_and_an_interrupted_run_goes_on(
    s3: str, from_mirror: Path, tmp_path: Path
) -> None:
    job = write_job(tmp_path, commoncrawl(f"{s3}/mirror", files="1:3"), output={"shard_bytes": "5KB"})
    plan = make_plan(job, f"{s3}/out")
    for event in run(plan, InlineEngine(2.0)):
        if isinstance(event, ShardDone):
            break
    assert plan.store.list("data") == [] and not plan.store.exists("manifest.json")
    started, *_, last = run(plan, InlineEngine(2.0))
    assert isinstance(started, Started) and len(started.done) == 1
    assert isinstance(last, Finished) and last.manifest["state"] == "complete"
    assert digests(f"{s3}/out") == digests(from_mirror)
    assert list(verify(plan.store)) == []
    assert plan.store.list(".work/attempts") == []
    plan.store.remove("data/part-00001.parquet")
    assert next(each.path for each in verify(plan.store)) == "data/part-00001.parquet"


def test_warcs_by_a_pattern_in_s3(s3: str, packs: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "part-00003.warc.gz").write_bytes(packs[3])
    run_job(tmp_path, tmp_path / "local", warcs(tmp_path / "part-00003.warc.gz"))
    pattern = f"{s3}/mirror/crawl-data/**/part-00003.warc.gz"
    run_job(tmp_path, tmp_path / "out", warcs(pattern))
    assert by_url(tmp_path / "out") == by_url(tmp_path / "local")
    (path,) = {row["file_path"] for row in rows(tmp_path / "out")}
    assert path == f"{s3}/mirror/crawl-data/{SNAPSHOT}/segments/1761.1/warc/part-00003.warc.gz"


def test_an_s3_bucket_that_is_not_there_is_the_jobs_fault(s3: str, snapshot: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^s3://nobucket/out/.*bucket"):
        run_job(tmp_path, "s3://nobucket/out", commoncrawl(snapshot))
    with pytest.raises(JobError, match=r"s3://bucket/nowhere/crawl-data"):
        run_job(tmp_path, tmp_path / "out", commoncrawl(f"{s3}/nowhere"))


MULTILINGUAL: dict[str, Any] = {
    "recipe": "multilingual",
    "output": {"shard_bytes": "4KB", "partition_by": ["language"]},
}


@pytest.fixture(scope="module")
def by_language(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_language")
    run_job(folder, folder / "out", commoncrawl(snapshot), **MULTILINGUAL)
    return folder / "out"


def test_a_folder_for_each_language(by_language: Path) -> None:
    folders: Counter[str] = Counter()
    for path in (by_language / "data").rglob("*.parquet"):
        languages = pq.ParquetFile(path).read()["language"].to_pylist()
        assert {f"language={language}" for language in languages} == {path.parent.name}
        folders[path.parent.name] += 1
    assert len(folders) >= 6 and folders["language=eng_Latn"] >= 2, "several languages, and several parts of one"
    assert list(verify(Store(str(by_language)))) == []
    hive = ds.dataset(by_language / "data", partitioning="hive").to_table()
    assert hive.num_rows == len(rows(by_language))
    assert set(hive["language"].to_pylist()) == {folder.removeprefix("language=") for folder in folders}


def shuffled(seed: int | None) -> dict[str, Any]:
    return {"recipe": "multilingual", "output": {"shard_bytes": "20KB", "shuffle": seed}}


def test_a_seed_shuffles_all_rows_over_all_parts(snapshot: Path, by_language: Path, tmp_path: Path) -> None:
    found = {}
    for name, seed in {"plain": None, "one": 1, "again": 1, "two": 2}.items():
        run_job(tmp_path, tmp_path / name, commoncrawl(snapshot), **shuffled(seed))
        found[name] = [row["id"] for row in rows(tmp_path / name)]
        assert len(list((tmp_path / name / "data").iterdir())) >= 2
        assert list(verify(Store(str(tmp_path / name)))) == []
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    orders = [found[name] for name in ("plain", "one", "two")]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert all(a != b for a, b in zip(orders, [*orders[1:], orders[0]]))
    one, two = (pq.ParquetFile(tmp_path / name / "data/part-00000.parquet").read() for name in ("one", "two"))
    assert len(set(one["file_path"].to_pylist())) == 4, "a part has rows of every input"
    assert set(one["id"].to_pylist()) != set(two["id"].to_pylist())
    kept = {row["id"]: row for row in rows(by_language)}
    assert all(kept[row["id"]] == row for row in rows(tmp_path / "two"))


@pytest.mark.cluster
@pytest.mark.parametrize("job", [MULTILINGUAL, shuffled(1)], ids=["partitioned", "shuffled"])
def test_two_workers_shuffle_and_partition_to_the_same_bytes(
    snapshot: Path, tmp_path: Path, job: dict[str, Any]
) -> None:
    run_job(tmp_path, tmp_path / "inline", commoncrawl(snapshot), **job)
    with_ray(write_job(tmp_path, commoncrawl(snapshot), **job), tmp_path / "ray")
    assert digests(tmp_path / "ray") == digests(tmp_path / "inline")
    assert len([path for path in digests(tmp_path / "ray") if path.startswith("data/")]) >= 2


def test_texts_of_dropped_records(tmp_path: Path) -> None:
    foreign = [capture for capture in captures() if capture.kind.startswith("page_") and capture.kind != "page_eng"]
    (tmp_path / "crawl.warc.gz").write_bytes(packed(foreign[:32]))
    left = {}
    for choice in ("none", "sample", "all"):
        output = tmp_path / choice
        manifest = run_job(tmp_path, output, warcs(tmp_path / "crawl.warc.gz"), output={"dropped_text": choice})
        assert list(verify(Store(str(output)))) == []
        assert manifest["totals"]["dropped"] == 32
        paths = list((output / "dropped").glob("*.parquet"))
        left[choice] = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    assert not (tmp_path / "none" / "dropped").exists()
    assert len(left["all"]) == 32 and all(row["text"] for row in left["all"])
    reasons = Counter((row["stage"], row["reason"]) for row in left["all"])
    assert max(reasons.values()) > 20
    sampled = Counter((row["stage"], row["reason"]) for row in left["sample"])
    assert sampled == {each: min(20, count) for each, count in reasons.items()}
    places = {(row["offset"], row["ordinal"]): row["text"] for row in left["all"]}
    assert all(places[row["offset"], row["ordinal"]] == row["text"] for row in left["sample"])


def test_what_people_read_parquet_with_reads_the_data(from_mirror: Path) -> None:
    pattern = str(from_mirror / "data" / "*.parquet")
    texts = sorted(row["text"] for row in rows(from_mirror))
    assert sorted(ds.dataset(from_mirror / "data").to_table()["text"].to_pylist()) == texts
    if importlib.util.find_spec("polars"):
        import polars

        assert sorted(polars.read_parquet(pattern)["text"]) == texts
    if importlib.util.find_spec("duckdb"):
        import duckdb

        assert sorted(row[0] for row in duckdb.sql(f"select text from '{pattern}'").fetchall()) == texts


def conversion(number: int, text: str) -> bytes:
    """A record as a WET file has it."""
    block = text.encode()
    head = (
        f"WARC/1.0\nWARC-Type: conversion\nWARC-Target-URI: http://wet.example/{number}\n"
        f"WARC-Date: 2026-10-05T12:00:00Z\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012d}>\n"
        f"Content-Type: text/plain\nContent-Length: {len(block)}\n\n"
    )
    return gzip.compress(head.replace("\n", "\r\n").encode() + block + b"\r\n\r\n", mtime=0)


def test_conversion_records_are_taken_as_the_text_they_are(from_mirror: Path, tmp_path: Path) -> None:
    texts = [row["text"] for row in rows(from_mirror)] + ["Too short."]
    pack = b"".join(conversion(number, text) for number, text in enumerate(texts))
    (tmp_path / f"{SNAPSHOT}.warc.wet.gz").write_bytes(pack)
    manifest = run_job(tmp_path, tmp_path / "out", warcs(tmp_path / "*.wet.gz"))
    assert manifest["totals"]["records_read"] == len(texts)
    found = rows(tmp_path / "out")
    assert len(found) > 0.9 * len(texts)
    assert {(row["media"], row["dump"]) for row in found} == {("text", SNAPSHOT)}
    assert all(row["text"] == texts[int(row["id"][-13:-1])] for row in found)


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_complete_run_is_left_as_it_is(snapshot: Path, from_mirror: Path, tmp_path: Path) -> None:
    before = stamps(from_mirror)
    plan = make_plan(
        write_job(tmp_path, commoncrawl(snapshot, files="1:3"), output={"shard_bytes": "5KB"}), str(from_mirror)
    )
    (only,) = run(plan, InlineEngine(2.0))
    assert isinstance(only, Finished) and only.manifest["state"] == "complete"
    assert stamps(from_mirror) == before


@pytest.mark.parametrize("stranger", ["notes.txt", "data/part-00000.parquet", ".hidden"])
def test_somebody_elses_folder_is_refused_and_left_alone(snapshot: Path, tmp_path: Path, stranger: str) -> None:
    path = tmp_path / "theirs" / stranger
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    before = stamps(tmp_path / "theirs")
    with pytest.raises(JobError, match=rf"^{tmp_path}/theirs: not empty \({stranger} .*--output"):
        run_job(tmp_path, tmp_path / "theirs", commoncrawl(snapshot))
    assert stamps(tmp_path / "theirs") == before


def test_pages_that_kill_the_extractor_fail_the_run_when_they_are_too_many(tmp_path: Path) -> None:
    some = [capture for capture in captures() if capture.kind == "page_eng"][:3]
    deep = Capture("deep", "https://deep.example/", b"<html><body>" + b"<div>" * 300_000 + b"text")  # quadratic for it
    (tmp_path / "crawl.warc.gz").write_bytes(packed([*some[:2], deep, some[2]]))
    override = {**FAST, "extract_html": {"extractor": "resiliparse", "cpu_seconds": 1}}
    job: dict[str, Any] = {"override": override, "recipe": "extract-only"}
    manifest = run_job(tmp_path, tmp_path / "out", warcs(tmp_path / "crawl.warc.gz"), **job)
    assert manifest["state"] == "failed"
    assert manifest["alarms"] == ["1 of 4 records failed (run.max_failed_share is 0.001)"]
    assert [(drop["stage"], drop["reason"], drop["outcome"]) for drop in manifest["drops"]] == [
        ("extract_html", "over_cpu_limit", "failed")
    ]
    assert not (tmp_path / "out" / "data").exists()
    path = write_job(tmp_path, warcs(tmp_path / "crawl.warc.gz"), **job, run={"max_failed_share": 0.25})
    manifest = finish(make_plan(path, str(tmp_path / "out")))
    assert (manifest["state"], manifest["totals"]["kept"]) == ("complete", 3)
