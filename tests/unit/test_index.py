"""The index across snapshots: versions that only grow, extensions that are there once, files that may be damaged."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.index import Extension, Index, Version, numbers_of
from pipeline.index_tables import DamagedIndex, File, IndexFault, OtherIndex, footer_digest, write_partition
from pipeline.store import Store
from stages.dedup.index import BANDS, FIRST, LAYOUTS, REPRESENTATIVES, Layout, Settings, record_numbers, schema
from stages.stage import RECORD

FOUR = Settings(ngram=5, bands=2, rows=2, partitions=4)
PROCESSES, EACH = 4, 5


def rows_of(seed: int, records: int, made: Settings = FOUR) -> dict[str, pa.Table]:
    """Both tables of an invented extension, sorted."""
    random = np.random.default_rng(seed)
    numbers = np.sort(random.integers(FIRST, 2**64 - 1, records, np.uint64, endpoint=True))
    keys = random.integers(0, 2**64 - 1, records * made.bands, np.uint64, endpoint=True)
    bands = pa.table({"band_key": keys, "representative": np.repeat(numbers, made.bands)})
    size = 8 * made.bands * made.rows
    known = {
        "representative": numbers,
        "id": [f"<{seed}-{n}>" for n in range(records)],
        "snapshot": [f"CC-{seed}"] * records,
        "input": np.full(records, seed, np.uint64),
        "url": [f"http://host/{n}" if n % 3 else None for n in range(records)],
        "shingles": np.arange(records),
        "digest": numbers >> np.uint64(3),
        "signature": pa.array([random.bytes(size) for _ in range(records)], pa.binary(size)),
    }
    by_key = [(name, "ascending") for name in BANDS.order]
    return {"bands": bands.sort_by(by_key), "representatives": pa.table(known, schema=schema(REPRESENTATIVES, made))}


def written(root: str, name: str, seed: int = 0, records: int = 50, made: Settings = FOUR) -> Extension:
    """An extension whose files are there and which nobody lists yet."""
    tables = rows_of(seed, records, made)
    files: dict[str, list[File | None]] = {}
    for layout in LAYOUTS:
        table = tables[layout.name]
        place = layout.partition(table.column(0).to_numpy(), made.partitions)
        files[layout.name] = [
            write_partition(Store(root), name, layout, made, n, [table.filter(pa.array(place == n))])
            for n in range(made.partitions)
        ]
    listed = {kind: tuple(file for file in each if file is not None) for kind, each in files.items()}
    return Extension(name=name, snapshot=f"CC-{seed}", **listed)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(str(tmp_path / "index"))


def read(index: Index, version: Version, layout: Layout, low: int = 0, high: int = 2**64) -> pa.Table:
    rows = (index.bands if layout == BANDS else index.representatives)(version, low, high)
    return pa.concat_tables([schema(layout, version.settings).empty_table(), *rows])


# Versions


def test_an_index_grows_by_versions_that_stay(index: Index) -> None:
    assert index.latest() is None
    first = index.extend(written(index.root, "a", 1), FOUR)
    one = index.store.read_bytes("versions/000001.json")
    second = index.extend(written(index.root, "b", 2), FOUR)
    assert (first.number, second.number, index.latest()) == (1, 2, second)
    assert [each.name for each in second.extensions] == ["a", "b"]
    assert [each.snapshot for each in second.extensions] == ["CC-1", "CC-2"]
    assert index.store.read_bytes("versions/000001.json") == one
    assert index.version(1, FOUR, hashlib.sha256(one).hexdigest()) == first
    assert (second.rows("representatives"), second.rows("bands")) == (100, 200)
    assert index.garbage() == []
    assert pickle.loads(pickle.dumps(second)) == second


def test_rows_come_back_by_range(index: Index) -> None:
    index.extend(written(index.root, "a", 1), FOUR)
    version = index.extend(written(index.root, "b", 2), FOUR)
    for layout in LAYOUTS:
        given = pa.concat_tables([rows_of(seed, 50)[layout.name] for seed in (1, 2)])
        order = [(name, "ascending") for name in given.column_names if name != "signature"]
        keys = np.sort(given.column(0).to_numpy())
        for low, high in [
            (0, 2**64),
            (0, 0),
            (int(keys[9]), int(keys[60])),
            (int(keys[99]), 2**64),
            (2**63 + 1, 2**64),
        ]:
            wanted = given.filter(pa.array([low <= key < high for key in given.column(0).to_pylist()]))
            assert read(index, version, layout, low, high).sort_by(order) == wanted.sort_by(order)


def test_a_reader_holds_a_row_group_and_leaves_out_others(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Settings(ngram=5, bands=2, rows=2, partitions=1)
    count = BANDS.group_rows // one.bands + 1_000
    version = index.extend(written(index.root, "a", 3, count, one), one)
    groups = list(index.bands(version))
    assert [group.num_rows for group in groups] == [BANDS.group_rows, 2_000]
    asked: list[int] = []
    whole = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, number: int, **how: bool) -> pa.Table:
        asked.append(number)
        return whole(self, number, **how)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    last = int(groups[1].column(0)[-1].as_py())
    assert sum(table.num_rows for table in index.bands(version, last, 2**64)) == 1
    assert asked == [1]


def test_the_same_rows_make_the_same_bytes(index: Index, tmp_path: Path) -> None:
    one, other = written(index.root, "a", 1), written(str(tmp_path / "other"), "a", 1)
    assert [file.sha256 for file in one.bands] == [file.sha256 for file in other.bands]
    assert [file.sha256 for file in one.representatives] == [file.sha256 for file in other.representatives]
    for file in one.bands:
        assert index.store.sha256(file.path) == file.sha256
    assert one.paths.isdisjoint(other.paths)


def test_a_name_that_is_listed_stays_as_it_is(index: Index) -> None:
    first = written(index.root, "a", 1)
    version = index.extend(first, FOUR)
    before = index.store.list()
    again = written(index.root, "a", 1)
    assert index.store.list() != before
    assert index.extend(again, FOUR) == version
    assert index.store.list() == before
    assert index.extend(first, FOUR) == version  # a driver that died before it heard
    assert index.store.list() == before
    assert len(read(index, version, BANDS)) == 100


def test_an_extension_without_rows_is_one(index: Index) -> None:
    extension = written(index.root, "a", records=0)
    assert extension.paths == set()
    version = index.extend(extension, FOUR)
    assert (version.rows("bands"), len(read(index, version, BANDS)), index.latest()) == (0, 0, version)


def test_what_is_half_written_is_invisible_and_garbage(index: Index) -> None:
    version = index.extend(written(index.root, "a", 1), FOUR)
    dead = written(index.root, "dead", 2)
    torn = "extensions/torn/bands/part-00000-0123456789abcdef.parquet"
    index.store.write_atomic(torn, b"PAR1")
    partial = "versions/.000002.json.0123456789abcdef.partial"
    index.store.write_atomic("versions/notes.txt", b"mine")
    index.store.write_atomic("extensions/a/README.md", b"mine")
    (Path(index.root) / partial).write_bytes(b"{")
    assert index.latest() == version
    assert len(read(index, version, BANDS)) == 100
    assert index.garbage() == sorted([torn, partial, *dead.paths])
    index.extend(dead, FOUR)
    assert index.garbage() == sorted([torn, partial])


def extend_all(root: str, process: int, start: Barrier) -> list[int]:
    extensions = [written(root, f"{process}-{n}", 10 * process + n, 3) for n in range(EACH)]
    shared = written(root, "shared", 99, 3)
    start.wait(60)
    return [Index(root).extend(extension, FOUR).number for extension in [*extensions, shared]]


def test_processes_that_extend_at_once_are_all_listed_once(index: Index) -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        start = manager.Barrier(PROCESSES)
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            numbers = pool.starmap(extend_all, [(index.root, n, start) for n in range(PROCESSES)], chunksize=1)
    last = index.latest()
    assert last is not None
    own = [f"{process}-{n}" for process in range(PROCESSES) for n in range(EACH)]
    assert sorted(each.name for each in last.extensions) == sorted([*own, "shared"])
    assert last.number == PROCESSES * EACH + 1
    assert all(each == sorted(each) for each in numbers)
    for number in range(1, last.number):
        assert index.version(number).extensions == last.extensions[:number]
    assert index.garbage() == []
    assert len(read(index, last, REPRESENTATIVES)) == 3 * last.number


# Settings and formats


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"ngram": 7}, "made with ngram 5, and the job has ngram 7; give the job the settings of the index"),
        ({"bands": 1, "rows": 3}, "made with bands 2, rows 2, and the job has bands 1, rows 3"),
        ({"hashing": 2}, "made with hashing 1, and the job has hashing 2; use the release"),
    ],
)
def test_hashes_of_another_kind_are_refused(index: Index, change: dict[str, int], complaint: str) -> None:
    index.extend(written(index.root, "a"), FOUR)
    wanted = FOUR.model_copy(update=change)
    uses: list[Callable[[], object]] = [
        lambda: index.latest(wanted),
        lambda: index.version(1, wanted),
        lambda: index.extend(written(index.root, "b", made=wanted), wanted),
    ]
    for use in uses:
        with pytest.raises(OtherIndex, match=f"^{index.root}: was {complaint}"):
            use()
    assert index.store.list("versions") == ["versions/000001.json"]


def test_readers_take_any_partitions_and_writers_those_of_the_index(index: Index) -> None:
    version = index.extend(written(index.root, "a"), FOUR)
    eight = FOUR.model_copy(update={"partitions": 8})
    assert index.latest(eight) == version
    with pytest.raises(OtherIndex, match="made with partitions 4, and the job has partitions 8"):
        index.extend(written(index.root, "b", made=eight), eight)


def test_a_later_format_is_told_from_damage(index: Index) -> None:
    index.store.write_atomic("versions/000001.json", b'{"format": 2, "shards": []}')
    with pytest.raises(OtherIndex, match=r"000001\.json: has format 2, and this crawlmill reads 1"):
        index.latest()


@pytest.mark.parametrize("partitions", [0, 3, 5000, 2.0, True])
def test_partitions_are_equal(partitions: Any) -> None:
    with pytest.raises(ValidationError):
        Settings(ngram=5, bands=14, rows=8, partitions=partitions)


# Damage


def test_a_version_that_is_gone_or_another_is_said(index: Index) -> None:
    first = index.extend(written(index.root, "a", 1), FOUR)
    with pytest.raises(DamagedIndex, match=r"versions/000002\.json: .*no such file|No such file"):
        index.version(2)
    index.store.remove("versions/000001.json")
    second = index.extend(written(index.root, "b", 2), FOUR)
    assert second.number == first.number
    with pytest.raises(DamagedIndex, match="not the version that was pinned"):
        index.version(1, FOUR, first.sha256)


Change = Callable[[dict[str, Any]], Any]
A = "extensions/a/bands/part-00000-0123456789abcdef.parquet"


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("settings"),
        lambda v: v.update(number=7),
        lambda v: v.update(number="1"),
        lambda v: v.update(format="1"),
        lambda v: v.update(format=True),
        lambda v: v.update(surprise=1),
        lambda v: v["settings"].update(partitions=3),
        lambda v: v["settings"].update(partitions=2),
        lambda v: v["settings"].update(bands=10**30),
        lambda v: v["extensions"].append(v["extensions"][0]),
        lambda v: v["extensions"][0].update(name="b"),
        lambda v: v["extensions"][0].update(name="../a"),
        lambda v: v["extensions"][0]["bands"].reverse(),
        lambda v: v["extensions"][0]["bands"].append(v["extensions"][0]["bands"][-1]),
        lambda v: v["extensions"][0].update(bands=v["extensions"][0]["representatives"]),
        *(
            lambda v, path=path: v["extensions"][0]["bands"][0].update(path=path)
            for path in ["/etc/passwd", f"../{A}", f"extensions/../{A}", f"{A}\n", f"/{A}", A.replace("a/", "b/", 1),
                         A.replace("00000", "00001"), A.replace("bands", ".."), f"s3://bucket/{A}", "", None, 7]
        ),
        lambda v: v["extensions"][0]["bands"][0].update(rows=-1),
        lambda v: v["extensions"][0]["bands"][0].update(partition=-1),
        lambda v: v["extensions"][0]["bands"][0].update(sha256="0"),
    ],
)  # fmt: skip
def test_a_version_with_nonsense_in_it_is_refused(index: Index, change: Change) -> None:
    index.extend(written(index.root, "a"), FOUR)
    content = json.loads(index.store.read_bytes("versions/000001.json"))
    change(content)
    index.store.write_atomic("versions/000001.json", json.dumps(content).encode())
    refused(index)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 10**6, b'{"format":' * 10**5, b"1" * 10**5]
)
def test_a_version_that_is_no_version_is_refused(index: Index, data: bytes) -> None:
    index.store.write_atomic("versions/000001.json", data)
    refused(index)


def test_a_version_cut_short_anywhere_is_refused(index: Index) -> None:
    index.extend(written(index.root, "a"), FOUR)
    data = index.store.read_bytes("versions/000001.json")
    for end in range(0, len(data), 97):
        index.store.write_atomic("versions/000001.json", data[:end])
        refused(index)


def refused(index: Index) -> None:
    """Nobody reads it, builds on it, or removes anything."""
    extension = written(index.root, "later")
    for use in (index.latest, index.garbage, lambda: index.extend(extension, FOUR)):
        with pytest.raises(DamagedIndex, match=r"^/[^\n]*/versions/000001\.json: damaged: [^\n]+$"):
            use()
    assert index.store.list("versions") == ["versions/000001.json"]


def test_a_giant_of_a_version_is_not_read(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.extend(written(index.root, "a"), FOUR)
    monkeypatch.setattr("pipeline.index.MAX_BYTES", 100)
    with pytest.raises(DamagedIndex, match="more than 100 bytes"):
        index.latest()


def test_a_folder_in_the_place_of_a_version_stops_nobody_for_ever(index: Index) -> None:
    (Path(index.root) / "versions/000001.json").mkdir(parents=True)
    with pytest.raises((DamagedIndex, OSError), match=r"versions/000001\.json"):
        index.extend(written(index.root, "a"), FOUR)


def test_a_file_that_went_before_it_was_listed_is_not_listed(index: Index) -> None:
    extension = written(index.root, "a")
    index.store.remove(extension.bands[2].path)
    with pytest.raises(DamagedIndex, match=r"part-00002-.*gone before"):
        index.extend(extension, FOUR)
    assert index.latest() is None


def drop_column(table: pa.Table) -> pa.Table:
    return table.drop_columns(["representative"])


def other_type(table: pa.Table) -> pa.Table:
    return table.set_column(1, "representative", pa.array([1] * len(table), pa.int64()))


def unsorted(table: pa.Table) -> pa.Table:
    return table.take(list(range(len(table)))[::-1])


def from_elsewhere(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, len(table) - 1), rows_of(0, 50)["bands"].slice(99)])


def without_key(table: pa.Table) -> pa.Table:
    keys = table.column(0).to_pylist()
    return table.set_column(0, "band_key", pa.array([None, *keys[1:]], pa.uint64()))


def fewer(table: pa.Table) -> pa.Table:
    return table.slice(1)


BAD = [drop_column, other_type, unsorted, from_elsewhere, without_key, fewer]


def listed_as_it_is(index: Index, extension: Extension, settings: Settings = FOUR) -> Version:
    """A version that knows the first file of the extension's bands as it is now, however it came to be so."""
    file = extension.bands[0]
    with index.store.open_read(file.path) as stream:
        known = {"bytes": index.store.size(file.path), "footer": footer_digest(stream)}
    bands = (file.model_copy(update=known), *extension.bands[1:])
    return index.extend(extension.model_copy(update={"bands": bands}), settings)


