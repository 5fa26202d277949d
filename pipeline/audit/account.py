"""The account of every record, recounted: each ledger, and beside it the signals and dropped texts of its shard.

The files of a shard hold their rows in the order of (offset, ordinal), which is how a run writes them. So they are
followed side by side, a window of ledger rows at a time, in memory that does not grow with the shard. Checksums, sizes
and the manifest's own arithmetic are `pipeline.audit.verify`'s, the rows of `data/` are `pipeline.audit.kept`'s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.dataset import Dataset, File
from pipeline.audit.duplicates import COLUMNS, Duplicates
from pipeline.audit.rows import (
    PLACE,
    SAME,
    UNREADABLE,
    WINDOW,
    Bools,
    Difference,
    Notes,
    RowSum,
    in_order,
    mask,
    read_rows,
    row_hashes,
    row_words,
)
from pipeline.carry import InStep
from pipeline.ledger import DROPPED, LEDGER, SAMPLES_PER_REASON
from pipeline.store import Store

_KEY = ("shard", *PLACE, "id")
_AGREED = (*_KEY, "outcome", "stage", "reason")  # what a dropped row says again
_LEDGER = pa.schema([LEDGER.field(name) for name in dict.fromkeys((*_AGREED, *SAME, *COLUMNS))])
_SIGNALS = pa.schema([LEDGER.field(name) for name in _KEY])
_DROPPED = pa.schema([DROPPED.field(name) for name in _AGREED])

Left = tuple[str, str, str]
"""Stage, reason, outcome."""


@dataclass
class Recount:
    """What one ledger says of its shard, and what is wrong with it or beside it."""

    shard: str | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    left: Counter[Left] = field(default_factory=Counter)
    """Of what the manifest has among its drops; others are problems."""
    kept: RowSum = field(default_factory=RowSum)
    problems: list[Difference] = field(default_factory=list)
    whole: bool = True
    """Whether the ledger could be followed to its end; if not, its counts mean nothing."""


def recount(
    store: Store, dataset: Dataset, duplicates: Duplicates, ledger: File, signals: File | None, dropped: File | None
) -> Recount:
    """Follow one shard's files, and tell `duplicates` of its ledger. Damaged files are among the problems."""
    found, notes = Recount(), Notes(ledger.path)
    beside: list[_Beside] = []
    if signals is not None:
        beside.append(_Signals(store, signals, dataset))
    if dropped is not None:
        beside.append(_Dropped(store, dropped, dataset))
    known: set[Left] = {(drop.stage, drop.reason, drop.outcome) for drop in dataset.drops}
    try:
        for window in in_order(read_rows(store, ledger, _LEDGER, WINDOW, notes)):
            _take(window, known, found, notes)
            duplicates.take(window, ledger.path, notes)
            last = (window.column("offset")[-1].as_py(), window.column("ordinal")[-1].as_py())
            for each in beside:
                each.compare(window, last)
        for each in beside:
            each.compare(pa.RecordBatch.from_pylist([], schema=_LEDGER), None)
            each.finish(found.left)
    except UNREADABLE as error:
        found.whole = False
        notes.damage(error)
    found.problems = [
        difference for each in (notes, *(each.notes for each in beside)) for difference in each.differences()
    ]
    return found


def _take(window: pa.RecordBatch, known: set[Left], found: Recount, notes: Notes) -> None:
    """Count a window of ledger rows, and look at each for itself."""
    shard, stage, reason = (window.column(name) for name in ("shard", "stage", "reason"))
    outcome = window.column("outcome").fill_null("")
    kept, left = mask(pc.equal(outcome, "kept")), mask(pc.is_in(outcome, pa.array(["dropped", "failed"])))
    explained = mask(stage.is_valid()) & mask(reason.is_valid())
    found.shard = found.shard or shard[0].as_py()
    notes.rows("of another input than the first", window, mask(pc.not_equal(shard, found.shard)))
    notes.rows("with an outcome other than kept, dropped and failed", window, ~kept & ~left)
    notes.rows("that left without stage and reason", window, left & ~explained)
    notes.rows(
        "that were kept and have a stage or a reason", window, kept & (mask(stage.is_valid()) | mask(reason.is_valid()))
    )
    found.outcomes.update({name: int(mask(pc.equal(outcome, name)).sum()) for name in ("kept", "dropped", "failed")})
    found.kept.add(row_hashes(window.filter(pa.array(kept)), SAME))
    grouped = pa.Table.from_batches([window.filter(pa.array(left & explained))]).group_by(
        ["stage", "reason", "outcome"]
    )
    for row in grouped.aggregate([([], "count_all")]).to_pylist():
        key: Left = (row["stage"], row["reason"], row["outcome"])
        if key in known:
            found.left[key] += row["count_all"]
        else:
            notes.count("that left for a reason the manifest does not have", row["count_all"], " ".join(key))


