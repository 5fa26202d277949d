"""Runs a plan: a generator of events that the command line prints, a service stores and tests collect.

Shards that an earlier attempt finished are not read again. Nothing but fetched bodies is published before every shard
is done; the manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from pipeline import manifest
from pipeline.assets import AssetError
from pipeline.components import NotConverged
from pipeline.engine import Context, Done, Engine, Progress
from pipeline.engine.nodes import needs_of
from pipeline.events import Event, Exchanging, Finished, Packing, ShardDone, Started, Working
from pipeline.exchange import Hall, MeetingFailed, Step
from pipeline.faults import MissingFile, StoreError
from pipeline.fetching.journal import JOURNAL
from pipeline.fetching.rounds import Fetched, published_fetches
from pipeline.index import Index
from pipeline.index_tables import IndexFault
from pipeline.meeting.extend import extend_index
from pipeline.meeting.meet import Met, as_published, meet
from pipeline.pack import Part, plan_parts, write_part
from pipeline.plan import PLAN, Plan, check_output, place_of
from pipeline.publish import Lost, publish_account, remove_strangers
from pipeline.report.card import write_card
from pipeline.report.page import write_report
from pipeline.shard import AccountError, process_shard
from pipeline.shuffle import write_shuffled
from pipeline.spec import JobError
from pipeline.store import Store
from pipeline.tasks import ATTEMPTS, MEETINGS, REPORTS, Segment, ShardReport, ShardTask, read_report
from pipeline.writer import Written
from stages.dedup.minhash import MinHash
from stages.stage import Meeting

ERRORS = ".work/errors"


T = TypeVar("T")


class RunFailed(RuntimeError):
    """The run cannot go on. What is done stays done: the same command goes on from there."""


def run(plan: Plan, engine: Engine) -> Iterator[Event]:
    """Do what is left of a plan.

    Raises JobError where the output is another job's or cannot be written, RunFailed where the run cannot go on, and
    EngineError where the engine's machines cannot do this work.
    """
    start, store = time.monotonic(), plan.store
    begun = check_output(plan)
    if begun:
        earlier = manifest.read(store)
        if earlier is not None and earlier["state"] == "complete":
            if not store.exists("README.md"):  # an attempt that died after its manifest
                _round_off(store, "complete")
            yield Finished(earlier)
            return
    else:
        for stage in plan.stages:
            _try_out(place_of(stage.index) if isinstance(stage, MinHash) else None)
    _check(plan, engine)
    if not begun:
        try:
            if plan.selection is not None:
                plan.selection.keep(store)
            store.write_atomic(PLAN, json.dumps(plan.identity, sort_keys=True, indent=1).encode())
        except StoreError as error:
            raise JobError(f"{error}; name another folder with --output") from error
    done = yield from _through(plan, engine)
    ordered, alarms = done.reports, done.alarms
    try:
        files = [asdict(file) for file in [*publish_account(store, ordered), *published_fetches(store, done.fetched)]]
    except Lost as error:
        raise RunFailed(str(error)) from error
    extended: dict[str, int] = {}
    if done.state == "complete":
        parts = yield from _pack(plan, ordered, engine)
        files = [asdict(file) for file in sorted(parts, key=lambda file: file.path)] + files
        remove_strangers(store, {file["path"] for file in files})
        extended = yield from _extend(plan, engine, done)
    for file in files:
        del file["groups"]
    clusters = as_published(store, done.clusters, ordered, plan.job.output.dropped_text)
    seconds = time.monotonic() - start
    content = manifest.build(plan, ordered, files, done.state, alarms, clusters, extended, seconds)
    if done.fetched is not None:
        content["fetch"] = done.fetched.summary
    manifest.write(store, content)
    _round_off(store, done.state)
    yield Finished(content)


def _check(plan: Plan, engine: Engine) -> None:
    """Before any work. Raises EngineError, and JobError where the output cannot be written."""
    try:
        engine.check(needs_of(plan))
    except StoreError as error:
        raise JobError(f"{error}; name another folder with --output") from error


def _try_out(index: str | None) -> None:
    """Raises JobError where an index cannot be extended."""
    try:
        if index is not None:
            Index(index).try_out()
    except (StoreError, NotImplementedError) as error:
        raise JobError(f"{error or index}; name another place with `index:`") from error


@dataclass(frozen=True)
class _Through:
    """Where all shards have got to."""

    reports: list[ShardReport]
    state: str
    alarms: list[str]
    clusters: list[dict[str, Any]]
    met: dict[int, list[ShardReport]]
    """The reports of the shards that came to each meeting, by its place in the recipe."""
    fetched: Fetched | None
    """What was fetched anew, if the recipe fetches and they came so far."""


def _extend(plan: Plan, engine: Engine, done: _Through) -> Generator[Event, None, dict[str, int]]:
    """Add what is kept to the indexes that the recipe names; returns versions that have it, by index."""
    extended = {}
    snapshot = ",".join(sorted({each.dump or "" for each in plan.inputs} - {""}))
    for at, reports in done.met.items():
        stage = plan.stages[at]
        root = place_of(stage.index) if isinstance(stage, MinHash) else None
        if isinstance(stage, MinHash) and root is not None:
            hall = Hall(plan.store, engine, f"{MEETINGS}/index-{at}-{_digest(done.reports)}")
            name = plan.extension(at, done.reports)
            steps = extend_index(hall, stage, Index(root), name, snapshot, reports, done.reports)
            try:
                extended[root] = (yield from _told(stage.kind, steps)).number
            except (MeetingFailed, IndexFault) as error:
                raise RunFailed(f"{stage.kind}: {error}") from error
    return extended


def _through(plan: Plan, engine: Engine) -> Generator[Event, None, _Through]:
    """All shards through all segments, with the meetings between them; no further than to where the run has failed."""
    alarms: list[str] = []
    clusters: list[dict[str, Any]] = []
    meetings: dict[int, list[ShardReport]] = {}
    before: list[ShardReport] = []
    fetched: Fetched | None = None
    met, segment = Met({}), plan.segments[0]
    for number, following in enumerate([*plan.segments[1:], None]):
        if number == 0:
            tasks = [plan.task(each, segment) for each in range(len(plan.inputs))]
        else:
            tasks = [
                replace(plan.task(report.number, segment), before=report, verdicts=met.verdicts.get(report.number))
                for report in before
                if report.unreadable is None
            ]
        done = yield from _shards(plan, engine, segment, tasks)
        before = sorted([*done, *(report for report in before if report.unreadable is not None)], key=_number)
        state, faults = judge(plan, before)
        if state == "failed" or following is None:
            return _Through(before, state, [*faults, *alarms], clusters, meetings, fetched)
        at = segment.stop - 1
        meeting, known = plan.stages[at], plan.known(at, before)
        assert isinstance(meeting, Meeting)
        name = f"{number + 1}-{_digest(before)}"
        hall = Hall(plan.store, engine, f"{MEETINGS}/{name}")
        try:
            met = yield from _told(meeting.kind, meet(hall, meeting, plan.pins, before, segment.reports, known))
        except (MeetingFailed, NotConverged, StoreError) as error:
            raise RunFailed(f"{meeting.kind}: {error}{_remedy(error, hall.folder)}") from error
        alarms += met.alarms
        clusters += met.clusters
        fetched = met.fetched or fetched
        meetings[at] = before
        segment = replace(following, reports=f"{REPORTS}/{name}")
    raise AssertionError("a plan has a last segment")


def _shards(
    plan: Plan, engine: Engine, segment: Segment, tasks: Sequence[ShardTask]
) -> Generator[Event, None, list[ShardReport]]:
    """Take shards through one segment, those that an earlier attempt finished excepted."""
    reports = _reports(plan.store, segment.reports)
    yield Started(len(tasks), tuple(reports.values()), plan.stages[segment.start - 1].kind if segment.start else None)
    for event in engine.map(_shard, [task for task in tasks if task.number not in reports], _label):
        if isinstance(event, Progress):
            yield Working(event.shards)
            continue
        report = _result(event)
        reports[report.number] = report
        yield ShardDone(report)
    return list(reports.values())


def _told(stage: str, steps: Generator[Step, None, T]) -> Generator[Event, None, T]:
    """A meeting's steps as events."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return cast(T, end.value)
        yield Exchanging(stage, step.phase, step.done, step.tasks)


