"""The last rewrite: kept rows of all shards into parts of the wanted size, in the order of inputs.

Which rows make a part follows from the sizes that the shards reported, so the same job packs the same parts wherever it
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store import Store
from pipeline.tasks import DATA_GROUP_ROWS, ShardReport
from pipeline.writer import Written, write_all
from stages.stage import RECORD

DATA = pa.schema(
    [
        pa.field("text", pa.large_string()),
        *(pa.field(name, pa.string()) for name in ("id", "dump", "url", "date", "file_path", "language")),
        pa.field("language_score", pa.float64()),
        pa.field("token_count", pa.int64()),
        pa.field("media", pa.string()),
        pa.field("minhash_cluster_size", pa.int64()),  # null unless it met others by minhash
        *(RECORD.field(name) for name in ("page_ends", "per_page_languages")),
        pa.field("is_truncated", pa.bool_()),  # whether a PDF's text is not all of it
        RECORD.field("extractor"),
    ]
)
"""Columns of `data/`, named as in the published FineWeb and FinePDFs; the last four are null but for PDFs."""


@dataclass(frozen=True)
class Piece:
    """Some row groups of one kept file."""

    path: str
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One file of `data/` to be: its rows lie in `pieces`."""

    path: str
    pieces: tuple[Piece, ...]


def plan_parts(reports: Sequence[ShardReport], shard_bytes: int) -> list[Part]:
    """Parts of about `shard_bytes`, filled across shards in the order of inputs; each partition has its own."""
    parts = []
    for partition in sorted({name for report in reports for name in report.kept_files}):
        files = [
            report.kept_files[partition] for report in sorted(reports, key=_number) if partition in report.kept_files
        ]
        for number, pieces in enumerate(_filled(files, shard_bytes)):
            parts.append(Part(part_path(partition, number), tuple(pieces)))
    return parts


def part_path(partition: str, number: int) -> str:
    return "/".join(filter(None, ("data", partition, f"part-{number:05d}.parquet")))


def write_part(store: Store, part: Part, attempt: str) -> Written:
    """Write one part under `attempt` (a path in `.work/`) and move it to its place."""
    batches = (published(batch) for batch in _rows(store, part))
    written = write_all(store, attempt, DATA, DATA_GROUP_ROWS, batches)
    store.move(attempt, part.path)
    return Written(part.path, written.rows, written.bytes, written.sha256, written.groups)


def _number(report: ShardReport) -> int:
    return report.number


def _filled(files: Sequence[Written], shard_bytes: int) -> Iterator[list[Piece]]:
    """Row groups in order, cut where their sizes reach `shard_bytes`."""
    part: list[Piece] = []
    size = 0
    for file in files:
        here: list[int] = []
        for number, (_, group_bytes) in enumerate(file.groups):
            here.append(number)
            size += group_bytes
            if size >= shard_bytes:
                yield [*part, Piece(file.path, tuple(here))]
                part, here, size = [], [], 0
        if here:
            part.append(Piece(file.path, tuple(here)))
    if part:
        yield part


def _rows(store: Store, part: Part) -> Iterator[pa.RecordBatch]:
    for piece in part.pieces:
        with store.open_read(piece.path) as stream:
            yield from pq.ParquetFile(stream).iter_batches(DATA_GROUP_ROWS, row_groups=list(piece.groups))


def published(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns that users get."""
    given = {name: batch.column(name) for name in batch.schema.names} | {"file_path": batch.column("shard")}
    truncated = batch.column("truncated").is_valid()
    given["is_truncated"] = pc.if_else(pc.equal(batch.column("media"), "pdf"), truncated, None)
    columns = [given.get(f.name, pa.nulls(batch.num_rows, f.type)) for f in DATA]
    return pa.RecordBatch.from_arrays(columns, schema=DATA)
