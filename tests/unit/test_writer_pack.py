"""Files whose bytes depend on their rows alone, parts packed by size, shuffles that no division into shards changes."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from halls import drive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import writer
from pipeline.budget import LocalBudget
from pipeline.engine.inline import InlineEngine
from pipeline.exchange import Hall
from pipeline.inputs import Input
from pipeline.keys import record_keys
from pipeline.pack import DATA, Part, Piece, plan_parts, write_part
from pipeline.shard import process_shard
from pipeline.shuffle import write_shuffled
from pipeline.spec import ParquetSource
from pipeline.store import Store
from pipeline.tasks import KEPT, Segment, ShardReport, ShardTask
from pipeline.writer import GroupWriter, Written, write_all

quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def kept(shard: str, texts: Sequence[str]) -> pa.RecordBatch:
    rows = [
        {"id": f"<{shard}-{n}>", "url": f"http://{shard}/{n}", "shard": shard, "offset": 7 * n, "ordinal": 0,
         "text": text, "language": "eng_Latn" if n % 3 else None, "token_count": n, "media": "html"}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=KEPT)


def cut(batch: pa.RecordBatch, sizes: Sequence[int]) -> list[pa.RecordBatch]:
    """The batch in pieces of the given sizes, the last of what remains; some are views, some are copies."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(batch.slice(at, size))
        at += size
    rest = batch.slice(at)
    return [*pieces, pa.RecordBatch.from_pylist(rest.to_pylist(), schema=batch.schema)]


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=25)


@quick
@given(TEXTS, st.lists(st.integers(0, 9), max_size=8), st.integers(1, 10), st.integers(20, 200))
def test_the_same_rows_in_any_batches_make_the_same_bytes(
    store: Store, texts: list[str], sizes: list[int], group_rows: int, group_bytes: int
) -> None:
    batch = kept("a", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "GROUP_BYTES", group_bytes)
        one = write_all(store, "one.parquet", KEPT, group_rows, [batch])
        other = write_all(store, "other.parquet", KEPT, group_rows, cut(batch, sizes))
    assert (one.rows, one.bytes, one.sha256, one.groups) == (other.rows, other.bytes, other.sha256, other.groups)
    content = store.read_bytes("one.parquet")
    assert content == store.read_bytes("other.parquet")
    assert (len(content), store.sha256("one.parquet")) == (one.bytes, one.sha256)
    assert pq.read_table(io.BytesIO(content)) == pa.Table.from_batches([batch])
    assert [rows for rows, _ in one.groups] == expected_groups(
        [len(text.encode()) for text in texts], group_rows, group_bytes
    )


def expected_groups(sizes: list[int], group_rows: int, group_bytes: int) -> list[int]:
    """Rows of each group: it is full at so many rows, or with the text that fills it."""
    groups, rows, bytes = [], 0, 0
    for size in sizes:
        rows, bytes = rows + 1, bytes + size
        if rows == group_rows or bytes >= group_bytes:
            groups.append(rows)
            rows = bytes = 0
    return [*groups, rows] if rows else groups


