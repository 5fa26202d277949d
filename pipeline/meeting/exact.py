"""Exact duplicates: records with the same key meet, the preferred one stays."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.carry import VERDICTS
from pipeline.emission import Documents, documents
from pipeline.exchange import Exchange, Hall, Rows, Source, Step
from pipeline.store import Store
from pipeline.writer import read_batches
from stages.decision import Ints
from stages.dedup.exact import Exact

ROW_BYTES = 96


@dataclass(frozen=True)
class Emitted:
    """What one shard brings to a meeting: a Parquet file, a row for each record."""

    shard: int
    path: str
    rows: int

    def batches(self, store: Store, columns: Sequence[str]) -> Iterator[tuple[Documents, pa.RecordBatch]]:
        """Its rows in order, with their document numbers."""
        first = 0
        for batch in read_batches(store, self.path, columns):
            yield documents(self.shard, batch.num_rows, first), batch
            first += batch.num_rows


def exact_duplicates(hall: Hall, stage: Exact, emitted: Sequence[Emitted]) -> Generator[Step, None, Sequence[Rows]]:
    """Verdicts on all records that are not the first of their key."""
    exchange = Exchange(
        name="keys",
        emit=_keys,
        decide=partial(_repeated, stage.reasons[0], stage.similarity),
        order=("key", "check", "rank", "doc"),
        row_bytes=ROW_BYTES,
    )
    found = yield from hall.run(exchange, [Source(each, each.rows) for each in emitted])
    return found.get("verdicts", [])


def _keys(store: Store, emitted: Emitted) -> Iterator[pa.Table]:
    """The keys of one shard's records; those without one meet nobody."""
    for docs, batch in emitted.batches(store, ("key", "check", "rank", "id")):
        table = pa.Table.from_batches([batch]).append_column("doc", pa.array(docs))
        yield table.filter(table["key"].is_valid())


def _repeated(
    reason: str, similarity: float | None, store: Store, windows: Iterator[pa.Table]
) -> Iterator[tuple[str, pa.Table]]:
    """Verdicts on the records behind the first of each key; a key's records may go on in the next window."""
    before: pa.Table | None = None
    for window in windows:
        table = window if before is None else pa.concat_tables([before, window])
        keys = [table[name].to_numpy() for name in ("key", "check")]
        first = firsts(*keys)
        repeats = np.flatnonzero(first != np.arange(len(first)))
        given = {
            "doc": table["doc"].take(pa.array(repeats)),
            "reason": pa.array([reason] * len(repeats), pa.string()),
            "duplicate_of": table["id"].take(pa.array(first[repeats])),
            "similarity": pa.array([similarity] * len(repeats), pa.float64()),
        }
        columns = [given.get(f.name, pa.nulls(len(repeats), f.type)) for f in VERDICTS]
        yield "verdicts", pa.table(columns, schema=VERDICTS)
        before = table.slice(int(first[-1]), 1)


def firsts(*columns: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Ints:
    """The first row of each row's group, [n]: groups are runs of rows that are equal in all columns."""
    begins = np.ones(len(columns[0]), bool)
    begins[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    first: Ints = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    return first