class _Beside:
    """A file whose rows are about records of a ledger, followed with it."""

    def __init__(self, store: Store, file: File, schema: pa.Schema) -> None:
        self.notes = Notes(file.path)
        self._schema, self._rows = schema, InStep(in_order(read_rows(store, file, schema, WINDOW, self.notes)))
        self._over = False

    def compare(self, window: pa.RecordBatch, last: tuple[int, int] | None) -> None:
        """Hold the rows up to the place `last` (all that are left: None) against the ledger's."""
        if self._over:
            return
        may, must = self._wanted(window)
        words = row_words(window, self._schema.names)
        here = np.zeros(window.num_rows, bool)
        try:
            for batch in self._rows.upto(last):
                said = row_words(batch, self._schema.names)
                self.notes.rows(
                    "that the ledger does not have like this", batch, ~mask(pc.is_in(said, words.filter(pa.array(may))))
                )
                here |= mask(pc.is_in(words, said))
                self._count(batch)
        except UNREADABLE as error:
            self._over = True
            self.notes.damage(error)
            return
        self.notes.rows("missing that the ledger calls for", window, must & ~here)

    def finish(self, left: Counter[Left]) -> None:
        """Say what can be said once all rows were seen; `left` is the ledger's."""

    def _wanted(self, window: pa.RecordBatch) -> tuple[Bools, Bools]:
        """Which of the ledger's rows may be here, and which must."""
        raise NotImplementedError

    def _count(self, batch: pa.RecordBatch) -> None:
        """Look at some rows of this file."""


class _Signals(_Beside):
    """Signals: of every record that came to the rules, and of no other but those that an extractor measured."""

    def __init__(self, store: Store, file: File, dataset: Dataset) -> None:
        super().__init__(store, file, _SIGNALS)
        kinds = dataset.kinds
        first = len(kinds) if dataset.first_rule is None else dataset.first_rule
        self._before, self._from = pa.array(kinds[:first], pa.string()), pa.array(kinds[first:], pa.string())
        self._may = pa.array(kinds[dataset.first_measure or 0 : first], pa.string())
        # A run that failed may have ended at a meeting before the rules: then what it kept was never measured.
        meets = any(map(dataset.is_meeting, kinds[:first]))
        self._came = first < len(kinds) and (dataset.state == "complete" or not meets)
        self._first = kinds[first] if first < len(kinds) else None
        self._own = pa.array(dataset.reasons_of(self._first or ""), pa.string())

    def _wanted(self, window: pa.RecordBatch) -> tuple[Bools, Bools]:
        stage = window.column("stage")
        kept = mask(pc.equal(window.column("outcome"), "kept"))
        before, after = mask(pc.is_in(stage, self._before)), mask(pc.is_in(stage, self._from))
        own = mask(pc.is_in(window.column("reason"), self._own))
        # Records that have no text leave at the first stage that wants it, for a reason that is not the stage's own.
        bare = mask(pc.equal(stage, self._first).fill_null(False)) & ~own
        must = (kept & self._came) | (after & ~before)  # a stage may stand in both places
        return (~bare & (kept | after)) | mask(pc.is_in(stage, self._may)), ~bare & must


class _Dropped(_Beside):
    """Texts of dropped records: all, or the same few for each stage and reason."""

    def __init__(self, store: Store, file: File, dataset: Dataset) -> None:
        super().__init__(store, file, _DROPPED)
        self._most = SAMPLES_PER_REASON if dataset.dropped_text == "sample" else None
        self._seen: Counter[tuple[str, str]] = Counter()

    def _wanted(self, window: pa.RecordBatch) -> tuple[Bools, Bools]:
        left = mask(pc.not_equal(window.column("outcome"), "kept").fill_null(False))
        return left, left & (self._most is None)

    def _count(self, batch: pa.RecordBatch) -> None:
        self._seen.update(zip(batch.column("stage").to_pylist(), batch.column("reason").to_pylist()))

    def finish(self, left: Counter[Left]) -> None:
        if self._over or self._most is None:
            return
        every: Counter[tuple[str, str]] = Counter()
        for (stage, reason, _), rows in left.items():
            every[stage, reason] += rows
        for (stage, reason), rows in sorted(every.items()):
            wanted, seen = min(rows, self._most), self._seen[stage, reason]
            if seen != wanted:
                self.notes.say(f"{seen} of the {rows} records that left for {stage} {reason}; a sample has {wanted}")