def test_giant_texts_close_their_group(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_BYTES", 2**16)
    half = "x" * 2**15
    written = write_all(store, "f", KEPT, 1000, [kept("a", ["a", half, half, "b", half * 3, "c"])])
    assert [rows for rows, _ in written.groups] == [3, 2, 1]
    assert written.rows == 6


def test_a_file_of_no_rows_can_be_read(store: Store) -> None:
    written = write_all(store, "f", KEPT, 10, [])
    assert (written.rows, written.groups) == (0, ())
    assert pq.read_table(io.BytesIO(store.read_bytes("f"))).schema == KEPT


def test_a_schema_without_text_is_cut_by_rows(store: Store) -> None:
    schema = pa.schema([pa.field("n", pa.int64())])
    batch = pa.RecordBatch.from_pylist([{"n": n} for n in range(25)], schema=schema)
    assert [rows for rows, _ in write_all(store, "f", schema, 10, [batch]).groups] == [10, 10, 5]


def test_what_was_written_comes_back_from_json(store: Store) -> None:
    written = write_all(store, "f", KEPT, 2, [kept("a", ["x"] * 5)])
    assert Written.of(json.loads(json.dumps(asdict(written)))) == written


def test_a_group_can_be_ended_by_hand(store: Store) -> None:
    with GroupWriter(store, "f", KEPT, 10) as out:
        assert out.end_group() == 0
        out.write(kept("a", ["x"] * 3))
        assert out.end_group() == out.end_group() == 1
        out.write(kept("a", ["x"]))
    assert [rows for rows, _ in out.written.groups] == [3, 1]
    assert out.close() is out.written


def test_a_write_that_is_given_up_makes_no_file_of_an_object_store() -> None:
    store = Store("memory://given-up")
    with contextlib.suppress(ZeroDivisionError), GroupWriter(store, "data/f.parquet", KEPT, 2) as out:
        out.write(kept("a", ["x"] * 5))
        raise ZeroDivisionError
    assert store.list() == []


def report(number: int, *files: Written, partitions: Sequence[str] = ("",)) -> ShardReport:
    return ShardReport(number, f"s{number}", 0, kept_files=dict(zip(partitions, files)))


def file(path: str, *sizes: int) -> Written:
    return Written(path, len(sizes), sum(sizes), "", tuple((1, size) for size in sizes))


def test_parts_are_filled_across_shards_to_their_size() -> None:
    reports = [
        report(2, file("c", 50, 50)),
        report(0, file("a", 40, 40, 40)),
        report(1, file("b")),
        ShardReport(3, "s3", 0),
    ]
    assert plan_parts(reports, 100) == [
        Part("data/part-00000.parquet", (Piece("a", (0, 1, 2)),)),
        Part("data/part-00001.parquet", (Piece("c", (0, 1)),)),
    ]
    assert plan_parts(reports, 121) == [
        Part("data/part-00000.parquet", (Piece("a", (0, 1, 2)), Piece("c", (0,)))),
        Part("data/part-00001.parquet", (Piece("c", (1,)),)),
    ]
    assert plan_parts([], 100) == plan_parts([report(0, file("a"))], 100) == []


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 60), max_size=6), max_size=6), st.integers(1, 150))
def test_each_row_group_is_in_one_part_in_order(files: list[list[int]], shard_bytes: int) -> None:
    reports = [report(n, file(f"f{n:02d}", *sizes)) for n, sizes in enumerate(files)]
    parts = plan_parts(reports[::-1], shard_bytes)
    packed = [(piece.path, group) for part in parts for piece in part.pieces for group in piece.groups]
    assert packed == [(f"f{n:02d}", group) for n, sizes in enumerate(files) for group in range(len(sizes))]
    sizes = [
        sum(files[int(piece.path[1:])][group] for piece in part.pieces for group in piece.groups) for part in parts
    ]
    assert all(shard_bytes <= size < shard_bytes + 60 for size in sizes[:-1])
    assert [part.path for part in parts] == [f"data/part-{n:05d}.parquet" for n in range(len(parts))]


def test_partitions_have_parts_of_their_own() -> None:
    german, english = "language=deu_Latn", "language=eng_Latn"
    reports = [
        report(0, file("a.0", 9), file("a.1", 9), partitions=(english, german)),
        report(1, file("b.0", 9), partitions=(english,)),
    ]
    assert plan_parts(reports, 100) == [
        Part(f"data/{german}/part-00000.parquet", (Piece("a.1", (0,)),)),
        Part(f"data/{english}/part-00000.parquet", (Piece("a.0", (0,)), Piece("b.0", (0,)))),
    ]


def test_whatever_a_source_calls_a_language_is_one_folder(store: Store, tmp_path: Path) -> None:
    languages = ["eng_Latn", "../up", "a/b", "", None, "ü"]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["x"] * 6, "language": pa.array(languages, pa.string())}), path)
    source = ParquetSource(kind="parquet", paths=(str(path),))
    given = Input(path=str(path), kind="parquet", bytes=None, dump="", shard="in.parquet")
    task = ShardTask(0, given, (), (), store, source, "none", ("language",), Segment(0, 0))
    done = process_shard(task, lambda *_: None, LocalBudget(1))
    names = ["", "%C3%BC", "..%2Fup", "a%2Fb", "eng_Latn", "und_Zyyy"]
    assert sorted(done.kept_files) == [f"language={name}" for name in names]
    for part in plan_parts([done], 10**9):
        write_part(store, part, ".work/attempt")
    folders = {str(Path(each).parent.name) for each in store.list("data")}
    assert folders == set(done.kept_files)
    table = pq.read_table(tmp_path / "data", partitioning=None, columns=["language"])
    assert sorted(table.column("language").to_pylist(), key=str) == sorted(languages, key=str)


def test_a_part_has_the_columns_that_users_get(store: Store) -> None:
    batches = {name: kept(name, [f"{name} {n}" for n in range(5)]) for name in "ab"}
    files = [write_all(store, f"kept.{name}", KEPT, 2, [batch]) for name, batch in batches.items()]
    (part,) = plan_parts([report(n, each) for n, each in enumerate(files)], 10**9)
    written = write_part(store, part, ".work/attempt")
    assert store.list() == ["data/part-00000.parquet", "kept.a", "kept.b"]
    assert (written.path, written.rows) == ("data/part-00000.parquet", 10)
    table = pq.read_table(io.BytesIO(store.read_bytes(written.path)))
    assert table.schema == DATA
    assert table.column("text").to_pylist() == [f"{name} {n}" for name in "ab" for n in range(5)]
    assert table.column("file_path").to_pylist() == ["a"] * 5 + ["b"] * 5
    assert table.column("minhash_cluster_size").null_count == 10


