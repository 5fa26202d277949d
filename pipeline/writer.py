"""Parquet whose bytes depend on the rows alone: row groups are cut by what the rows are, never by the batches they came
in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store import Store

GROUP_BYTES = 64 * 2**20
"""Bytes of text and payload at which a row group is closed, however few rows it has."""
_LARGE = ("text", "payload")
_DIFFERING = (*_LARGE, "id", "url", "signature")
"""Columns of which no two values are alike, so that a dictionary only costs; nor are hashes."""
ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Written:
    """A finished file. `groups` has (rows, compressed bytes) of each row group."""

    path: str
    rows: int
    bytes: int
    sha256: str
    groups: tuple[tuple[int, int], ...]

    def places(self, rows: Any) -> tuple[Any, Any]:
        """The row group of each row, and its place in there; rows: [n] of the file's."""
        counts = np.array([count for count, _ in self.groups], np.int64)
        ends = np.cumsum(counts)
        groups = np.searchsorted(ends, rows, "right")
        return groups, rows - (ends - counts)[groups]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Written:
        """The inverse of `dataclasses.asdict`, also after a journey through JSON."""
        return cls(**{**content, "groups": tuple((rows, size) for rows, size in content["groups"])})


class GroupWriter:
    """Writes rows to one Parquet file in row groups of `group_rows`, fewer where texts are long.

    Use as a context manager; `written` says what came of it once it is closed.
    """

    def __init__(self, store: Store, path: str, schema: pa.Schema, group_rows: int) -> None:
        self._path, self._schema, self._group_rows = path, schema, group_rows
        self._sink = _HashingSink(store.open_write(path))
        self._large = [f.name for f in schema if f.name in _LARGE]
        self._writer = pq.ParquetWriter(
            self._sink, schema,
            compression="zstd", compression_level=ZSTD_LEVEL, version="2.6", data_page_version="1.0",
            use_dictionary=[f.name for f in schema if f.name not in _DIFFERING and f.type != pa.uint64()],
            write_statistics=True, write_page_checksum=True,
        )  # fmt: skip
        self._pending: list[pa.RecordBatch] = []
        self._rows = self._bytes = self._total = 0
        self._groups: list[tuple[int, int]] = []
        self._written: Written | None = None

    def __enter__(self) -> GroupWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.is_open = False  # or it would write its footer to a closed file when collected
            self._sink.abandon(kind, error, trace)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; full row groups go out."""
        sizes = self._sizes(batch)
        start = 0
        while start < batch.num_rows:
            room = np.searchsorted(np.cumsum(sizes[start:]), GROUP_BYTES - self._bytes) + 1
            take = int(min(room, self._group_rows - self._rows, batch.num_rows - start))
            self._pending.append(batch.slice(start, take))
            self._rows += take
            self._bytes += int(sizes[start : start + take].sum())
            start += take
            if self._rows == self._group_rows or self._bytes >= GROUP_BYTES:
                self._flush()

    def end_group(self) -> int:
        """Close the row group that is being filled, if any; returns how many row groups there are."""
        if self._rows:
            self._flush()
        return len(self._groups)

    def close(self) -> Written:
        """Write what is left and make the file visible."""
        if self._written is None:
            self.end_group()
            self._writer.close()
            self._written = Written(self._path, self._total, *self._sink.close_and_hash(), tuple(self._groups))
        return self._written

    @property
    def written(self) -> Written:
        assert self._written is not None, "not closed yet"
        return self._written

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._pending, schema=self._schema).combine_chunks()
        before = self._sink.bytes
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._groups.append((table.num_rows, self._sink.bytes - before))
        self._total += table.num_rows
        self._pending, self._rows, self._bytes = [], 0, 0

    def _sizes(self, batch: pa.RecordBatch) -> Any:
        sizes = np.zeros(batch.num_rows, np.int64)
        for name in self._large:
            sizes += pc.binary_length(batch.column(name)).fill_null(0).to_numpy(zero_copy_only=False)
        return sizes


class _HashingSink:
    """What pyarrow writes to: counts and hashes the bytes on their way to storage."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest, self.bytes = stream, hashlib.sha256(), 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self.bytes += len(data)
        return self._stream.write(data)

    def flush(self) -> None:
        """Nothing is promised before `close_and_hash`."""

    def close(self) -> None:
        """pyarrow closes what it wrote to; the file ends in `close_and_hash`, which may still be forgone."""

    def tell(self) -> int:
        return self.bytes

    def writable(self) -> bool:
        return True

    def close_and_hash(self) -> tuple[int, str]:
        self._stream.close()
        return self.bytes, self._digest.hexdigest()

    def abandon(self, kind: Any, error: Any, trace: Any) -> None:
        self._stream.__exit__(kind, error, trace)


def write_all(
    store: Store, path: str, schema: pa.Schema, group_rows: int, batches: Iterable[pa.RecordBatch]
) -> Written:
    """One file of all batches."""
    with GroupWriter(store, path, schema, group_rows) as writer:
        for batch in batches:
            writer.write(batch)
    return writer.written


def read_batches(
    store: Store, path: str, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """A file's row groups in order, each a batch, so that a reader holds what a writer held; all columns and all groups
    where none are named.
    """
    with store.open_read(path) as stream:
        parquet = pq.ParquetFile(stream)
        for number in range(parquet.num_row_groups) if groups is None else groups:
            group = parquet.read_row_group(number, columns=columns, use_threads=False)
            yield from group.combine_chunks().to_batches()
