"""The files of an index across snapshots: one partition of one table, written once and read by ranges.

Rows are checked on both ways: a reader gets them sorted and in their partition, or an error. Which files there are is
`pipeline.index`'s business, and what is in them that of `stages.dedup.index`.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from pipeline.faults import MissingFile, StoreError
from pipeline.store import Store
from pipeline.writer import write_all
from stages.dedup.index import Layout, Settings, disorder, last_row, schema

FOLDER = "extensions"
DIGEST = "^[0-9a-f]{64}$"
MAX_FOOTER = 2**24
"""Bytes of metadata that are read into memory; those of 1,000 row groups of representatives are 2.8 MB."""
PATTERN = r"^extensions/[0-9A-Za-z_-]+/(bands|representatives)/part-[0-9]{5}-[0-9a-f]{16}\.parquet$"


class IndexFault(ValueError):
    """An index cannot be used as a job wants it. One line: place, cause, what to do.

    IndexFault
    ├── DamagedIndex   something is gone, cut short, or not what it should be
    └── OtherIndex     made with other settings, or in another format
    """

    def __init__(self, line: str) -> None:
        super().__init__(" ".join(line.split()))


class DamagedIndex(IndexFault):
    """Something is gone, cut short, or not what it should be."""


class OtherIndex(IndexFault):
    """Made with other settings, or in another format."""


class File(BaseModel):
    """One partition of one table of one extension."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[str, Field(pattern=PATTERN)]
    """Relative to the index; the pattern leaves no way out of it."""
    partition: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=DIGEST)]
    footer: Annotated[str, Field(pattern=DIGEST)]
    """The `footer_digest`, which a reader checks at once; checking `sha256` would mean to read the whole file."""


def folder_of(extension: str, layout: Layout) -> str:
    """Where the files of a table of an extension lie."""
    return f"{FOLDER}/{extension}/{layout.name}"


def write_partition(
    store: Store, extension: str, layout: Layout, settings: Settings, partition: int, tables: Iterable[pa.Table]
) -> File | None:
    """Write one partition of an extension; None where it has no rows, and no file then.

    `tables` have the columns of `schema(layout, settings)`, and their rows are sorted; raises ValueError where they are
    not. Each call writes a file of its own, so a task may be tried again beside its first attempt.
    """
    rows = _checked(tables, layout, settings, partition)
    first = next(rows, None)
    if first is None:
        return None
    path = f"{folder_of(extension, layout)}/part-{partition:05d}-{secrets.token_hex(8)}.parquet"
    batches = (batch for table in chain([first], rows) for batch in table.to_batches())
    written = write_all(store, path, schema(layout, settings), layout.group_rows, batches)
    with store.open_read(path) as stream:
        footer = footer_digest(stream)
    return File(
        path=path, partition=partition, rows=written.rows, bytes=written.bytes, sha256=written.sha256, footer=footer
    )


def read_partition(
    store: Store, file: File, layout: Layout, settings: Settings, low: int, high: int
) -> Iterator[pa.Table]:
    """Rows whose first column is from `low` to below `high`, sorted, at most a row group at a time.

    Row groups out of the range are not read. Raises DamagedIndex where the file is gone, or is not what was listed as
    far as it was read (its digest is not computed), and StoreError where storage fails.
    """
    place = f"{store.root}/{file.path}"
    try:
        with store.open_read(file.path) as stream:
            if stream.seek(0, io.SEEK_END) != file.bytes:
                raise ValueError(f"{stream.tell()} bytes, not {file.bytes}")
            if footer_digest(stream) != file.footer:
                raise ValueError("other metadata than it was written with")
            parquet = _opened(stream, file, schema(layout, settings))
            for table in _checked(_groups(parquet, layout, low, high), layout, settings, file.partition):
                keys = table.column(0).to_numpy()
                start, end = (_below(keys, bound) for bound in (low, high))
                if start < end:
                    yield table.slice(start, end - start)
    except MissingFile as error:
        raise DamagedIndex(f"{error}; put it back from a copy, or begin another index") from error
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # all that a damaged Parquet file raises
        said = (str(error) or type(error).__name__).partition("\n")[0]
        raise DamagedIndex(f"{place}: damaged: {said}; put it back from a copy, or begin another index") from error


def _opened(stream: Any, file: File, columns: pa.Schema) -> pq.ParquetFile:
    parquet = pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)
    if not parquet.schema_arrow.equals(columns):
        have = ", ".join(f"{field.name} {field.type}" for field in parquet.schema_arrow)
        raise ValueError(f"columns {have[:200]} instead of those of an index")
    if parquet.metadata.num_rows != file.rows:
        raise ValueError(f"{parquet.metadata.num_rows} rows, not {file.rows}")
    return parquet


def _groups(parquet: pq.ParquetFile, layout: Layout, low: int, high: int) -> Iterator[pa.Table]:
    """Row groups that may have rows in the range."""
    for number in range(parquet.metadata.num_row_groups):
        group = parquet.metadata.row_group(number)
        if group.num_rows > layout.group_rows:
            raise ValueError(f"a row group of {group.num_rows} rows")
        known = group.column(0).statistics
        if known is None or not known.has_min_max or (known.min < high and known.max >= low):
            yield parquet.read_row_group(number, use_threads=False)


def footer_digest(stream: BinaryIO) -> str:
    """sha256 of the end of a Parquet file: its metadata, their length, the magic number. ValueError where it has none.

    Arrow must not see metadata in which a bit has flipped: looking at a column of theirs can end the process
    (pyarrow 26: "terminate called after throwing an instance of ParquetException").
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - 8, 0))
    length = 8 + int.from_bytes(stream.read(4), "little")
    if length > min(size, MAX_FOOTER):
        raise ValueError(f"no Parquet file: {size} bytes, of which {length} are its metadata")
    stream.seek(size - length)
    return hashlib.sha256(stream.read(length)).hexdigest()


def _checked(tables: Iterable[pa.Table], layout: Layout, settings: Settings, partition: int) -> Iterator[pa.Table]:
    """The tables that have rows. Raises ValueError where a row has not come where it should."""
    low, high = layout.bounds(partition, settings.partitions)
    last = None
    for given in tables:
        if not given.num_rows:
            continue
        table = given.cast(schema(layout, settings))
        problem = disorder(table, layout, low, high, last)
        if problem is not None:
            raise ValueError(problem)
        last = last_row(table, layout)
        yield table


def _below(keys: Any, bound: int) -> int:
    """How many of the sorted uint64 keys are less than `bound`, which may be 2**64 or more."""
    return len(keys) if bound >= 2**64 else int(np.searchsorted(keys, np.uint64(max(bound, 0))))
