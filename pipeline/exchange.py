"""The one place where records of different shards meet.

An exchange has two halves. Scatter: sources emit rows with a 64-bit key, and sorted runs of them are written, each cut
into partitions by ranges of the key. Gather: a partition merges its rows from all runs and decides, in order of the
key; what it decides are files, sources of the next exchange. `Hall` takes an exchange through both on an engine, and
goes on where a killed one left off.

Memory is bounded whatever the keys: a partition of one key only is as large as it likes, and comes in windows. Nothing
here knows what rows mean. An object store is asked once for each run and partition: the square of the data's size over
`task_bytes`, which is a million for a snapshot's band keys (34 GB) and too many for a hundred snapshots at one meeting.
"""

from __future__ import annotations

import ctypes
import heapq
import json
import resource
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import Context, Done, Engine
from pipeline.faults import StoreError
from pipeline.keys import record_keys
from pipeline.store import Store
from pipeline.writer import GroupWriter

TASK_BYTES = 32 * 2**20
"""Rows that a task holds at once. Sorting and copying make five times as much of them, the libraries add 200 MB."""
BATCH_BYTES = 2**19
"""Rows of one batch of a file, which is what a reader holds."""

WINDOW_BYTES = 2**22
"""Rows of one window, and so what a decider's copies are made of."""

U64 = npt.NDArray[np.uint64]


class MeetingFailed(RuntimeError):
    """A task of an exchange failed. What is done stays done: running it again goes on from there."""


@dataclass(frozen=True)
class Rows:
    """A finished Arrow IPC file of at least one row."""

    path: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Source:
    """What an emitter reads (picklable), and about how many rows it will make of it."""

    item: Any
    rows: int


@dataclass(frozen=True)
class Exchange:
    """What is exchanged, and what becomes of it. Picklable: `emit` and `decide` are functions of a module, or partials.

    Both are pure: they may run more than once, and only what one complete call yields counts.
    """

    name: str
    """Of its files; unique within a hall."""
    emit: Callable[[Store, Any], Iterator[pa.Table]]
    """Tables of one schema, each of a bounded size, of what a source's item names."""
    decide: Callable[[Store, Iterator[pa.Table]], Iterator[tuple[str, pa.Table]]]
    """Takes a partition's rows in windows, sorted by `order` within and across them; a key's rows may span windows.
    Gives (name of an output, rows). What it decides may not depend on where windows and partitions end; keys never
    span partitions.
    """
    order: tuple[str, ...]
    """Integer columns without nulls, uint64 "key" first. Rows that are equal in all of them are interchangeable."""
    row_bytes: int
    bounds: tuple[int, ...] | None = None
    """First keys of all partitions but the first; None: equal ranges, as many as the rows need."""


@dataclass(frozen=True)
class Step:
    """How far an exchange is; `peak_memory` is the most bytes that a process of this phase was seen to hold."""

    phase: str
    done: int
    tasks: int
    peak_memory: int


Outputs = dict[str, list[Rows]]


