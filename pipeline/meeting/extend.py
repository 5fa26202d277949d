"""What a run keeps goes into an index, for later snapshots to meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa

from pipeline.exchange import Exchange, Hall, Source, Step
from pipeline.index import Extension, Index, Version, input_number, numbers_of
from pipeline.index_tables import File, write_partition
from pipeline.store import Store
from pipeline.tasks import ShardReport
from pipeline.writer import read_batches
from stages.dedup.index import BANDS, REPRESENTATIVES, Layout, Numbers, Settings, schema
from stages.dedup.minhash import MinHash
from stages.dedup.signature import band_keys, unpack

_LISTED = pa.schema([pa.field("file", pa.string())])  # a File as JSON


@dataclass(frozen=True)
class _Shard:
    """Where a shard's records met, and where those lie that were kept in the end."""

    sha256: str
    emitted: str
    kept: tuple[str, ...]


def extend_index(
    hall: Hall,
    stage: MinHash,
    index: Index,
    name: str,
    snapshot: str,
    met: Sequence[ShardReport],
    ended: Sequence[ShardReport],
) -> Generator[Step, None, Version]:
    """Add the records that are kept in the end to an index, as the extension `name`: nothing where it has that.

    met: reports of the segment that ends at the meeting; ended: those of the last. Raises IndexFault, MeetingFailed and
    StoreError.
    """
    settings = settings_of(stage)
    newest = index.latest(settings)
    if newest is not None and any(each.name == name for each in newest.extensions):
        return newest
    kept = {report.number: tuple(file.path for file in report.kept_files.values()) for report in ended}
    sources = [
        Source(_Shard(report.sha256, report.files["emitted"].path, kept[report.number]), report.kept)
        for report in met
        if report.unreadable is None
    ]
    files: dict[str, tuple[File, ...]] = {}
    for layout, rows, size in ((BANDS, stage.bands, 16), (REPRESENTATIVES, 1, 8 * stage.hashes + 160)):
        exchange = Exchange(
            name=f"index.{layout.name}",
            emit=partial(_emit, stage, layout),
            decide=partial(_write, index.root, name, layout, settings),
            order=("key", "representative"),
            row_bytes=size,
            bounds=tuple(layout.bounds(part, settings.partitions)[0] for part in range(1, settings.partitions)),
        )
        found = yield from hall.run(exchange, [Source(each.item, each.rows * rows) for each in sources])
        tables = hall.read(found.get("files", []))
        listed = [File.model_validate_json(row) for table in tables for row in table["file"].to_pylist()]
        files[layout.name] = tuple(sorted(listed, key=lambda file: file.partition))
    extension = Extension(name=name, snapshot=snapshot, bands=files["bands"], representatives=files["representatives"])
    return index.extend(extension, settings)


def extension_name(reports: Sequence[ShardReport], recipe: str) -> str:
    """What a run adds to an index is known by: a digest of its inputs and of what was done with them."""
    inputs = [report.sha256 for report in reports if report.unreadable is None]
    return hashlib.sha256(json.dumps([inputs, recipe]).encode()).hexdigest()[:32]


def settings_of(stage: MinHash) -> Settings:
    """Those that an index must have for the stage to meet it."""
    return Settings(ngram=stage.ngram, bands=stage.bands, rows=stage.rows)


def _emit(stage: MinHash, layout: Layout, store: Store, shard: _Shard) -> Iterator[pa.Table]:
    kept = np.concatenate([np.zeros(0, np.uint64), *_numbers(store, shard)])
    for batch in read_batches(store, shard.emitted):
        numbers = numbers_of(batch, shard.sha256)
        here = np.isin(numbers, kept) & batch.column("signature").is_valid().to_numpy(zero_copy_only=False)
        rows, numbers = batch.filter(pa.array(here)), numbers[here]
        if layout == BANDS:
            keys = band_keys(unpack(rows.column("signature")), stage.bands, stage.rows)
            yield pa.table({"key": keys.reshape(-1), "representative": np.repeat(numbers, stage.bands)})
        else:
            columns = schema(layout, settings_of(stage))
            inputs = np.full(len(numbers), input_number(shard.sha256), np.uint64)
            given = {"representative": pa.array(numbers), "snapshot": rows.column("dump"), "input": pa.array(inputs)}
            table = pa.table([given.get(f.name, _column(rows, f.name)) for f in columns], schema=columns)
            yield table.append_column("key", pa.array(numbers))


def _column(rows: pa.RecordBatch, name: str) -> pa.Array | None:
    return rows.column(name) if name in rows.schema.names else None


def _numbers(store: Store, shard: _Shard) -> Iterator[Numbers]:
    """Of the records that were kept."""
    for path in shard.kept:
        for batch in read_batches(store, path, ("offset", "ordinal")):
            yield numbers_of(batch, shard.sha256)


def _write(
    root: str, name: str, layout: Layout, settings: Settings, store: Store, windows: Iterator[pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """One partition to the index; what is decided is the file that it made."""
    first = next(windows)
    columns = {"band_key": "key"} if layout == BANDS else {}
    names = schema(layout, settings).names
    tables = (
        table.select([columns.get(each, each) for each in names]).rename_columns(names)
        for table in chain([first], windows)
    )
    number = int(layout.partition(first["key"].to_numpy()[:1], settings.partitions)[0])
    file = write_partition(Store(root), name, layout, settings, number, tables)
    if file is not None:
        yield "files", pa.table([[file.model_dump_json()]], schema=_LISTED)