@pytest.mark.parametrize("change", BAD)
def test_a_table_that_is_not_what_was_listed_is_refused(index: Index, change: Callable[[pa.Table], pa.Table]) -> None:
    extension = written(index.root, "a")
    path = Path(index.root) / extension.bands[0].path
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    version = listed_as_it_is(index, extension)
    with pytest.raises(DamagedIndex, match=rf"^{path}: damaged: [^\n]+$"):
        list(index.bands(version))


def test_another_file_in_the_place_of_one_that_was_listed_is_refused(index: Index) -> None:
    version = index.extend(written(index.root, "a"), FOUR)
    path = Path(index.root) / version.extensions[0].bands[0].path
    pq.write_table(pq.read_table(path, partitioning=None), path)
    with pytest.raises(DamagedIndex, match="bytes, not"):
        list(index.bands(version))


def test_order_is_watched_across_row_groups(index: Index) -> None:
    extension = written(index.root, "a")
    path = Path(index.root) / extension.bands[0].path
    table = pq.read_table(path, partitioning=None)
    half = len(table) // 2
    pq.write_table(pa.concat_tables([table.slice(half), table.slice(0, half)]), path, row_group_size=len(table) - half)
    version = listed_as_it_is(index, extension)
    with pytest.raises(DamagedIndex, match="out of the order"):
        list(index.bands(version))


