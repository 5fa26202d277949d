"""One batch through the stages: who is kept, who leaves where and why, and what the rules measured. No storage, no
counting.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cage import Failure, cage_for, cage_seconds
from pipeline.emission import emission
from pipeline.ledger import Outcome, in_order, measures
from stages.decision import Bools, Decision, fails_where, first_failing
from stages.stage import (
    RECORD,
    BatchStage,
    Extracted,
    IsolatedStage,
    Meeting,
    Refusal,
    Rule,
    Stage,
    depart,
    of_media,
    with_column,
)
from stages.text.texts import Texts

PART_BYTES = 4 * 2**20
READ = "read"
"""The stage that records leave at whose payload could not be decoded."""
_FAULT_IS: dict[str, Outcome] = {"payload_too_large": "failed", "undecodable_payload": "dropped"}


@dataclass
class Flowed:
    """What became of a batch: each row is in `kept` or in one of `left`, whose batches have DEPARTED's columns.

    emitted: of the kept rows that go to the meeting, in order, what the meeting wants to know.
    """

    kept: pa.RecordBatch
    left: list[tuple[str, Outcome, pa.RecordBatch]] = field(default_factory=list)
    measured: Measured | None = None
    emitted: list[pa.RecordBatch] = field(default_factory=list)

    def leave(self, stage: str, outcome: Outcome, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self.left.append((stage, outcome, batch))


class Measured:
    """What extractors and rules measured of the records that reached them: one struct array a stage, null where it saw
    none of the record.
    """

    def __init__(self, records: pa.RecordBatch) -> None:
        self.records = records
        self._columns: dict[str, pa.Array] = {}
        self._row = {place: row for row, place in enumerate(_places(records))}

    def add(self, stage: str, records: pa.RecordBatch, signals: pa.StructArray) -> None:
        """Signals of some of the records, which may come in parts."""
        n = self.records.num_rows
        before = self._columns.get(stage, pa.nulls(n, signals.type))
        source = list(range(n))
        for at, place in enumerate(_places(records)):
            source[self._row[place]] = n + at
        self._columns[stage] = pa.concat_arrays([before, signals]).take(pa.array(source, pa.int64()))

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """One row for each record of which anything was measured, in the order they came."""
        n = self.records.num_rows
        columns = [
            self._columns.get(f.name, pa.nulls(n, f.type))
            if pa.types.is_struct(f.type)
            else self.records.column(f.name)
            for f in schema
        ]
        seen = np.any([np.zeros(n, bool), *(column.is_valid() for column in self._columns.values())], axis=0)
        return pa.RecordBatch.from_arrays(columns, schema=schema).filter(pa.array(seen))


def _places(records: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    return zip(records.column("offset").to_pylist(), records.column("ordinal").to_pylist())


class Flow:
    """The stages of a segment, ready to take batches. `seconds` has the processor time that each stage used in this
    process.

    stages: what runs here, behind it the meeting that ends the segment, if one does; later: the rest of the recipe.
    """

    def __init__(self, stages: Sequence[Stage], later: Sequence[Stage] = ()) -> None:
        self.meeting = stages[-1] if stages and isinstance(stages[-1], Meeting) else None
        stages = tuple(stages[:-1] if self.meeting else stages)
        self.seconds: dict[str, float] = defaultdict(float)
        self._before_text = tuple(takewhile(lambda stage: not stage.needs_text, stages))
        self._on_text = stages[len(self._before_text) :]
        wants_text = [stage for stage in (*stages, self.meeting) if stage is not None and stage.needs_text]
        self._text_starts = wants_text[0].kind if wants_text else READ
        """The stage that records leave at which have no text, and will get none."""
        extractors = [stage for stage in (*stages, *later) if isinstance(stage, IsolatedStage)]
        self._handled = {media for each in extractors for media in each.handles if each.only in (None, media)}

    def run(self, batch: pa.RecordBatch, faults: Sequence[str | None]) -> Flowed:
        """Take one batch from reader to kept rows."""
        flowed = Flowed(batch)
        self._leave_faulty(flowed, faults)
        self._pass(flowed, self._before_text)
        self._leave_without_text(flowed, self._text_starts)
        self._pass(flowed, self._on_text)
        if self.meeting is not None and not self._shares_texts:
            self._emit(flowed, self.meeting)
        return flowed

    @property
    def _shares_texts(self) -> bool:
        """Whether the meeting comes right behind rules that judge the same records: then it sees their words."""
        last = self._on_text[-1] if self._on_text else None
        return self.meeting is not None and isinstance(last, Rule) and last.only == self.meeting.only

    def _emit(self, flowed: Flowed, meeting: Meeting) -> None:
        here = flowed.kept.filter(of_media(flowed.kept, meeting.only))
        for part in _in_parts(here):
            start = time.process_time()
            flowed.emitted.append(emission(meeting, Texts.of(part)))
            self.seconds[meeting.kind] += time.process_time() - start

    def _pass(self, flowed: Flowed, some: Sequence[Stage]) -> None:
        """Take what is kept through some stages, neighbouring rules together, setting aside what `only` leaves out."""
        for (is_rule, only), group in groupby(some, key=lambda stage: (isinstance(stage, Rule), stage.only)):
            stages = list(group)
            if flowed.measured is None and any(measures(type(stage)) for stage in stages):
                flowed.measured = Measured(flowed.kept)
            aside = self._set_aside(flowed, only)
            if is_rule:
                meeting = self.meeting if self._shares_texts and stages[-1] is self._on_text[-1] else None
                self._judge(flowed, [stage for stage in stages if isinstance(stage, Rule)], meeting)
            else:
                for stage in stages:
                    self._step(flowed, stage)
            if aside is not None:
                flowed.kept = in_order([flowed.kept, aside], RECORD)

    def _leave_faulty(self, flowed: Flowed, faults: Sequence[str | None]) -> None:
        for fault in sorted({fault for fault in faults if fault}):
            here = np.array([each == fault for each in faults], bool)
            flowed.leave(READ, _FAULT_IS[fault], depart(flowed.kept, fails_where(fault, here)))
        flowed.kept = flowed.kept.filter(pa.array([fault is None for fault in faults], pa.bool_()))

    def _leave_without_text(self, flowed: Flowed, kind: str) -> None:
        """Records that have no text and that no stage gives one."""
        batch = flowed.kept
        media = batch.column("media").to_pylist()
        bare = batch.column("text").is_null().to_numpy(zero_copy_only=False)
        lost = bare & np.array([each not in self._handled for each in media], bool)
        empty = lost & np.array([each == "text" for each in media], bool)
        verdict = first_failing(
            fails_where("no_text", empty),
            fails_where("unsupported_type", lost, detail=batch.column("mime").to_pylist()),
        )
        flowed.leave(kind, "dropped", depart(batch, verdict))
        flowed.kept = batch.filter(pa.array(~lost))

    def _set_aside(self, flowed: Flowed, only: str | None) -> pa.RecordBatch | None:
        if only is None:
            return None
        here = of_media(flowed.kept, only)
        aside = flowed.kept.filter(pc.invert(here))
        flowed.kept = flowed.kept.filter(here)
        return aside

    def _step(self, flowed: Flowed, stage: Stage) -> None:
        if not flowed.kept.num_rows:
            return
        start = time.process_time() + cage_seconds()
        if isinstance(stage, IsolatedStage):
            self._extract(flowed, stage)
        elif isinstance(stage, BatchStage):
            outcome = stage.apply(flowed.kept)
            flowed.leave(stage.kind, "dropped", outcome.dropped)
            flowed.leave(stage.kind, "failed", outcome.failed)
            flowed.kept = outcome.kept
        self.seconds[stage.kind] += time.process_time() + cage_seconds() - start

    def _extract(self, flowed: Flowed, stage: IsolatedStage) -> None:
        """Give text to the records without one that the stage handles, each in the cage."""
        batch = flowed.kept
        bare = batch.column("text").is_null().to_pylist()
        found: dict[int, Extracted] = {}
        refused: dict[int, Refusal] = {}
        failed: dict[int, Failure] = {}
        for row, record in enumerate(batch.drop_columns(["payload", "text"]).to_pylist()):
            if not bare[row] or record["media"] not in stage.handles:
                continue
            answer = stage.accepts(record) or cage_for(stage).process(
                batch.column("payload")[row].as_py() or b"", record
            )
            if isinstance(answer, Extracted):
                found[row] = answer
            elif isinstance(answer, Refusal):
                refused[row] = answer
            else:
                failed[row] = answer
        if stage.signals is not None and flowed.measured is not None:
            answers: dict[int, Extracted | Refusal] = {**found, **refused}
            signals = {row: answer.signals for row, answer in answers.items() if answer.signals}
            measured = pa.array(list(signals.values()), stage.signals)
            flowed.measured.add(stage.kind, batch.take(pa.array(list(signals), pa.int64())), measured)
        flowed.leave(stage.kind, "dropped", depart(batch, _verdicts(refused, batch.num_rows)))
        flowed.leave(stage.kind, "failed", depart(batch, _verdicts(failed, batch.num_rows)))
        for name in sorted({"text", *(name for answer in found.values() for name in answer.columns)}):
            values = batch.column(name).to_pylist()
            for row, answer in found.items():
                values[row] = answer.text if name == "text" else answer.columns.get(name)
            batch = with_column(batch, name, values)
        unread = pc.if_else(batch.column("text").is_null(), batch.column("payload"), None)
        stays = [row not in refused and row not in failed for row in range(batch.num_rows)]
        flowed.kept = with_column(batch, "payload", unread).filter(pa.array(stays, pa.bool_()))

    def _judge(self, flowed: Flowed, rules: Sequence[Rule[Any]], meeting: Meeting | None) -> None:
        """Measure all texts by all rules, let each row leave at the first that fails it, and tell the meeting of the
        others.
        """
        assert flowed.measured is not None
        kept = []
        for part in _in_parts(flowed.kept):
            texts = self._judge_part(flowed, flowed.measured, part, rules)
            kept.append(texts.batch)
            if meeting is not None:
                start = time.process_time()
                flowed.emitted.append(emission(meeting, texts))
                self.seconds[meeting.kind] += time.process_time() - start
        if kept:
            flowed.kept = pa.concat_batches(kept)

    def _judge_part(
        self, flowed: Flowed, measured: Measured, part: pa.RecordBatch, rules: Sequence[Rule[Any]]
    ) -> Texts:
        texts = Texts.of(part)
        standing: Bools = np.ones(len(texts), bool)
        signals_of: dict[str, pa.StructArray] = {}
        for rule in rules:
            start, before = time.process_time(), texts
            texts = rule.edit(texts)
            signals = rule.measure(texts)
            leaving = rule.decide(signals, texts.languages).where(standing)
            judged = with_column(texts.batch, "text", before.text)  # the text that came here, not what came of it
            flowed.leave(rule.kind, "dropped", depart(judged, leaving))
            standing &= ~leaving.fails
            signals_of[rule.kind] = signals.to_arrow()
            self.seconds[rule.kind] += time.process_time() - start
        for kind, column in signals_of.items():
            measured.add(kind, texts.batch, column)
        return texts.filter(standing)


def _in_parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Runs of rows with at most PART_BYTES of text, or one row that has more: rules hold several bytes a character."""
    lengths = pc.binary_length(batch.column("text")).fill_null(0)
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False).astype(np.int64))
    start = 0
    while start < batch.num_rows:
        base = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, base + PART_BYTES, "right")))
        yield batch.slice(start, end - start)
        start = end


def _verdicts(rows: dict[int, Refusal] | dict[int, Failure], n: int) -> Decision:
    """A decision that fails the given rows."""
    decision = fails_where("", np.zeros(n, bool))
    for row, verdict in rows.items():
        decision.fails[row] = True
        decision.reason[row], decision.detail[row] = verdict.reason, verdict.detail
        decision.value[row] = np.nan if verdict.value is None else verdict.value
        decision.threshold[row] = np.nan if verdict.threshold is None else verdict.threshold
    return decision