def _remedy(error: BaseException, meeting: str) -> str:
    """What brings back a file that a meeting, or what follows it, needs and somebody removed."""
    if not isinstance(error, MissingFile) and not isinstance(error.__cause__, MissingFile):
        return ""
    return f"; remove {meeting} and run again, or {REPORTS} as well where files of shards are gone"


def _digest(reports: Sequence[ShardReport]) -> str:
    """Names who meets: with other shards, it is another meeting."""
    who = [[report.number, report.files["ledger"].sha256] for report in reports if report.unreadable is None]
    return hashlib.sha256(json.dumps(who).encode()).hexdigest()[:16]


def _number(report: ShardReport) -> int:
    return report.number


def _round_off(store: Store, state: str) -> None:
    """What follows from a manifest: the pages about it, and that nothing more is needed of the attempts."""
    if state == "complete":
        store.remove_tree(ATTEMPTS)
        store.remove_tree(MEETINGS)
        store.remove_tree(JOURNAL)
    write_report(store)
    write_card(store)


def judge(plan: Plan, reports: Sequence[ShardReport]) -> tuple[str, list[str]]:
    """Whether the run is complete or failed, and what somebody should look at."""
    limits, alarms = plan.job.run, []
    unreadable = [report for report in reports if report.unreadable is not None]
    read, failed = sum(report.read for report in reports), sum(report.failed for report in reports)
    state = "complete"
    if len(unreadable) > limits.max_failed_shards:
        state = "failed"
        what = "1 input" if len(unreadable) == 1 else f"{len(unreadable)} inputs"
        alarms.append(f"{what} could not be read (run.max_failed_shards is {limits.max_failed_shards})")
    if failed > plan.max_failed_share * read:
        state = "failed"
        alarms.append(f"{failed} of {read} records failed (run.max_failed_share is {plan.max_failed_share})")
    return state, alarms