def test_a_row_group_too_large_to_hold_is_not_read(index: Index) -> None:
    one = Settings(ngram=5, bands=1, rows=2, partitions=1)
    extension = written(index.root, "a", 3, BANDS.group_rows + 1, one)
    path = Path(index.root) / extension.bands[0].path
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=BANDS.group_rows + 1)
    version = listed_as_it_is(index, extension, one)
    with pytest.raises(DamagedIndex, match="a row group of 262145 rows"):
        list(index.bands(version))


def test_a_table_that_is_gone_is_said(index: Index) -> None:
    version = index.extend(written(index.root, "a"), FOUR)
    index.store.remove(version.extensions[0].bands[0].path)
    with pytest.raises(DamagedIndex, match=r"bands/part-00000-.*[Nn]o such file.*; put it back"):
        list(index.bands(version))
    assert len(read(index, version, BANDS, 2**62)) > 0  # other partitions


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_table_with_flipped_or_missing_bytes_gives_sorted_rows_or_a_line(index: Index, data: st.DataObject) -> None:
    store = index.store
    if (version := index.latest()) is None:
        version = index.extend(written(index.root, "a"), FOUR)
        (Path(index.root) / "good").write_bytes(store.read_bytes(version.extensions[0].bands[0].path))
    good = bytearray(store.read_bytes("good"))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(good), data.draw(st.integers(0, len(good)))]))
    (Path(index.root) / version.extensions[0].bands[0].path).write_bytes(bytes(good[:cut]))
    try:
        keys = read(index, version, BANDS, 0, 2**62).column(0).to_pylist()
    except DamagedIndex as error:
        assert "\n" not in str(error)
    else:
        assert keys == sorted(keys) and all(0 <= key < 2**62 for key in keys)


