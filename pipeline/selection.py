"""The records that a job chooses from a snapshot by its index: reading the index, and keeping what came of it.

Reading takes gigabytes and minutes, so a run keeps its selection under the output's `.work/`: workers find their
records there, and a run that goes on does not read the index again. What SQL takes is `stages.read.cc_index`' business,
what a limit takes `pipeline.gathering`'s.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.budget import Budget
from pipeline.faults import InputError
from pipeline.gathering import Gathered, Gathering, TooMany
from pipeline.inputs import Input, Rows
from pipeline.patience import TERMS, Terms
from pipeline.ranges import Range
from pipeline.snapshot_index import index_files, rows_of
from pipeline.spec import CommonCrawlSource, IndexSelection
from pipeline.store import Store, local
from stages.catalog import did_you_mean
from stages.read.cc_index import ROWS, IndexQuery
from stages.read.commoncrawl import BUCKET
from stages.read.condition import WrongCondition

SELECTION = ".work/selection.parquet"
GROUP_ROWS = 100_000
"""Of the selection's file: what a worker reads to find its own."""
TELL_SECONDS = 30
_ABOUT = b"crawlmill"

Tell = Callable[[str], None]
"""Takes a line for people, from time to time."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class ChosenFile:
    """One file's share of a selection."""

    file: str
    rows: Rows
    bytes: int


@dataclass(frozen=True)
class Selection:
    """Chosen records of a snapshot, by file. Its rows lie in storage, or in `_rows` until they are kept there."""

    files: tuple[ChosenFile, ...]
    sha256: str
    """Of files, offsets and lengths."""
    asked: dict[str, Any]
    """The part of the job that it answers."""
    impossible: int
    """Entries of the index that name no record, and were passed over."""
    clipped: int
    """Entries that reached into the next, and were cut there."""
    _rows: pa.Table | None = field(default=None, repr=False, compare=False)

    @property
    def records(self) -> int:
        return sum(each.rows.count for each in self.files)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.files)

    @property
    def identity(self) -> dict[str, Any]:
        return {"records": self.records, "files": len(self.files), "bytes": self.bytes, "sha256": self.sha256}

    @property
    def notes(self) -> list[str]:
        """What is wrong with the index, for people."""
        found = []
        if self.impossible:
            found.append(f"{_entries(self.impossible)} of the index named no record of the snapshot: passed over")
        if self.clipped:
            found.append(f"{_entries(self.clipped)} of the index reached into the next: cut where that begins")
        return found

    def inputs(self) -> list[Input]:
        """One for each file. Raises InputError where a mirror on disk lacks one."""
        base = self.asked["base"].rstrip("/") + "/"
        mirror, found = local(base), []
        for each in self.files:
            place = base + each.file if mirror is None else str(mirror / each.file)
            if mirror is not None and not (mirror / each.file).is_file():
                raise InputError(f"{place}: no such file, and the index names records of it")
            found.append(Input(place, "warc", each.bytes, self.asked["snapshot"], BUCKET + each.file, each.rows))
        return found

    def keep(self, store: Store) -> None:
        """Put it where workers, and a run that goes on, find it; once. Raises StoreError."""
        if self._rows is None:
            return
        about = {"asked": self.asked, "impossible": self.impossible, "clipped": self.clipped}
        packed = io.BytesIO()
        table = self._rows.replace_schema_metadata({_ABOUT: json.dumps(about)})
        pq.write_table(table, packed, row_group_size=GROUP_ROWS, compression="zstd")
        store.write_atomic(SELECTION, packed.getvalue())


