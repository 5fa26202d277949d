"""Records chosen by a snapshot's index: fetched alone, the same as from whole files, wherever the snapshot lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from buckets import s3_server
from cc_mirror import INDEX, LIST, RangedSite, indexed, write_index
from crawls import SNAPSHOT, commoncrawl, cut, digests, finish, run_job, write_job

from pipeline.audit.verify import verify
from pipeline.engine.inline import InlineEngine
from pipeline.events import ShardDone, Started
from pipeline.plan import make_plan
from pipeline.ranges import GAP
from pipeline.run import run
from pipeline.selection import SELECTION
from pipeline.spec import JobError
from pipeline.store import Store

WHERE = "url_host_tld <> 'example' OR hash(url) % 3 = 0"
FREE = {"requests_per_second": 1000}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of four files on disk, with its index."""
    folder = tmp_path_factory.mktemp("crawl")
    indexed(folder, cut(4))
    return folder


def source(base: Path | str, where: str = WHERE, limit: int | None = None, **fields: Any) -> dict[str, Any]:
    return commoncrawl(base, index={"where": where, "limit": limit}, **FREE, **fields)


def table(output: Path | str, folder: str) -> list[dict[str, Any]]:
    store, found = Store(str(output)), []
    for path in store.list(folder):
        with store.open_read(path) as stream:
            found += pq.ParquetFile(stream).read().to_pylist()
    return found


def ranges(output: Path) -> dict[tuple[str, int], int]:
    """What a run chose: lengths by file and offset."""
    rows = pq.read_table(output / SELECTION).to_pydict()
    return dict(zip(zip(rows["file"], rows["offset"]), rows["length"]))