@dataclass(frozen=True)
class Hall:
    """Where exchanges take place: their files lie in `folder`, which nobody else may use and its owner removes."""

    store: Store
    engine: Engine
    folder: str
    task_bytes: int = TASK_BYTES
    batch_bytes: int = BATCH_BYTES

    def run(self, exchange: Exchange, sources: Sequence[Source]) -> Generator[Step, None, Outputs]:
        """Returns the outputs by name, each in order of partitions; at once where an earlier attempt finished them.

        Raises MeetingFailed.
        """
        place = f"{self.folder}/{exchange.name}"
        if self.store.exists(f"{place}.json"):
            return {
                name: [Rows(*each) for each in found]
                for name, found in json.loads(self.store.read_bytes(f"{place}.json")).items()
            }
        bounds = self._bounds(exchange, sources)
        runs = yield from self._scattered(exchange, sources, bounds)
        self.store.remove_tree(f"{place}/out")  # of an attempt that was killed
        tasks = [task for number in range(len(bounds) + 1) if (task := _Gathering.of(number, runs)).pieces]
        gathered = yield from self._map(f"{exchange.name} gather", partial(_gather, self._desk(exchange)), tasks)
        outputs: Outputs = {}
        for found in gathered:
            for name, rows in found.items():
                outputs.setdefault(name, []).append(rows)
        self._note(f"{place}.json", {name: [astuple(each) for each in found] for name, found in outputs.items()})
        self.store.remove_tree(f"{place}/runs")
        self.store.remove(f"{place}.scattered.json")
        return outputs

    def read(self, rows: Sequence[Rows]) -> Iterator[pa.Table]:
        """Their rows in order, in tables of at most `batch_bytes`."""
        for each in rows:
            yield from read_rows(self.store, each)

    def discard(self, rows: Sequence[Rows]) -> None:
        """Remove what a finished exchange has replaced; an attempt that goes on after it does not read it again."""
        for each in rows:
            self.store.remove(each.path)

    def _scattered(
        self, exchange: Exchange, sources: Sequence[Source], bounds: U64
    ) -> Generator[Step, None, list[_Run]]:
        place = f"{self.folder}/{exchange.name}"
        if self.store.exists(f"{place}.scattered.json"):
            content = json.loads(self.store.read_bytes(f"{place}.scattered.json"))
            return [_Run(path, tuple(ends), tuple(first)) for path, ends, first in content]
        self.store.remove_tree(f"{place}/runs")  # of an attempt that was killed
        tasks = list(self._grouped(exchange, sources))
        desk = self._desk(exchange)
        piece_bytes = max(1, min(self.batch_bytes, self.task_bytes // max(1, len(tasks), len(bounds))))
        work = partial(_scatter, desk, bounds, piece_bytes)
        found = yield from self._map(f"{exchange.name} scatter", work, tasks)
        runs = [run for each in found for run in each]
        self._note(f"{place}.scattered.json", [astuple(run) for run in runs])
        return runs

    def _grouped(self, exchange: Exchange, sources: Sequence[Source]) -> Iterator[_Scattering]:
        """Tasks of sources in order, each of about one run."""
        number, items, size = 0, list[Any](), 0
        for source in sources:
            expected = source.rows * exchange.row_bytes
            if items and size + expected > self.task_bytes:
                yield _Scattering(number, tuple(items))
                number, items, size = number + 1, [], 0
            items.append(source.item)
            size += expected
        if items:
            yield _Scattering(number, tuple(items))

    def _bounds(self, exchange: Exchange, sources: Sequence[Source]) -> U64:
        if exchange.bounds is not None:
            return np.array(exchange.bounds, np.uint64)
        expected = sum(source.rows for source in sources) * exchange.row_bytes
        partitions = max(1, -(-expected // self.task_bytes))
        return np.array([-(-(number << 64) // partitions) for number in range(1, partitions)], np.uint64)

    def _desk(self, exchange: Exchange) -> _Desk:
        return _Desk(self.store, exchange, f"{self.folder}/{exchange.name}", self.task_bytes, self.batch_bytes)

    def _note(self, path: str, content: Any) -> None:
        self.store.write_atomic(path, json.dumps(content, separators=(",", ":")).encode())

    def _map(self, phase: str, work: Any, tasks: Sequence[Any]) -> Generator[Step, None, list[Any]]:
        """Results in the order of tasks."""
        results: dict[int, Any] = {}
        peak = 0
        yield Step(phase, 0, len(tasks), 0)
        for event in self.engine.map(work, tasks, lambda task: f"{phase} {task.number}"):
            if not isinstance(event, Done):
                continue
            if event.result is None:
                error, label = event.error, f"{phase} {event.item.number}"
                said = str(error) if isinstance(error, StoreError) else f"{label}: {type(error).__name__}: {error}"
                raise MeetingFailed(" ".join(said.split())[:400]) from error
            results[event.item.number], memory = event.result
            peak = max(peak, memory)
            yield Step(phase, len(results), len(tasks), peak)
        return [results[number] for number in sorted(results)]


def read_rows(store: Store, rows: Rows) -> Iterator[pa.Table]:
    """What an emitter uses to read a file that an exchange left, batch by batch."""
    with store.open_read(rows.path) as stream:
        reader = pa.ipc.open_file(stream)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


# What the engine's workers do


@dataclass(frozen=True)
class _Desk:
    store: Store
    exchange: Exchange
    folder: str
    task_bytes: int
    batch_bytes: int


@dataclass(frozen=True)
class _Scattering:
    number: int
    items: tuple[Any, ...]


@dataclass(frozen=True)
class _Run:
    """A sorted run: IPC streams of one batch each, end to end, `ends` [streams + 1] in bytes (the first is 0), so that
    a piece is read by its place alone. The streams of partition p are first[p]:first[p + 1].
    """

    path: str
    ends: tuple[int, ...]
    first: tuple[int, ...]


@dataclass(frozen=True)
class _Gathering:
    """A partition and, for each run that has rows of it, (path, ends of their streams)."""

    number: int
    pieces: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, number: int, runs: Sequence[_Run]) -> _Gathering:
        spans = ((run, run.first[number], run.first[number + 1]) for run in runs)
        return cls(number, tuple((run.path, run.ends[low : high + 1]) for run, low, high in spans if low < high))


def _scatter(
    desk: _Desk, bounds: U64, piece_bytes: int, task: _Scattering, context: Context
) -> tuple[tuple[_Run, ...], int]:
    tables = (table for item in task.items for table in desk.exchange.emit(desk.store, item))
    runs = tuple(_write_run(desk, bounds, piece_bytes, block) for block in _blocks(tables, desk.task_bytes))
    return runs, _spent()


def _blocks(tables: Iterator[pa.Table], limit: int) -> Iterator[list[pa.Table]]:
    """The same rows in lists of about `limit` bytes."""
    pending: list[pa.Table] = []
    size = 0
    for table in tables:
        for part in _slices(table, limit):
            if pending and size + part.nbytes > limit:
                yield pending
                pending, size = [], 0
            pending.append(part)
            size += part.nbytes
    if pending:
        yield pending


def _slices(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Equal slices of a table, of at most `limit` bytes where rows are equally long."""
    step = max(1, limit * table.num_rows // max(1, table.nbytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step)


def _write_run(desk: _Desk, bounds: U64, piece_bytes: int, block: list[pa.Table]) -> _Run:
    key = block[0].schema.field("key")
    if key.type != pa.uint64():
        raise TypeError(f"{desk.exchange.name}: the key is {key.type}, not uint64")
    table = _sorted(block, desk.exchange.order)
    cuts = [0, *np.searchsorted(table.column("key").to_numpy(), bounds).tolist(), table.num_rows]
    path = f"{desk.folder}/runs/{secrets.token_hex(8)}.run"
    ends, first = [0], [0]
    with desk.store.open_write(path) as sink:
        for low, high in pairwise(cuts):
            for piece in _slices(table.slice(low, high - low), piece_bytes):
                with pa.ipc.new_stream(sink, piece.schema) as stream:
                    stream.write_table(piece)
                ends.append(sink.tell())
            first.append(len(ends) - 1)
    return _Run(path, tuple(ends), tuple(first))


def _gather(desk: _Desk, task: _Gathering, context: Context) -> tuple[dict[str, Rows], int]:
    files: dict[str, tuple[str, Any, Any]] = {}
    rows: dict[str, int] = {}
    with ExitStack() as stack:
        windows = _merged(desk.store, task.pieces, desk.exchange.order, desk.task_bytes)
        for name, table in desk.exchange.decide(desk.store, windows):
            if not table.num_rows:
                continue
            if name not in files:
                path = f"{desk.folder}/out/{name}.{task.number:05d}.{secrets.token_hex(8)}.arrow"
                sink = stack.enter_context(desk.store.open_write(path))
                files[name], rows[name] = (path, sink, pa.ipc.new_file(sink, table.schema)), 0
            for part in _slices(table, desk.batch_bytes):
                files[name][2].write_table(part)
            rows[name] += table.num_rows
        for _, _, writer in files.values():
            writer.close()
        written = {name: Rows(path, rows[name], sink.tell()) for name, (path, sink, _) in files.items()}
    return written, _spent()


def _merged(
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
        yield from _slices(table.slice(0, complete), WINDOW_BYTES)
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


def _spent() -> int:
    """Bytes that this process has held at most; what the task no longer needs goes back to the system.

    Both allocators would keep it: Arrow's 60 MB, and glibc's a little more with each task (measured: 295 MB at most
    after 36 tasks of a worker, 408 MB after 80), which a worker that lives long enough would not survive.
    """
    pa.default_memory_pool().release_unused()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss is at first that of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


# The shuffle of kept rows, which holds a partition in memory: rows of one output part

SORTED_ROWS = 1_000


class Pieces(Protocol):
    """Row groups of one file."""

    @property
    def path(self) -> str: ...
    @property
    def groups(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Scattered:
    """One file of a shard's rows, sorted into partitions: `groups` [partitions] has the row groups of each."""

    path: str
    groups: tuple[tuple[int, ...], ...]


def scatter(store: Store, source: str, target: str, seed: str, partitions: int, schema: pa.Schema) -> Scattered:
    """Write the rows of `source` to `target`, each partition in row groups of its own."""
    with store.open_read(source) as stream:
        table = pq.read_table(stream, schema=schema)
    places = [partition_of(record_keys(batch, seed), partitions) for batch in table.to_batches()]
    here = np.concatenate([np.zeros(0, np.int64), *places])
    groups: list[tuple[int, ...]] = []
    with GroupWriter(store, target, schema, max(table.num_rows, 1)) as writer:
        for partition in range(partitions):
            first = writer.end_group()
            for batch in table.filter(pa.array(here == partition)).to_batches():
                writer.write(batch)
            groups.append(tuple(range(first, writer.end_group())))
    return Scattered(target, tuple(groups))


def partition_of(
    keys: np.ndarray[tuple[int], np.dtype[np.uint64]], partitions: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Equal ranges of the keys, [rows] in 0..partitions."""
    width = -(-(2**64) // partitions)
    if width == 2**64:  # one partition, and a number that uint64 lacks
        return np.zeros(len(keys), np.int64)
    return (keys // np.uint64(width)).astype(np.int64)


def gather(store: Store, pieces: Sequence[Pieces], seed: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of a partition from all shards, ordered by key, ties by place."""
    tables = []
    for piece in pieces:
        with store.open_read(piece.path) as stream:
            tables.append(pq.ParquetFile(stream).read_row_groups(list(piece.groups)))
    table = pa.concat_tables(tables).combine_chunks()
    keys = np.concatenate([record_keys(batch, seed) for batch in table.to_batches()])
    table = table.append_column("_key", pa.array(keys))
    order = table.select(["_key", "shard", "offset", "ordinal"])
    sorting = pa.compute.sort_indices(order, [(name, "ascending") for name in order.column_names])
    for start in range(0, len(sorting), SORTED_ROWS):
        yield from table.select(schema.names).take(sorting.slice(start, SORTED_ROWS)).combine_chunks().to_batches()
