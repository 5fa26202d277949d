"""Sorted runs of rows on storage: written cut into partitions, and merged again in windows of bounded size."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.store import Store

WINDOW_BYTES = 2**22
"""Rows of one window, and so what a decider's copies are made of."""

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Run:
    """A sorted run: IPC streams of one batch each, end to end, `ends` [streams + 1] in bytes (the first is 0), so that
    a piece is read by its place alone. The streams of partition p are first[p]:first[p + 1].
    """

    path: str
    ends: tuple[int, ...]
    first: tuple[int, ...]


def blocks(tables: Iterator[pa.Table], limit: int) -> Iterator[list[pa.Table]]:
    """The same rows in lists of about `limit` bytes."""
    pending: list[pa.Table] = []
    size = 0
    for table in tables:
        for part in slices(table, limit):
            if pending and size + part.nbytes > limit:
                yield pending
                pending, size = [], 0
            pending.append(part)
            size += part.nbytes
    if pending:
        yield pending


def slices(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Equal slices of a table, of at most `limit` bytes where rows are equally long."""
    step = max(1, limit * table.num_rows // max(1, table.nbytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)


def write_run(
    store: Store, path: str, order: tuple[str, ...], bounds: U64, piece_bytes: int, block: list[pa.Table]
) -> Run:
    """Sort the rows of a block, which it empties, and write them, cut where `key` reaches each of `bounds`."""
    key = block[0].schema.field("key")
    if key.type != pa.uint64():
        raise TypeError(f"the key is {key.type}, not uint64")
    table = _sorted(block, order)
    cuts = [0, *np.searchsorted(table.column("key").to_numpy(), bounds).tolist(), table.num_rows]
    ends, first = [0], [0]
    with store.open_write(path) as sink:
        for low, high in pairwise(cuts):
            for piece in slices(table.slice(low, high - low), piece_bytes):
                with pa.ipc.new_stream(sink, piece.schema) as stream:
                    stream.write_table(piece)
                ends.append(sink.tell())
            first.append(len(ends) - 1)
    return Run(path, tuple(ends), tuple(first))


def merged(
    store: Store, pieces: Sequence[tuple[str, tuple[int, ...]]], order: tuple[str, ...], limit: int
) -> Iterator[pa.Table]:
    """Sorted windows over sorted runs, of about `limit` bytes and at least one stream of each run.

    Read next is always the run whose last row in hand is least (forecasting: Knuth, The Art of Computer Programming,
    volume 3, 5.4.6). Rows up to that one are complete, and of each run at most one stream lies beyond it.
    """
    heads: list[tuple[tuple[int, ...], int, int]] = [((), run, 0) for run in range(len(pieces))]  # () comes first
    held: list[pa.Table] = []
    while heads:
        size = sum(table.nbytes for table in held)
        while heads:
            last, run, at = heads[0]
            if last and size >= limit and len(held) > 1:
                break
            heapq.heappop(heads)
            path, ends = pieces[run]
            table = _read_stream(store, path, ends[at], ends[at + 1])
            held.append(table)
            size += table.nbytes
            if at + 2 < len(ends):
                heapq.heappush(heads, (_row(table, order, table.num_rows - 1), run, at + 1))
        table = _sorted(held, order)
        complete = _up_to(table, order, heads[0][0]) if heads else table.num_rows
        yield from slices(table.slice(0, complete), WINDOW_BYTES)
        held = [table.slice(complete)]
        del table


def _read_stream(store: Store, path: str, start: int, end: int) -> pa.Table:
    with store.open_read(path) as stream:
        stream.seek(start)
        content = stream.read(end - start)
    return pa.ipc.open_stream(content).read_all()


def _sorted(tables: list[pa.Table], order: tuple[str, ...]) -> pa.Table:
    """One table of all rows. Empties `tables`, so that they do not lie about while the rows are copied once more."""
    table = pa.concat_tables(tables).combine_chunks()
    tables.clear()
    return table.take(_places([table.column(name).chunk(0).to_numpy() for name in order]))  # refuses nulls


def _places(columns: list[npt.NDArray[Any]]) -> pa.Array:
    """Where the rows stand that come first, second … by the columns."""
    places = np.argsort(columns[0], kind="stable")  # timsort: where runs are merged, twice as fast as quicksort
    arranged = columns[0][places]
    same = arranged[1:] == arranged[:-1]
    del arranged
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = places[tied]
        places[tied] = rows[np.lexsort([column[rows] for column in reversed(columns)])]
    return pa.array(places)


def _row(table: pa.Table, order: tuple[str, ...], at: int) -> tuple[int, ...]:
    return tuple(table.column(name)[at].as_py() for name in order)


def _up_to(table: pa.Table, order: tuple[str, ...], row: tuple[int, ...]) -> int:
    """How many rows of a sorted table are not greater than `row`."""
    low, high = 0, int(table.num_rows)
    for name, value in zip(order, row):
        column = table.column(name).slice(low, high - low).to_numpy()
        wanted = column.dtype.type(value)  # a plain int would turn both sides into floats
        high = low + int(np.searchsorted(column, wanted, "right"))
        low += int(np.searchsorted(column, wanted))
    return high
