"""Takes one input file through the stages of a segment, and publishes its report last.

A recipe without meetings is one segment. A meeting ends a segment: the next one goes on from what this one kept, and
its report accounts for the whole way up to there.

What a shard produces lies under `.work/attempts/` in files named for the attempt until the run is finished. The report
under `.work/shards/` is written when those are complete: that it is there is what "done" means. Stages decide; this
loop counts and writes.
"""

from __future__ import annotations

import json
import resource
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import pyarrow as pa

from pipeline import assets, ledger
from pipeline.budget import Budget
from pipeline.cage import cage_seconds
from pipeline.carry import Earlier, Window, follow
from pipeline.emission import emission_schema
from pipeline.faults import InputError
from pipeline.flow import Flow, Flowed
from pipeline.inputs import HashingStream, open_input
from pipeline.ledger import Counts, Sampler
from pipeline.publish import ACCOUNT, account_path
from pipeline.ranges import Range, open_ranges
from pipeline.selection import chosen_ranges
from pipeline.tasks import ATTEMPTS, DATA_GROUP_ROWS, KEPT, ShardReport, ShardTask
from pipeline.writer import GroupWriter
from stages.read.batches import Read, warc_batches
from stages.read.chosen import read_chosen
from stages.read.parquet import parquet_batches
from stages.read.recognise import UnreadableInput
from stages.read.warc import read_warc
from stages.stage import RECORD, Meeting, Stage

MEETING_GROUP_ROWS = 128
"""Of what goes on to the next segment: a meeting reads single texts of it."""
EMITTED_GROUP_ROWS = 4_096
"""Signatures are 900 bytes long."""
LEDGER_GROUP_ROWS = 20_000
DROPPED_GROUP_ROWS = 500
MAX_DAMAGE_LISTED = 100
MAX_HOSTS = 200

Tell = Callable[[int, int, int], None]
"""Takes (shard number, records read, records kept) from time to time."""


class AccountError(RuntimeError):
    """Records read and records accounted for differ: a defect of crawlmill, never of an input."""


def process_shard(task: ShardTask, tell: Tell, budget: Budget) -> ShardReport:
    """Run one input through the stages of a segment.

    An input that cannot be read comes back as a report that says so, and is not done. Raises StoreError where the
    output cannot be written, AssetError where a model or list is not what the plan pinned, AccountError.
    """
    start, cpu = time.monotonic(), _cpu_seconds()
    segment = task.segment
    flow = Flow(_ready(task.recipe[segment.start : segment.stop], task.pins), task.recipe[segment.stop :])
    with ExitStack() as stack:
        attempt = stack.enter_context(_Attempt(task, flow))
        if task.before is not None:
            size, sha256 = task.before.bytes, task.before.sha256
            for window in _windows(task, task.before):
                attempt.follow(window)
                tell(task.number, attempt.counts.read, attempt.counts.kept)
        else:
            try:
                ranges = chosen_ranges(task.store, task.input.chosen) if task.input.chosen is not None else None
                stream = stack.enter_context(_open(task, ranges, budget))
                hashing = HashingStream(stream)
                for read in _reads(task, ranges, stream, hashing):
                    attempt.take(read)
                    tell(task.number, attempt.counts.read, attempt.counts.kept)
                if task.parquet is not None:
                    stream.seek(0)
                hashing.drain()
            except (UnreadableInput, InputError) as error:
                attempt.abandoned = True
                said = _one_line(task, error)
                return ShardReport(task.number, task.input.shard, task.input.bytes or 0, unreadable=said)
            size, sha256 = hashing.bytes_read, hashing.hexdigest()
        report = attempt.report(size, sha256, time.monotonic() - start, _cpu_seconds() - cpu)
    path = f"{segment.reports}/{task.number:05d}.json"
    task.store.write_atomic(path, json.dumps(asdict(report), sort_keys=True).encode())
    return report


def _windows(task: ShardTask, before: ShardReport) -> Iterator[Window]:
    meeting = task.recipe[task.segment.start - 1]
    assert isinstance(meeting, Meeting)
    account = {kind: account_path(task.store, before, kind) for kind in ACCOUNT if kind in before.files}
    earlier = Earlier(task.number, before.kept_files[""].path, account, task.verdicts)
    return follow(task.store, earlier, meeting, ledger.signals_schema(task.recipe))


def _open(task: ShardTask, ranges: Sequence[Range] | None, budget: Budget) -> BinaryIO:
    path = task.input.path
    return open_input(path, budget) if ranges is None else open_ranges(path, ranges, budget)


