"""The records that a report shows, read from a run's Parquet files in bounded memory.

Of the dropped, the 20 with the lowest draw (`sample`) for each stage and reason: a first pass looks at three narrow
columns only, a second reads the rows that won. What a duplicate repeats is said by the ledger alone, which is read for
those that won. Of the kept, a few rows of the first row group of a few files. A text is cut where it is read, so that
one huge record costs one excerpt.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pipeline.store import Store

PER_REASON = 20
KEPT = 20
KEPT_FILES = 5
EXCERPT = 1500
"""Characters of a text."""
_BATCH_ROWS = 256  # of texts decoded at a time

Reason = tuple[str, str]
"""A stage and the reason it gave."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One record: its columns by name, the text cut to EXCERPT, and the length the text had in characters."""

    columns: Mapping[str, Any]
    text: str | None
    characters: int


@dataclass(frozen=True, slots=True)
class Samples:
    dropped: Mapping[Reason, Sequence[Sample]] = field(default_factory=dict)
    kept: Sequence[Sample] = ()


def read_samples(
    store: Store, data: Sequence[str], reasons: Collection[Reason], duplicates: Collection[Reason] = ()
) -> Samples:
    """Samples of the dropped records of `reasons`, and of the kept records in the Parquet files `data`.

    Those of `duplicates` come with the column duplicate_of: the id of what they repeat.
    """
    return Samples(_read_dropped(store, reasons, duplicates), _read_kept(store, data))


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """A row of a dropped file, ordered so that the last drawn is the least: the root of a heap that keeps the first."""

    draw: int  # minus `sample`
    path: str
    group: int
    row: int


def _read_dropped(
    store: Store, reasons: Collection[Reason], duplicates: Collection[Reason]
) -> dict[Reason, list[Sample]]:
    paths = sorted(path for path in store.list("dropped") if path.endswith(".parquet"))
    heaps: dict[Reason, list[_Place]] = {reason: [] for reason in reasons}
    for path in paths:
        with store.open_read(path) as source:
            _draw(path, pq.ParquetFile(source), heaps)

    rows: dict[str, dict[int, dict[int, tuple[Reason, int]]]] = defaultdict(lambda: defaultdict(dict))
    for reason, heap in heaps.items():
        for rank, place in enumerate(sorted(heap, reverse=True)):
            rows[place.path][place.group][place.row] = (reason, rank)
    found: dict[Reason, list[tuple[int, Sample]]] = defaultdict(list)
    for path, groups in sorted(rows.items()):
        here: list[tuple[Reason, int, Sample]] = []
        with store.open_read(path) as source:
            parquet = pq.ParquetFile(source)
            for group, wanted in sorted(groups.items()):
                for row, sample in _rows(parquet, group, wanted):
                    here.append((*wanted[row], sample))
        originals = _originals(store, path, [sample for reason, _, sample in here if reason in duplicates])
        for reason, rank, sample in here:
            if reason in duplicates:
                named = {"duplicate_of": originals.get((sample.columns["offset"], sample.columns["ordinal"]))}
                sample = replace(sample, columns={**sample.columns, **named})
            found[reason].append((rank, sample))
    return {
        reason: [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])] for reason, ranked in found.items()
    }


def _originals(store: Store, path: str, samples: Sequence[Sample]) -> dict[tuple[int, int], str]:
    """What some records of a dropped file repeat, by offset and ordinal, from the ledger of the same shard."""
    if not samples:
        return {}
    offsets = {sample.columns["offset"] for sample in samples}
    columns = ["offset", "ordinal", "duplicate_of"]
    with store.open_read(f"ledger/{path.rpartition('/')[2]}") as source:
        table = pq.read_table(source, columns=columns, filters=pc.field("offset").isin(offsets), use_threads=False)
    return {(row["offset"], row["ordinal"]): row["duplicate_of"] for row in table.to_pylist()}


def _draw(path: str, parquet: pq.ParquetFile, heaps: dict[Reason, list[_Place]]) -> None:
    """Offer the first drawn rows of each row group to the heaps of their reasons."""
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group, columns=["stage", "reason", "sample"])
        for (stage, reason), rows in _firsts(table["stage"], table["reason"], table["sample"].to_numpy()).items():
            heap = heaps.get((stage, reason))
            if heap is None:
                continue
            for row in rows:
                place = _Place(-table["sample"][row].as_py(), path, group, row)
                if len(heap) < PER_REASON:
                    heapq.heappush(heap, place)
                else:
                    heapq.heappushpop(heap, place)


def _firsts(stage: pa.ChunkedArray, reason: pa.ChunkedArray, draw: npt.NDArray[np.uint64]) -> dict[Reason, list[int]]:
    """For each (stage, reason) the rows with the lowest draws, at most PER_REASON of them."""
    stages, reasons = (column.combine_chunks().dictionary_encode() for column in (stage, reason))
    code = stages.indices.to_numpy(zero_copy_only=False) * len(reasons.dictionary)
    code = code + reasons.indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((draw, code))
    codes, starts = np.unique(code[order], return_index=True)
    found: dict[Reason, list[int]] = {}
    for one, (start, end) in zip(codes.tolist(), pairwise([*starts.tolist(), len(order)]), strict=True):
        at_stage, at_reason = divmod(one, len(reasons.dictionary))
        key = stages.dictionary[at_stage].as_py(), reasons.dictionary[at_reason].as_py()
        found[key] = order[start : min(end, start + PER_REASON)].tolist()
    return found


def _read_kept(store: Store, data: Sequence[str]) -> list[Sample]:
    paths = _spread(sorted(data), KEPT_FILES)
    samples: list[Sample] = []
    for nth, path in enumerate(paths):
        wanted = (KEPT - len(samples)) // (len(paths) - nth)
        with store.open_read(path) as source:
            parquet = pq.ParquetFile(source)
            if parquet.num_row_groups:
                rows = _spread(range(parquet.metadata.row_group(0).num_rows), wanted)
                samples += (sample for _, sample in _rows(parquet, 0, set(rows)))
    return samples


def _rows(parquet: pq.ParquetFile, group: int, wanted: Collection[int]) -> Iterator[tuple[int, Sample]]:
    """The wanted rows of one row group, with their numbers, in order; a few hundred texts in memory at a time."""
    start = 0
    for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
        here = [row for row in range(start, start + batch.num_rows) if row in wanted]
        if here:
            taken = batch.take(pa.array([row - start for row in here]))
            text = taken["text"]
            excerpts = pc.utf8_slice_codeunits(text, 0, EXCERPT).to_pylist()
            lengths = pc.fill_null(pc.utf8_length(text), 0).to_pylist()
            others = taken.drop_columns(["text"]).to_pylist()
            for row, columns, excerpt, length in zip(here, others, excerpts, lengths, strict=True):
                yield row, Sample(columns, excerpt, length)
        start += batch.num_rows


def _spread(items: Sequence[Any], wanted: int) -> list[Any]:
    """At most `wanted` of the items, evenly apart."""
    if len(items) <= wanted:
        return list(items)
    return [items[i * len(items) // wanted] for i in range(wanted)]
