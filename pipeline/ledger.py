"""The account of a shard: one ledger row for each record read, signals of those that reached the rules, texts of those
that left.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.keys import record_keys
from stages.stage import RECORD, VERDICT, IsolatedStage, Rule, Stage

PLACE = ("shard", "offset", "ordinal")
LEDGER = pa.schema(
    [
        *(RECORD.field(name) for name in ("id", "url", *PLACE, "media")),
        pa.field("outcome", pa.string()),  # kept | dropped | failed
        pa.field("stage", pa.string()),
        *VERDICT,
        pa.field("duplicate_of", pa.string()),
        pa.field("similarity", pa.float64()),
    ]
)
DROPPED = pa.schema(
    [
        *(RECORD.field(name) for name in (*PLACE, "id", "url", "media", "language")),
        *(LEDGER.field(name) for name in ("outcome", "stage", *(f.name for f in VERDICT))),
        pa.field("text", pa.large_string()),  # null where the record left before it had any
        pa.field("sample", pa.uint64()),  # the lower, the earlier drawn
    ]
)
SAMPLES_PER_REASON = 20
Outcome = Literal["kept", "dropped", "failed"]


def signals_schema(recipe: Sequence[Stage]) -> pa.Schema:
    """One struct column for each stage that measures, after the columns that say which record it is.

    The language is among the measures where the recipe identifies it, else it is the source's own.
    """
    # A stage may stand in a recipe once for each media: one column.
    found = {stage.kind: signals for stage in recipe if (signals := measures(type(stage))) is not None}
    columns = [RECORD.field(name) for name in (*PLACE, "id", *(() if "language" in found else ("language",)))]
    return pa.schema([*columns, *(pa.field(name, signals) for name, signals in found.items())])


def measures(stage: type[Stage]) -> pa.DataType | None:
    """The type of what a stage measures; None for one that stores no signals."""
    if issubclass(stage, Rule):
        return stage.Measures.arrow_type()
    return stage.signals if issubclass(stage, IsolatedStage) else None


def ledger_rows(batch: pa.RecordBatch, outcome: Outcome, stage: str | None) -> pa.RecordBatch:
    """Ledger rows of records that left at `stage` (a DEPARTED batch), or were kept (a RECORD batch)."""
    given = {"outcome": outcome, "stage": stage}
    return _project(
        batch, LEDGER, {name: pa.array([value] * batch.num_rows, pa.string()) for name, value in given.items()}
    )


def dropped_rows(batch: pa.RecordBatch, outcome: Outcome, stage: str) -> pa.RecordBatch:
    """Rows for `dropped/` of a DEPARTED batch."""
    n = batch.num_rows
    given = {
        "outcome": pa.array([outcome] * n),
        "stage": pa.array([stage] * n),
        "sample": pa.array(record_keys(batch, "sample")),
    }
    return _project(batch, DROPPED, given)


def in_order(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows as they were read."""
    table = pa.Table.from_batches(batches, schema=schema)
    order = pc.sort_indices(table, [("offset", "ascending"), ("ordinal", "ascending")])
    combined = table.take(order).combine_chunks().to_batches()
    return combined[0] if combined else pa.RecordBatch.from_pylist([], schema=schema)


def overlaid(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Signals of some records that several segments measured: one row for each record, of each rule what came last."""
    if len(batches) < 2:
        return in_order(batches, schema)
    table = pa.Table.from_batches(batches, schema=schema)
    rules = [f.name for f in schema if pa.types.is_struct(f.type)]
    row = np.arange(table.num_rows)
    marked = table.select(list(PLACE)).append_column("row", pa.array(row))
    for name in rules:
        marked = marked.append_column(name, pa.array(row, mask=table[name].is_null().to_numpy()))
    found = marked.group_by(list(PLACE), use_threads=False).aggregate(
        [("row", "min"), *((name, "max") for name in rules)]
    )
    columns = [table[f.name].take(found[f"{f.name}_max" if f.name in rules else "row_min"]) for f in schema]
    return in_order(pa.Table.from_arrays(columns, schema=schema).combine_chunks().to_batches(), schema)


def _project(batch: pa.RecordBatch, schema: pa.Schema, given: Mapping[str, pa.Array]) -> pa.RecordBatch:
    names = batch.schema.names
    columns = [
        given[f.name]
        if f.name in given
        else batch.column(f.name)
        if f.name in names
        else pa.nulls(batch.num_rows, f.type)
        for f in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class Sampler:
    """Keeps for each stage and reason the rows with the lowest sample numbers: the same rows in whatever order they
    come.
    """

    def __init__(self, most: int = SAMPLES_PER_REASON) -> None:
        self._most = most
        self._chosen: dict[tuple[str, str], list[tuple[int, int, int, dict[str, Any]]]] = {}

    def add(self, rows: pa.RecordBatch) -> None:
        """Look at rows for `dropped/`."""
        columns = [rows.column(name).to_pylist() for name in ("stage", "reason", "sample", "offset", "ordinal")]
        for at, (stage, reason, sample, offset, ordinal) in enumerate(zip(*columns)):
            chosen = self._chosen.setdefault((stage, reason), [])
            entry = (-sample, -offset, -ordinal)
            if len(chosen) < self._most:
                heapq.heappush(chosen, (*entry, rows.slice(at, 1).to_pylist()[0]))
            elif entry > chosen[0][:3]:
                heapq.heapreplace(chosen, (*entry, rows.slice(at, 1).to_pylist()[0]))

    def rows(self) -> pa.RecordBatch:
        """What was chosen, in the order it was read."""
        everything = [row for chosen in self._chosen.values() for *_, row in chosen]
        return in_order([pa.RecordBatch.from_pylist(everything, schema=DROPPED)], DROPPED)


@dataclass
class Counts:
    """Counters of one shard. `drops` by (stage, reason, outcome); `languages` of all that have one."""

    read: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    text_bytes: int = 0
    tokens: int = 0
    drops: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    kept_languages: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    kept_hosts: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def came(self, batch: pa.RecordBatch) -> None:
        """Count records read."""
        self.read += batch.num_rows
        self.hosts.update(_hosts(batch))

    def left(self, batch: pa.RecordBatch, outcome: Outcome, stage: str) -> None:
        """Count a DEPARTED batch."""
        if outcome == "dropped":
            self.dropped += batch.num_rows
        else:
            self.failed += batch.num_rows
        for reason in batch.column("reason").to_pylist():
            self.drops[stage, reason, outcome] += 1
        self.languages.update(_languages(batch))

    def repeated(self, batch: pa.RecordBatch) -> None:
        """Count records that left as duplicates, by host."""
        self.duplicates.update(_hosts(batch))

    def stayed(self, batch: pa.RecordBatch) -> None:
        """Count kept records."""
        self.kept += batch.num_rows
        self.text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
        self.tokens += pc.sum(batch.column("token_count")).as_py() or 0
        self.kept_languages.update(_languages(batch))
        self.languages.update(_languages(batch))
        self.kept_hosts.update(_hosts(batch))


_HOST = re.compile(r"https?://(?:[^/?#@]*@)?([A-Za-z0-9._-]{1,253})", re.IGNORECASE)


def _hosts(batch: pa.RecordBatch) -> Iterator[str]:
    """Hosts of the records whose URL has a plain one, in lower case."""
    for url in batch.column("url").to_pylist():
        found = _HOST.match(url or "")
        if found:
            yield found[1].lower()


def _languages(batch: pa.RecordBatch) -> list[str]:
    """Languages of the records that have one."""
    languages: list[str] = batch.column("language").drop_null().to_pylist()
    return languages