def _reads(task: ShardTask, ranges: Sequence[Range] | None, stream: BinaryIO, hashing: HashingStream) -> Iterator[Read]:
    if ranges is not None:
        return warc_batches(read_chosen(cast(BinaryIO, hashing), ranges), task.input.shard, task.input.dump)
    if task.parquet is None:
        return warc_batches(read_warc(cast(BinaryIO, hashing)), task.input.shard, task.input.dump)
    return parquet_batches(stream, task.input.shard, task.input.dump, task.parquet.text, task.parquet.id)


def _one_line(task: ShardTask, error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if task.input.shard in said or task.input.path in said else f"{task.input.shard}: {said}"


_loaded: dict[str, tuple[Stage, ...]] = {}


def _ready(stages: tuple[Stage, ...], pins: tuple[assets.Pin, ...]) -> tuple[Stage, ...]:
    """Stages with their models and lists local, verified and loaded; once for each job in this process."""
    key = json.dumps([[stage.model_dump_json() for stage in stages], assets.as_json(pins)])
    if key not in _loaded:
        ready = tuple(assets.resolve(stage, pins)[0] for stage in stages)
        for stage in ready:
            stage.load()
        _loaded[key] = ready
    return _loaded[key]


class _Attempt:
    """The files of one attempt at a shard, open from first to last batch; after an exception they are garbage."""

    def __init__(self, task: ShardTask, flow: Flow) -> None:
        self.counts = Counts() if task.before is None else _resumed(task.before)
        self.abandoned = False
        self._task, self._flow, self._name = task, flow, f"{ATTEMPTS}/{task.number:05d}.{secrets.token_hex(6)}"
        self._stack = ExitStack()
        self._sampler = Sampler() if task.dropped_text == "sample" else None
        self._damage: list[list[Any]] = []
        self._bytes_lost = 0
        self._partitions: dict[str, GroupWriter] = {}
        self._signals_schema = ledger.signals_schema(task.recipe)
        self._measures = any(ledger.measures(type(stage)) for stage in task.recipe)
        last = task.segment.stop == len(task.recipe) and flow.meeting is None
        self._partition_by = task.partition_by if last else ()
        self._kept, self._group_rows = (KEPT, DATA_GROUP_ROWS) if last else (RECORD, MEETING_GROUP_ROWS)

    def __enter__(self) -> _Attempt:
        self._ledger = self._open("ledger", ledger.LEDGER, LEDGER_GROUP_ROWS)
        self._signals = self._open("signals", self._signals_schema, LEDGER_GROUP_ROWS) if self._measures else None
        wants_texts = self._task.dropped_text != "none"
        self._dropped = self._open("dropped", ledger.DROPPED, DROPPED_GROUP_ROWS) if wants_texts else None
        meeting = self._flow.meeting
        self._emitted = (
            self._open("emitted", emission_schema(meeting), EMITTED_GROUP_ROWS) if meeting is not None else None
        )
        if meeting is not None:  # one file, also of nothing
            self._partitions[""] = self._open("kept.0", self._kept, self._group_rows)
        return self

    def __exit__(self, *raised: Any) -> None:
        if self.abandoned or raised[0] is not None:
            self._stack.__exit__(*(raised if raised[0] is not None else (InputError, InputError("abandoned"), None)))

    def _open(self, kind: str, schema: pa.Schema, group_rows: int) -> GroupWriter:
        return self._stack.enter_context(
            GroupWriter(self._task.store, f"{self._name}.{kind}.parquet", schema, group_rows)
        )

    def take(self, read: Read) -> None:
        """One batch from reader to files."""
        self.counts.came(read.batch)
        self.counts.skipped.update(read.skipped)
        for damage in read.damage:
            self._bytes_lost += damage.length
            if len(self._damage) < MAX_DAMAGE_LISTED:
                self._damage.append([damage.offset, damage.length, damage.cause])
        self._account(self._flow.run(read.batch, read.faults), {})

    def follow(self, window: Window) -> None:
        """Some rows of an earlier segment to files, with the account of those that left there or at the meeting."""
        flowed = self._flow.run(window.going_on, [None] * window.going_on.num_rows)
        if window.dropped.num_rows:
            meeting = self._task.recipe[self._task.segment.start - 1]
            flowed.left.insert(0, (meeting.kind, "dropped", window.dropped))
            self.counts.repeated(window.dropped)
        self._account(flowed, window.account)

    def _account(self, flowed: Flowed, earlier: Mapping[str, pa.RecordBatch]) -> None:
        """Write what became of some records, after those among them that an earlier segment accounted for."""
        if self._signals is not None:
            measured = [flowed.measured.batch(self._signals_schema)] if flowed.measured is not None else []
            before = [earlier["signals"]] if "signals" in earlier else []
            self._signals.write(ledger.overlaid([*before, *measured], self._signals_schema))
        rows = [ledger.ledger_rows(flowed.kept, "kept", None)]
        texts = [earlier["dropped"]] if "dropped" in earlier else []
        for stage, outcome, batch in flowed.left:
            self.counts.left(batch, outcome, stage)
            rows.append(ledger.ledger_rows(batch, outcome, stage))
            texts.append(ledger.dropped_rows(batch, outcome, stage))
        if "ledger" in earlier:
            rows.append(earlier["ledger"])
        self._ledger.write(ledger.in_order(rows, ledger.LEDGER))
        if self._sampler is not None:
            for each in texts:
                self._sampler.add(each)
        elif self._dropped is not None and texts:
            self._dropped.write(ledger.in_order(texts, ledger.DROPPED))
        if self._emitted is not None:
            for batch in flowed.emitted:
                self._emitted.write(batch)
        self._keep(flowed.kept)

    def _keep(self, kept: pa.RecordBatch) -> None:
        self.counts.stayed(kept)
        kept, by = kept.select(self._kept.names), self._partition_by
        values = (
            list(zip(*(kept.column(name).fill_null("und_Zyyy").to_pylist() for name in by)))
            if by
            else [()] * kept.num_rows
        )
        for value in dict.fromkeys(values):
            name = "/".join(f"{field}={quote(part, safe='')}" for field, part in zip(by, value))
            if name not in self._partitions:
                self._partitions[name] = self._open(f"kept.{len(self._partitions)}", self._kept, self._group_rows)
            self._partitions[name].write(kept.filter(pa.array([each == value for each in values], pa.bool_())))

    def report(self, size: int, sha256: str, seconds: float, cpu_seconds: float) -> ShardReport:
        """Close the files, and say what is in them. Raises AccountError."""
        counts, before = self.counts, self._task.before or ShardReport(0, "", 0)
        if self._sampler is not None and self._dropped is not None:
            self._dropped.write(self._sampler.rows())
        self._stack.close()
        if not counts.read == counts.kept + counts.dropped + counts.failed == self._ledger.written.rows:
            raise AccountError(
                f"{self._task.input.shard}: {counts.read} read, but {counts.kept} kept + {counts.dropped} dropped"
                f" + {counts.failed} failed and {self._ledger.written.rows} in the ledger; please report this"
            )
        others = {
            "ledger": self._ledger, "signals": self._signals, "dropped": self._dropped, "emitted": self._emitted
        }  # fmt: skip
        return ShardReport(
            number=self._task.number, shard=self._task.input.shard, bytes=size, sha256=sha256,
            read=counts.read, kept=counts.kept, dropped=counts.dropped, failed=counts.failed,
            text_bytes=counts.text_bytes, tokens=counts.tokens, skipped=dict(sorted(counts.skipped.items())),
            drops=[[*key, count] for key, count in sorted(counts.drops.items())],
            languages={name: [count, counts.kept_languages[name]] for name, count in sorted(counts.languages.items())},
            hosts={name: [came, counts.kept_hosts[name]] for name, came in counts.hosts.most_common(MAX_HOSTS)},
            duplicates=dict(counts.duplicates.most_common(MAX_HOSTS)),
            damage=[*before.damage, *self._damage], bytes_lost=before.bytes_lost + self._bytes_lost,
            files={kind: writer.written for kind, writer in others.items() if writer is not None},
            kept_files={name: writer.written for name, writer in sorted(self._partitions.items())},
            seconds=round(before.seconds + seconds, 3), cpu_seconds=round(before.cpu_seconds + cpu_seconds, 3),
            peak_memory=max(before.peak_memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
            stage_seconds={
                **before.stage_seconds,
                **{
                    name: round(before.stage_seconds.get(name, 0) + used, 3)
                    for name, used in self._flow.seconds.items()
                },
            },
        )  # fmt: skip


def _resumed(before: ShardReport) -> Counts:
    """The counts of an earlier segment, as far as they are about records that left there."""
    return Counts(
        read=before.read, dropped=before.dropped, failed=before.failed,
        drops=Counter({(stage, reason, outcome): count for stage, reason, outcome, count in before.drops}),
        languages=Counter({name: measured - kept for name, (measured, kept) in before.languages.items()}),
        hosts=Counter({name: came for name, (came, _) in before.hosts.items()}),
        duplicates=Counter(before.duplicates), skipped=Counter(before.skipped),
    )  # fmt: skip


def _cpu_seconds() -> float:
    """Processor time of this process and of its cages."""
    return time.process_time() + cage_seconds()