def _reports(store: Store, folder: str) -> dict[int, ShardReport]:
    """Of the shards that are done, by number."""
    paths = [path for path in store.list(folder) if path.count("/") == folder.count("/") + 1]
    return {report.number: report for report in (read_report(store, path) for path in paths)}


def _shard(task: ShardTask, context: Context) -> ShardReport:
    return process_shard(task, context.tell, context.budget)


def _label(task: ShardTask) -> str:
    return f"shard {task.number}: {task.input.shard.rpartition('/')[2]}"


def _result(done: Done[ShardTask, ShardReport]) -> ShardReport:
    """The report, or one that says how the worker died; what is wrong with output, models or crawlmill itself ends the
    run.
    """
    if done.result is not None:
        return done.result
    error = done.error
    if done.item.before is not None and error is not None:  # others may have left for what this shard keeps
        remedy = _remedy(error, f"{MEETINGS}/{done.item.segment.reports.rpartition('/')[2]}")
        raise RunFailed(f"{_label(done.item)}: {type(error).__name__}: {error}{remedy}") from error
    if isinstance(error, StoreError | AssetError | AccountError):
        raise RunFailed(str(error)) from error
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    shard, trace = done.item.input.shard, f"{ERRORS}/{done.item.number:05d}.txt"
    done.item.store.write_atomic(trace, "".join(traceback.format_exception(error)).encode())
    return ShardReport(done.item.number, shard, done.item.input.bytes or 0, unreadable=f"{shard}: {said} (see {trace})")


def _pack(plan: Plan, reports: Sequence[ShardReport], engine: Engine) -> Generator[Event, None, list[Written]]:
    """Write `data/`."""
    out, store = plan.job.output, plan.store
    if out.shuffle is not None:
        hall = Hall(store, engine, f"{MEETINGS}/shuffle-{_digest(reports)}")
        try:
            return (yield from _told("data", write_shuffled(hall, reports, out.shuffle, out.shard_bytes)))
        except MeetingFailed as error:
            raise RunFailed(str(error)) from error
    parts, written = plan_parts(reports, out.shard_bytes), []
    for done in _finished(engine, partial(_part, store), parts, lambda part: part.path):
        written.append(done)
        yield Packing(len(written), len(parts))
    return written


def _part(store: Store, part: Part, context: Context) -> Written:
    return write_part(store, part, f"{ATTEMPTS}/{part.path.replace('/', '.')}.{secrets.token_hex(6)}")


def _finished(engine: Engine, work: Any, items: Sequence[Any], label: Any) -> Iterator[Any]:
    """Results of work whose errors end the run."""
    for event in engine.map(work, items, label):
        if isinstance(event, Done):
            if event.result is None:
                raise RunFailed(f"{label(event.item)}: {type(event.error).__name__}: {event.error}") from event.error
            yield event.result
