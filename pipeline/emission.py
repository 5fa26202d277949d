"""What a shard tells a meeting of its records: one row for each, in the order they were read.

A record is known at a meeting by its *document number*: the shard's number in the upper 32 bits, the row of this file
in the lower.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.stage import RECORD, Meeting, Preference
from stages.text.texts import Texts

Documents = npt.NDArray[np.uint64]
SHARD_BITS = 32
_PLACE = ("shard", "offset", "ordinal", "id", "url", "dump")
_LAST = np.uint64(2**64 - 1)


def emission_schema(meeting: Meeting) -> pa.Schema:
    """Who the record is, `rank` (the lower, the better: it stays), and what the stage wants to know."""
    return pa.schema([*(RECORD.field(name) for name in _PLACE), pa.field("rank", pa.uint64()), *meeting.emits])


def emission(meeting: Meeting, texts: Texts) -> pa.RecordBatch:
    """The rows of some records."""
    batch, told = texts.batch, meeting.emit(texts)
    columns = [*(batch.column(name) for name in _PLACE), pa.array(ranks(batch, meeting.prefer)), *told.columns]
    return pa.RecordBatch.from_arrays(columns, schema=emission_schema(meeting))


def ranks(batch: pa.RecordBatch, prefer: Preference) -> Documents:
    """How well each record meets the preference, best first, [rows]; equal ones are ordered by document number.

    longest: by characters of text; newest: by date, those whose date cannot be read last.
    """
    if prefer == "longest":
        lengths: Documents = pc.utf8_length(batch.column("text")).fill_null(0).to_numpy().astype(np.uint64)
        return _LAST - lengths
    if prefer == "newest":
        return _LAST - np.array([_microseconds(date) for date in batch.column("date").to_pylist()], np.uint64)
    return np.zeros(batch.num_rows, np.uint64)


def _microseconds(date: str | None) -> int:
    """Since the year 1, of a date; 0 for what is no ISO 8601 date. A time without zone is UTC's, as WARC has it."""
    try:
        found = datetime.fromisoformat(date or "")
    except ValueError:
        return 0
    since = found.replace(tzinfo=found.tzinfo or UTC) - datetime(1, 1, 2, tzinfo=UTC)
    return max(0, since // timedelta(microseconds=1))


def documents(shard: int, rows: int, first: int = 0) -> Documents:
    """Document numbers of `rows` rows of a shard's file, from row `first` on."""
    return np.uint64(shard << SHARD_BITS) + np.arange(first, first + rows, dtype=np.uint64)
