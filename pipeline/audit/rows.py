"""Rows of published files, read with suspicion: checked for type and order, made comparable, their faults in words.

Nothing here knows what the rows mean; `pipeline.audit.account` and `pipeline.audit.kept` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.audit.dataset import File
from pipeline.report.visible import line
from pipeline.store import Store

UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What opening and decoding a damaged Parquet file raises."""
PLACE = ("offset", "ordinal")
SAME = ("id", "url", "media")
"""What a ledger row and a data row of one record share."""
WINDOW = 10_000
"""Rows of a ledger in memory at a time."""
_BUFFER = 2**20  # of a column chunk at a time, whatever size the file says it has
_MAX_LINE = 500

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """Something that is not as the manifest or the ledger says. Both are one line without control characters."""

    path: str
    """Of the file, relative to the dataset."""
    problem: str

    def __post_init__(self) -> None:
        for name in ("path", "problem"):
            object.__setattr__(self, name, line(" ".join(getattr(self, name).split()), _MAX_LINE))


@dataclass
class RowSum:
    """What a multiset of rows comes to, in whatever order they come; sums are mod 2^64."""

    rows: int = 0
    sum: int = 0

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        self.rows += len(hashes)
        self.sum = (self.sum + int(hashes.sum(dtype=np.uint64))) % 2**64


class Notes:
    """Problems of one file: each kind once, with how many rows have it and which is the first."""

    def __init__(self, path: str) -> None:
        self._path, self._said = path, list[str]()
        self._rows: dict[str, tuple[int, str]] = {}

    def say(self, problem: str) -> None:
        self._said.append(problem)

    def damage(self, error: BaseException) -> None:
        self.say(f"cannot be read to its end: {str(error) or type(error).__name__}")

    def count(self, problem: str, rows: int, example: str) -> None:
        before, first = self._rows.get(problem, (0, example))
        self._rows[problem] = (before + rows, first)

    def rows(self, problem: str, batch: pa.RecordBatch, where: Bools) -> None:
        """Note the rows of a batch in which `where` is true."""
        if where.any():
            row = int(np.argmax(where))
            offset, ordinal = (batch.column(name)[row].as_py() for name in PLACE)
            self.count(problem, int(where.sum()), f"offset {offset}, ordinal {ordinal}")

    def differences(self) -> list[Difference]:
        counted = (
            f"{rows:,} row{'s' * (rows != 1)} {problem} (first: {first})"
            for problem, (rows, first) in self._rows.items()
        )
        return [Difference(self._path, said) for said in (*self._said, *counted)]


def read_rows(store: Store, file: File, schema: pa.Schema, size: int, notes: Notes) -> Iterator[pa.RecordBatch]:
    """Some columns of a file. Raises ValueError where they are not what they should be."""
    with store.open_read(file.path) as stream:
        parquet = pq.ParquetFile(stream, buffer_size=_BUFFER)
        rows, there = parquet.metadata.num_rows, parquet.schema_arrow
        if rows != file.rows:
            notes.say(f"{rows:,} rows; the manifest says {file.rows:,}")
        for wanted in schema:
            at = there.get_field_index(wanted.name)
            if at < 0 or there.field(at).type != wanted.type:
                raise ValueError(f"column {wanted.name} of type {wanted.type} is not there")
        for batch in parquet.iter_batches(size, columns=schema.names, use_threads=False):
            if batch.num_rows:
                batch.validate(full=True)
                yield batch.select(schema.names)


def in_order(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches. Raises ValueError where a place is no greater than the one before: repeated, or moved."""
    last = (-1, -1)
    for batch in batches:
        if any(batch.column(name).null_count for name in ("shard", *PLACE)):
            raise ValueError("a row without shard, offset or ordinal")
        offset, ordinal = (
            np.concatenate([[before], batch.column(name).to_numpy()]) for before, name in zip(last, PLACE)
        )
        grows = (offset[1:] > offset[:-1]) | ((offset[1:] == offset[:-1]) & (ordinal[1:] > ordinal[:-1]))
        if not grows.all():
            row = int(np.argmin(grows)) + 1
            raise ValueError(
                f"the record at offset {offset[row]}, ordinal {ordinal[row]} repeats, or stands in the wrong order"
            )
        last = (int(offset[-1]), int(ordinal[-1]))
        yield batch


def row_words(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """Some columns of each row as one string, [rows]."""
    columns = [batch.column(name).cast(pa.string()) for name in names]
    return pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace", null_replacement="\0")


def row_hashes(batch: pa.RecordBatch, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64-bit hashes of some columns of each row, [rows]."""
    strings = row_words(batch, names).cast(pa.binary()).to_pylist()
    return np.frombuffer(b"".join(blake2b(string, digest_size=8).digest() for string in strings), np.uint64)


def mask(values: Any) -> Bools:
    """A boolean Arrow array as numpy's; nulls are false."""
    found: Bools = np.asarray(values.to_numpy(zero_copy_only=False), bool)
    return found
