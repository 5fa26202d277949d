"""Gathers what an index says of records into a selection: which entries can be, which of them a limit takes, and where
each record's bytes lie. Arrays in, arrays out.

A limit takes WARC files in the order of a digest of their names, and of the last file the first records. That is a
sample spread over the crawl, the same whatever order the index has, and it costs few files: the pages of a crawl's file
come from many sites.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.read.cc_index import ROWS

MAX_RECORDS = 30_000_000
"""Of a selection, at 24 bytes each and four times that while they are sorted. Who wants more reads the files whole."""
SLACK = 2**20
"""Records beyond a limit before they are thinned out."""
MAX_FILES = 1_000_000
"""Ten times a snapshot's."""
MAX_LENGTH = 2**30
"""Bytes. A whole file of the crawl has about so many."""
MAX_OFFSET = 2**48
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._=+,@~-]*"

Ints = npt.NDArray[np.int64]


class TooMany(ValueError):
    """A condition takes more than a selection may have. One line."""


@dataclass(frozen=True)
class Gathered:
    """A selection. `rows` (ROWS) are sorted by file and offset, and no two overlap."""

    rows: pa.Table
    impossible: int
    """Entries that name no record: without a file of the snapshot, an offset or a length."""
    clipped: int
    """Entries that reached into the next and were cut where that begins. One of the two lies; reading shows which."""


class Gathering:
    """A selection in the making."""

    def __init__(self, snapshot: str, limit: int | None) -> None:
        self._inside = rf"^crawl-data/{re.escape(snapshot)}/(?:{_NAME}/)*{_NAME}$"
        self._limit = limit
        self._numbers: dict[str, int] = {}
        self._parts: list[Ints] = []  # [3, n]: file, offset, length
        self._waiting = 0
        self._impossible = 0

    @property
    def records(self) -> int:
        """How many are chosen so far; with a limit, at most how many."""
        return min(self._waiting, self._limit or self._waiting)

    def add(self, rows: pa.Table) -> None:
        """Take some of an index' rows (ROWS). Raises TooMany."""
        possible = self._possible(rows)
        self._impossible += rows.num_rows - possible.num_rows
        if not possible.num_rows:
            return
        files = possible.column("file").combine_chunks().dictionary_encode()
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in files.dictionary.to_pylist()]
        if len(self._numbers) > MAX_FILES:
            raise TooMany(f"the index names more than {MAX_FILES:,} files")
        file = np.array(numbers, np.int64)[files.indices.to_numpy()]
        self._parts.append(np.stack([file, *(possible.column(name).to_numpy() for name in ROWS.names[1:])]))
        self._waiting += possible.num_rows
        most = min(self._limit or MAX_RECORDS, MAX_RECORDS)
        if self._waiting > most + max(most // 4, SLACK):
            self._thin_out()

    def finish(self) -> Gathered:
        """The selection. Raises TooMany."""
        self._thin_out()
        names = np.array(list(self._numbers), object)
        file, offset, length = self._parts[0] if self._parts else np.empty((3, 0), np.int64)
        used, file = np.unique(file, return_inverse=True)
        by_name = np.argsort(names[used]) if len(used) else np.empty(0, np.int64)
        place = np.empty_like(by_name)
        place[by_name] = np.arange(len(by_name))
        file = place[file]
        order = np.lexsort((offset, file))
        file, offset, length = file[order], offset[order], length[order]
        room = np.full(len(file), MAX_LENGTH, np.int64)
        same = file[1:] == file[:-1]
        room[:-1][same] = (offset[1:] - offset[:-1])[same]
        dictionary = pa.array(names[used][by_name] if len(used) else [], pa.string())
        column = pa.DictionaryArray.from_arrays(pa.array(file, pa.int32()), dictionary)
        rows = pa.table([column, pa.array(offset), pa.array(np.minimum(length, room))], names=ROWS.names)
        return Gathered(rows, self._impossible, int((length > room).sum()))

    def _possible(self, rows: pa.Table) -> pa.Table:
        file, offset, length = (rows.column(name) for name in ROWS.names)
        numbers = pc.and_(
            pc.and_(pc.greater_equal(offset, 0), pc.less(offset, MAX_OFFSET)),
            pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_LENGTH)),
        )
        named = pc.and_(pc.match_substring_regex(file, self._inside), pc.less(pc.binary_length(file), 1024))
        return rows.filter(pc.and_(numbers, named))  # a null is no match

    def _thin_out(self) -> None:
        """Each record once, of those that begin at one place the longest, and no more than the limit takes."""
        if not self._parts:
            return
        file, offset, length = np.concatenate(self._parts, axis=1)
        order = np.lexsort((-length, offset, self._ranks()[file]))
        rows = np.stack([file, offset, length])[:, order]
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(rows[0]) != 0) | (np.diff(rows[1]) != 0)
        rows = rows[:, first][:, : self._limit]
        if rows.shape[1] > MAX_RECORDS:
            what = f"takes more than {MAX_RECORDS:,} records"
            raise TooMany(f"{what}; narrow it, set a limit, or leave index out and read the files whole")
        self._parts, self._waiting = [rows], rows.shape[1]

    def _ranks(self) -> Ints:
        """For each file its place in the order that a limit follows."""
        digests = [hashlib.sha256(name.encode()).digest() for name in self._numbers]
        ranks = np.empty(len(digests), np.int64)
        ranks[sorted(range(len(digests)), key=digests.__getitem__)] = np.arange(len(digests))
        return ranks