def test_a_part_that_cannot_be_finished_leaves_no_public_file(store: Store) -> None:
    written = write_all(store, "kept.a", KEPT, 2, [kept("a", ["x"] * 5)])
    store.write_atomic("kept.b", b"no Parquet file")
    with pytest.raises(pa.ArrowInvalid):
        write_part(
            store, Part("data/part-00000.parquet", (Piece("kept.a", (0,)), Piece("kept.b", (0,)))), ".work/attempt"
        )
    assert store.list("data") == []
    assert written.rows == 5


# Shuffling


def shuffled(store: Store, shards: list[list[pa.RecordBatch]], seed: int, parts: int) -> list[list[str]]:
    """Ids of each part, in order. `shards`: batches of the kept file of each."""
    reports = []
    for number, batches in enumerate(shards):
        written = write_all(store, f"{secrets.token_hex(4)}.kept", KEPT, 4, batches)
        reports.append(ShardReport(number, f"s{number}", 0, kept_files={"": written}))
    size = sum(report.kept_files[""].bytes for report in reports)
    hall = Hall(store, InlineEngine(1), f".work/{secrets.token_hex(4)}", task_bytes=2000, batch_bytes=500)
    made, _ = drive(write_shuffled(hall, reports, seed, -(-size // parts)))
    found: list[list[str]] = [[] for _ in range(parts)]
    for part in made:
        with store.open_read(part.path) as stream:
            rows = pq.read_table(stream)["id"].to_pylist()
        assert len(rows) == part.rows
        found[int(part.path.removeprefix("data/part-").removesuffix(".parquet"))] = rows
    return found


@settings(quick, max_examples=15)
@given(st.integers(0, 40), st.lists(st.integers(0, 12), max_size=4), st.integers(1, 6), st.permutations(range(5)))
def test_a_shuffle_is_the_same_however_rows_lie_in_files(
    store: Store, rows: int, sizes: list[int], partitions: int, order: list[int]
) -> None:
    batch = kept("a", [f"text {n}" for n in range(rows)])
    whole = shuffled(store, [[batch]], 7, partitions)
    pieces = cut(batch, sizes)
    parted = shuffled(store, [[pieces[at]] for at in order if at < len(pieces)], 7, partitions)
    assert parted == whole
    everywhere = [id for part in whole for id in part]
    assert sorted(everywhere) == sorted(batch.column("id").to_pylist())


def test_a_shuffle_mixes_and_depends_on_its_seed(store: Store) -> None:
    batches = [[kept(name, ["x"] * 60)] for name in "abc"]
    one, other = (shuffled(store, batches, seed, 3) for seed in (1, 2))
    rows = [id for part in one for id in part]
    assert rows != sorted(rows)
    assert one != other
    assert all(len({id[1] for id in part}) == 3 for part in one)
    assert all(30 < len(part) < 90 for part in one)


def test_rows_of_one_key_are_ordered_by_their_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.shuffle.record_keys", lambda batch, seed: np.zeros(batch.num_rows, np.uint64))
    batch = kept("a", ["x"] * 9)
    reverse = batch.take(pa.array(range(8, -1, -1)))
    ids = batch.column("id").to_pylist()
    assert shuffled(store, [[reverse]], 1, 2) == [ids, []]
    assert shuffled(store, [[reverse.slice(0, 4)], [reverse.slice(4)]], 1, 2) == [[*ids[5:], *ids[:5]], []]


PINNED = [16_602_827_336_293_667_984, 15_392_798_371_664_700_596, 7_259_149_773_668_328_177, 1_233_084_970_909_786_048]
"""Of four places; samples and shuffles of datasets that are out there hang on them."""


def test_keys_are_the_same_today_and_tomorrow() -> None:
    places = [("s", 0, 0), ("s", 0, 1), ("s", 2**40, 0), ("t", 0, 0)]
    rows = [dict(zip(("shard", "offset", "ordinal"), place)) for place in places]
    batch = pa.RecordBatch.from_pylist(rows, schema=KEPT)
    assert record_keys(batch, "sample").tolist() == PINNED
    assert record_keys(batch.slice(2), "sample").tolist() == PINNED[2:]
    assert not set(record_keys(batch, "other").tolist()) & set(PINNED)
    assert len(record_keys(batch.slice(0, 0), "sample")) == 0