# Writing


@pytest.mark.parametrize("change", [drop_column, unsorted, from_elsewhere, without_key])
def test_rows_that_are_not_in_order_are_not_written(index: Index, change: Callable[[pa.Table], pa.Table]) -> None:
    table = rows_of(0, 50)["bands"]
    first = table.filter(pa.array(BANDS.partition(table.column(0).to_numpy(), 4) == 0))
    with pytest.raises(ValueError):
        write_partition(index.store, "a", BANDS, FOUR, 0, [first.slice(0, 1), change(first.slice(1))])
    with pytest.raises(ValueError, match="out of the order"):
        write_partition(index.store, "a", BANDS, FOUR, 0, [first.slice(3), first.slice(0, 3)])


# Numbers and partitions


def test_numbers_of_records_are_the_same_for_ever() -> None:
    rows = [{"shard": "anywhere", "offset": 0, "ordinal": 0}, {"shard": "else", "offset": 2**40, "ordinal": 1}]
    batch = pa.RecordBatch.from_pylist(rows, schema=RECORD)
    assert numbers_of(batch, "s").tolist() == PINNED
    assert numbers_of(batch.slice(1), "s").tolist() == PINNED[1:]
    assert not set(numbers_of(batch, "t").tolist()) & set(PINNED)


PINNED = [10_299_310_103_195_574_477, 10_345_346_225_854_014_221]
"""All indexes hang on them."""


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_a_representative_is_told_from_a_document(places: list[int]) -> None:
    numbers = record_numbers(np.array(places, np.uint64))
    assert [int(number) for number in numbers] == [2**63 + place // 2 for place in places]


@given(st.sampled_from(LAYOUTS), st.integers(0, 12), st.lists(st.integers(0, 2**64 - 1)))
def test_partitions_are_where_their_bounds_say(layout: Layout, power: int, values: list[int]) -> None:
    partitions = 2**power
    bounds = [layout.bounds(n, partitions) for n in range(partitions)]
    assert (bounds[0][0], bounds[-1][1]) == (layout.start, 2**64)
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    inside = [layout.start, 2**64 - 1, *(value for value in values if value >= layout.start)]
    for value, found in zip(inside, layout.partition(np.array(inside, np.uint64), partitions).tolist()):
        low, high = bounds[found]
        assert low <= value < high


def test_faults_survive_a_journey_from_a_worker() -> None:
    for kind in (DamagedIndex, OtherIndex):
        fault = pickle.loads(pickle.dumps(kind("place:\n cause")))
        assert isinstance(fault, IndexFault) and type(fault) is kind and str(fault) == "place: cause"