def choose(
    source: CommonCrawlSource,
    index: IndexSelection,
    store: Store,
    budget: Budget,
    tell: Tell = say,
    terms: Terms = TERMS,
) -> Selection:
    """The selection that a job asks for: the one kept in `store` if it answers the same, else read from the index.

    Raises InputError, StoreError.
    """
    asked = source.model_dump(mode="json", include={"snapshot", "files", "base", "index"})
    kept = _kept(store)
    if kept is not None and kept.asked == asked:
        return kept
    try:
        query = IndexQuery(index.where, source.snapshot)
        try:
            gathered = _read(source, query, Gathering(source.snapshot, index.limit), budget, tell, terms)
        finally:
            query.close()
    except WrongCondition as error:
        unknown = error.column and f"no column {error.column}{did_you_mean(error.column, error.known)}"
        raise InputError(f"source.index.where: {unknown or error}") from error
    except TooMany as error:
        raise InputError(f"source.index: {error}") from error
    selection = _selection(gathered.rows, asked, gathered.impossible, gathered.clipped)
    if not selection.files:
        raise InputError(" ".join(["source.index.where: takes no record", *map("({})".format, selection.notes)]))
    return selection


def chosen_ranges(store: Store, rows: Rows) -> list[Range]:
    """Where the records of one file lie in it, in order. Raises StoreError."""
    with store.open_read(SELECTION) as stream:
        file = pq.ParquetFile(stream)
        ends = np.cumsum([file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)])
        groups = np.arange(
            np.searchsorted(ends, rows.first, "right"), np.searchsorted(ends, rows.first + rows.count, "left") + 1
        )
        before = int(ends[groups[0] - 1]) if groups[0] else 0
        table = file.read_row_groups(groups.tolist(), columns=ROWS.names[1:]).slice(rows.first - before, rows.count)
    starts, lengths = (table.column(name).to_pylist() for name in ROWS.names[1:])
    return [(start, start + length) for start, length in zip(starts, lengths)]


def _read(
    source: CommonCrawlSource, query: IndexQuery, gathering: Gathering, budget: Budget, tell: Tell, terms: Terms
) -> Gathered:
    """Go through the index, one file after the other."""
    places = index_files(source, budget, terms)
    tell(f"reading the index of {source.snapshot}: {_count(len(places), 'file')}")
    start = said = time.monotonic()
    size = 0
    for number, place in enumerate(places):
        for rows, read in rows_of(place, query, budget, terms):
            gathering.add(rows)
            now = time.monotonic()
            if now - said > TELL_SECONDS:
                said, left = now, (now - start) / (number + 0.5) * (len(places) - number - 0.5)
                tell(
                    f"index: {number}/{len(places)} files, {(size + read) / 1e6:,.0f} MB,"
                    f" {gathering.records:,} records so far, about {left / 60:,.0f} min left"
                )
        size += read
    tell(f"read {size / 1e6:,.1f} MB of the index in {time.monotonic() - start:,.0f} s")
    return gathering.finish()


def _kept(store: Store) -> Selection | None:
    """The selection that an earlier attempt kept, if any that can be read."""
    if not store.exists(SELECTION):
        return None
    with store.open_read(SELECTION) as stream:
        try:
            table = pq.ParquetFile(stream).read()
            about = json.loads((table.schema.metadata or {})[_ABOUT])
            return _selection(table, about["asked"], about["impossible"], about["clipped"], kept=True)
        except (pa.ArrowException, KeyError, ValueError):  # damaged: read the index again
            return None


def _selection(rows: pa.Table, asked: dict[str, Any], impossible: int, clipped: int, kept: bool = False) -> Selection:
    column = rows.column("file").combine_chunks()
    numbers = column.indices.to_numpy() if len(column) else np.empty(0, np.int32)
    offsets, lengths = (rows.column(name).to_numpy() for name in ROWS.names[1:])
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    counts = np.diff(starts, append=len(numbers))
    names = column.dictionary.take(pa.array(numbers[starts])).to_pylist() if len(column) else []
    sizes = np.add.reduceat(lengths, starts).tolist() if len(starts) else []
    digest = hashlib.sha256(json.dumps([names, counts.tolist()]).encode())
    digest.update(offsets.astype("<i8").tobytes())
    digest.update(lengths.astype("<i8").tobytes())
    files = tuple(
        ChosenFile(name, Rows(first, count), size)
        for name, first, count, size in zip(names, starts.tolist(), counts.tolist(), sizes)
    )
    return Selection(files, digest.hexdigest(), asked, impossible, clipped, None if kept else rows)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"
