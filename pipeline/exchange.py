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
import json
import resource
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.engine import Context, Done, Engine
from pipeline.faults import StoreError
from pipeline.runs import U64, Run, blocks, merged, slices, write_run
from pipeline.store import Store

TASK_BYTES = 32 * 2**20
"""Rows that a task holds at once. Sorting and copying make five times as much of them, the libraries add 200 MB."""
BATCH_BYTES = 2**19
"""Rows of one batch of a file, which is what a reader holds."""


class MeetingFailed(RuntimeError):
    """A task of an exchange failed. What is done stays done: running it again goes on from there."""


@dataclass(frozen=True)
class Rows:
    """A finished Arrow IPC file of at least one row, which a partition left."""

    path: str
    rows: int
    bytes: int
    partition: int = 0


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
    ) -> Generator[Step, None, list[Run]]:
        place = f"{self.folder}/{exchange.name}"
        if self.store.exists(f"{place}.scattered.json"):
            content = json.loads(self.store.read_bytes(f"{place}.scattered.json"))
            return [Run(path, tuple(ends), tuple(first)) for path, ends, first in content]
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
class _Gathering:
    """A partition and, for each run that has rows of it, (path, ends of their streams)."""

    number: int
    pieces: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, number: int, runs: Sequence[Run]) -> _Gathering:
        spans = ((run, run.first[number], run.first[number + 1]) for run in runs)
        return cls(number, tuple((run.path, run.ends[low : high + 1]) for run, low, high in spans if low < high))


def _scatter(
    desk: _Desk, bounds: U64, piece_bytes: int, task: _Scattering, context: Context
) -> tuple[tuple[Run, ...], int]:
    tables = (table for item in task.items for table in desk.exchange.emit(desk.store, item))
    order = desk.exchange.order
    runs = []
    for block in blocks(tables, desk.task_bytes):
        path = f"{desk.folder}/runs/{secrets.token_hex(8)}.run"
        runs.append(write_run(desk.store, path, order, bounds, piece_bytes, block))
    return tuple(runs), _spent()


def _gather(desk: _Desk, task: _Gathering, context: Context) -> tuple[dict[str, Rows], int]:
    files: dict[str, tuple[str, Any, Any]] = {}
    rows: dict[str, int] = {}
    with ExitStack() as stack:
        windows = merged(desk.store, task.pieces, desk.exchange.order, desk.task_bytes)
        for name, table in desk.exchange.decide(desk.store, windows):
            if not table.num_rows:
                continue
            if name not in files:
                path = f"{desk.folder}/out/{name}.{task.number:05d}.{secrets.token_hex(8)}.arrow"
                sink = stack.enter_context(desk.store.open_write(path))
                files[name], rows[name] = (path, sink, pa.ipc.new_file(sink, table.schema)), 0
            for part in slices(table, desk.batch_bytes):
                files[name][2].write_table(part)
            rows[name] += table.num_rows
        for _, _, writer in files.values():
            writer.close()
        written = {name: Rows(path, rows[name], sink.tell(), task.number) for name, (path, sink, _) in files.items()}
    return written, _spent()


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