@pytest.fixture(scope="module")
def chosen(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over chosen records of the mirror."""
    folder = tmp_path_factory.mktemp("chosen")
    manifest = run_job(folder, folder / "out", source(crawl))
    assert manifest["state"] == "complete" and manifest["totals"]["bytes_lost"] == 0
    return folder / "out"


def test_the_rows_are_those_of_a_run_over_the_whole_files(crawl: Path, chosen: Path, tmp_path: Path) -> None:
    run_job(tmp_path, tmp_path / "whole", commoncrawl(crawl))
    wanted = {(f"s3://commoncrawl/{file}", offset) for file, offset in ranges(chosen)}
    every = table(tmp_path / "whole", "ledger")
    assert 10 < len(wanted) < len(every) - 10
    assert table(chosen, "ledger") == [row for row in every if (row["shard"], row["offset"]) in wanted]
    kept = {row["id"] for row in table(chosen, "ledger") if row["outcome"] == "kept"}
    assert len(kept) > 5
    assert table(chosen, "data") == [row for row in table(tmp_path / "whole", "data") if row["id"] in kept]
    assert table(chosen, "signals") == [
        row for row in table(tmp_path / "whole", "signals") if (row["shard"], row["offset"]) in wanted
    ]


def test_a_run_over_chosen_records_holds_together(chosen: Path) -> None:
    assert list(verify(Store(str(chosen)))) == []
    manifest = json.loads((chosen / "manifest.json").read_text())
    assert manifest["totals"]["records_read"] == len(ranges(chosen))
    assert manifest["totals"]["bytes_read"] == sum(ranges(chosen).values())


@pytest.fixture
def site(crawl: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedSite]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with RangedSite(crawl) as site:
        yield site


def requests(wanted: dict[tuple[str, int], int]) -> list[tuple[str, int]]:
    """How few requests fetch what is wanted: (file, bytes of it), neighbours together."""
    found: list[list[Any]] = []
    for (file, offset), length in sorted(wanted.items()):
        if found and found[-1][0] == file and offset - found[-1][2] <= GAP:
            found[-1][2] = offset + length
        else:
            found.append([file, offset, offset + length])
    return [(file, stop - start) for file, start, stop in found]


def test_a_website_gives_the_same_and_is_asked_for_no_more(
    site: RangedSite, crawl: Path, chosen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(tmp_path, tmp_path / "out", source(site.url))
    assert digests(tmp_path / "out") == digests(chosen)
    fetched = [(path, size) for path, status, size in site.asked(".warc.gz") if status == 206]
    assert fetched == requests(ranges(chosen))
    index = site.asked(".parquet")
    assert index and all(status == 206 and INDEX in path for path, status, _ in index), "no other subset's"
    assert [status for _, status, _ in site.asked(LIST)] == [200]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"reading the index of {SNAPSHOT}: 2 files" and said[-1].startswith("read ")


def test_a_busy_server_and_broken_connections_cost_patience_and_not_records(
    site: RangedSite, chosen: Path, tmp_path: Path
) -> None:
    site.retry_after = 0
    site.faults = {"c000.gz.parquet": [500], "00001.warc.gz": [500, ("cut", 700), ("cut", 0)]}
    run_job(tmp_path, tmp_path / "out", source(site.url))
    assert digests(tmp_path / "out") == digests(chosen)
    sent = [size for _, status, size in site.asked("00001.warc.gz") if status == 206]
    assert len(sent) > 2 and sent[1] == sent[0] - 700, "a part goes on where it broke"


def test_a_server_without_parts_is_refused_and_not_read_whole(site: RangedSite, tmp_path: Path) -> None:
    site.deaf = True
    with pytest.raises(JobError, match=r"part-00000.*\.parquet: the server gives no parts of files"):
        make_plan(write_job(tmp_path, source(site.url)), str(tmp_path / "out"))
    site.deaf = False
    plan = make_plan(write_job(tmp_path, source(site.url)), str(tmp_path / "out"))
    site.deaf = True
    manifest = finish(plan)
    assert manifest["state"] == "failed" and manifest["totals"]["records_read"] == 0
    assert {shard["cause"].rpartition(": ")[2] for shard in manifest["failed_shards"]} == {
        "the server gives no parts of files"
    }


@pytest.fixture(scope="module")
def s3(crawl: Path) -> Iterator[str]:
    with s3_server("bucket") as client:
        for path in crawl.rglob("*.*"):
            if path.is_file() and path != crawl / LIST:  # who has no list is looked through
                client.put_object(Bucket="bucket", Key=f"mirror/{path.relative_to(crawl)}", Body=path.read_bytes())
        yield "s3://bucket"


def test_from_s3_into_s3_the_bytes_are_the_same(s3: str, chosen: Path, tmp_path: Path) -> None:
    run_job(tmp_path, f"{s3}/out", source(f"{s3}/mirror"))
    assert digests(f"{s3}/out") == digests(chosen)
    assert list(verify(Store(f"{s3}/out"))) == []


def test_a_run_that_goes_on_does_not_read_the_index_again(site: RangedSite, chosen: Path, tmp_path: Path) -> None:
    job, output = write_job(tmp_path, source(site.url)), tmp_path / "out"
    first = make_plan(job, str(output))
    assert not output.exists(), "a plan changes nothing"
    for event in run(first, InlineEngine(1000)):
        if isinstance(event, ShardDone):
            break
    site.log.clear()
    again = make_plan(job, str(output))
    assert again.fingerprint == first.fingerprint and site.log == []
    started, *_ = list(run(again, InlineEngine(1000)))
    assert isinstance(started, Started) and len(started.done) == 1
    assert digests(output) == digests(chosen)
    assert not site.asked(".parquet")
    site.log.clear()
    changed = write_job(tmp_path, source(site.url, "url_host_tld = 'org'"))
    with pytest.raises(JobError, match=r"job\.source\.index\.where: .* then, .* now"):
        make_plan(changed, str(output))
    assert site.log == [], "nor is it read to find that the output is another job's"


def test_a_selection_that_was_lost_or_damaged_is_made_again(crawl: Path, chosen: Path, tmp_path: Path) -> None:
    shutil.copytree(chosen, tmp_path / "out")
    job = write_job(tmp_path, source(crawl))
    plan = make_plan(job, str(tmp_path / "out"))
    (tmp_path / "out" / SELECTION).write_bytes(b"PAR1")
    assert make_plan(job, str(tmp_path / "out")).fingerprint == plan.fingerprint
    rows = pq.read_table(chosen / SELECTION)
    pq.write_table(rows.slice(1).replace_schema_metadata(rows.schema.metadata), tmp_path / "out" / SELECTION)
    with pytest.raises(JobError, match=r"holds a run of another plan: inputs"):
        finish(make_plan(job, str(tmp_path / "out")))


def test_an_index_that_says_otherwise_is_another_plan(crawl: Path, tmp_path: Path) -> None:
    rows = indexed(tmp_path / "crawl", cut(2))
    before = make_plan(write_job(tmp_path, source(tmp_path / "crawl", "true")), str(tmp_path / "out"))
    write_index(tmp_path / "crawl", [*rows[1:], {**rows[0], "warc_record_length": rows[0]["warc_record_length"] - 1}])
    after = make_plan(write_job(tmp_path, source(tmp_path / "crawl", "true")), str(tmp_path / "out"))
    assert before.selection is not None and after.selection is not None
    assert before.selection.records == after.selection.records
    assert before.fingerprint != after.fingerprint


def test_a_limit_is_the_same_whatever_order_the_index_has(tmp_path: Path) -> None:
    rows = indexed(tmp_path, cut(4))
    digests = set()
    for files, group in ((1, 3), (3, 50), (2, 8)):
        shutil.rmtree(tmp_path / INDEX)
        write_index(tmp_path, rows, files, group)
        plan = make_plan(write_job(tmp_path, source(tmp_path, "true", limit=30)), str(tmp_path / "out"))
        assert plan.selection is not None and plan.selection.records == 30 and len(plan.inputs) == 2
        digests.add(plan.selection.sha256)
    assert len(digests) == 1


def test_files_slices_the_index(crawl: Path, tmp_path: Path) -> None:
    parts: list[dict[str, Any]] = [{}, {"files": "0:1"}, {"files": "1:"}]
    whole, first, rest = (
        make_plan(write_job(tmp_path, source(crawl, "true", **files)), str(tmp_path / "out")) for files in parts
    )
    counts = [plan.selection.records for plan in (whole, first, rest) if plan.selection is not None]
    assert counts[0] == counts[1] + counts[2] > counts[1] > 0


BAD = {"warc_filename": "crawl-data/../../etc/passwd", "warc_record_offset": 0, "warc_record_length": 9}


def test_a_lying_index_costs_what_it_lies_about(tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    (pack,) = cut(1, every=20)
    rows = indexed(crawl, [pack])
    lies = [
        BAD, {**BAD, "warc_filename": None}, {**rows[0], "warc_record_offset": -1},  # impossible
        rows[1],  # twice
        {**rows[2], "warc_record_length": 2**30},  # reaches into the next
        {**rows[3], "warc_record_offset": rows[3]["warc_record_offset"] + 9},  # nothing there, and the real one is cut
        {**rows[0], "warc_record_offset": len(pack) + 9},  # behind the file's end
    ]  # fmt: skip
    write_index(crawl, [{**row, "url_surtkey": str(n)} for n, row in enumerate([*rows, *lies])])
    manifest = run_job(tmp_path, tmp_path / "out", source(crawl, "true"))
    assert manifest["state"] == "complete"
    assert manifest["totals"]["records_read"] == len(rows) - 1
    start, length = ([row[f"warc_record_{name}"] for row in rows] for name in ("offset", "length"))
    between = start[3] - (start[2] + length[2])  # a request and metadata, which nobody chose
    assert manifest["totals"]["bytes_lost"] == between + 9 + length[3]
    assert manifest["notes"][-2:] == [
        "3 entries of the index named no record of the snapshot: passed over",
        "2 entries of the index reached into the next: cut where that begins",
    ]
    (shard,) = manifest["shards"]
    assert [each["cause"] for each in shard["damage"]][-1] == "behind the end of the file"
    assert list(verify(Store(str(tmp_path / "out")))) == []


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"where": "urll = 'x'"}, r"source\.index\.where: no column urll; did you mean url\?"),
        ({"where": "zzz = 1"}, r"source\.index\.where: no column zzz; known: url_surtkey, url, .*, crawl, subset"),
        ({"where": "url ="}, r"source\.index\.where: syntax error"),
        ({"where": "url = ''"}, r"source\.index\.where: takes no record"),
        ({"where": " "}, r"source\.index\.where: .*at least 1 character"),
        ({"where": "true", "limit": 0}, r"source\.index\.limit: .*greater than 0"),
        ({"wher": "true"}, r"source\.index\.wher: unknown; did you mean where\?"),
        ("true", r"source\.index: has fields"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_selection_is_said_in_one_line(
    crawl: Path, tmp_path: Path, fields: Any, complaint: str
) -> None:
    with pytest.raises(JobError, match=complaint) as raised:
        make_plan(write_job(tmp_path, commoncrawl(crawl, index=fields)), str(tmp_path / "out"))
    assert "\n" not in str(raised.value)


def test_what_a_mirror_lacks_is_said(crawl: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(crawl, mirror)
    gone = next(mirror.rglob("part-00002.warc.gz"))
    gone.unlink()
    job = write_job(tmp_path, source(mirror, "true"))
    with pytest.raises(JobError, match=r"part-00002\.warc\.gz: no such file, and the index names records of it"):
        make_plan(job, str(tmp_path / "out"))
    part = sorted((mirror / INDEX).iterdir())[1]
    part.write_bytes(b"<html>")
    with pytest.raises(JobError, match=rf"{part.name}: not a Parquet file"):
        make_plan(job, str(tmp_path / "out"))
    part.unlink()
    with pytest.raises(JobError, match=rf"{part.name}: [Nn]o such file"):
        make_plan(job, str(tmp_path / "out"))
    (mirror / LIST).unlink()
    with pytest.raises(JobError, match=r"source\.files: 5: takes none of the 1 index files"):
        make_plan(write_job(tmp_path, source(mirror, files="5:")), str(tmp_path / "out"))
    shutil.rmtree(mirror / INDEX)
    with pytest.raises(JobError, match=rf"source\.index: {mirror}/.*: no index of {SNAPSHOT} there"):
        make_plan(job, str(tmp_path / "out"))


@pytest.mark.corpus
def test_pdfs_of_real_pages_cost_their_own_bytes(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    pdfs, pages = (corpora / "pdf" / "pdf-bench.warc.gz", corpora / "html" / "web-bench.warc.gz")
    crawl = tmp_path / "crawl"
    with pages.open("rb") as stream:
        head = stream.read(8 * 2**20)
    whole = head[: head.rindex(b"\x1f\x8b\x08")]
    indexed(crawl, [pdfs.read_bytes()[: 24 * 2**20], whole])
    with RangedSite(crawl) as site:
        job = source(site.url, "content_mime_detected = 'application/pdf'", limit=20)
        manifest = run_job(tmp_path, tmp_path / "out", job, recipe="extract-only", run={"max_failed_share": 1})
    assert manifest["totals"]["records_read"] == 20
    wanted = ranges(tmp_path / "out")
    assert {row["media"] for row in table(tmp_path / "out", "ledger")} == {"pdf"}
    assert sum(size for _, _, size in site.asked(".warc.gz")) <= sum(wanted.values()) + GAP * len(wanted)
    assert len(site.asked(".warc.gz")) <= len(wanted)
    assert len(wanted) == 20
