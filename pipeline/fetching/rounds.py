"""Refetching as a meeting: URLs go to their hosts, are asked in rounds, and what they brought goes home.

A round asks for what the one before it was redirected to; there are as many as redirects are followed, and one more.
Every host is in one bin and every bin in one task of a round, so a host's limits hold for the whole cluster. An attempt
that goes on asks for nothing that is stored.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.assets import Pin
from pipeline.engine import Done, Progress
from pipeline.exchange import Hall, MeetingFailed, Rows, Source, Step
from pipeline.faults import StoreError
from pipeline.fetching import routes
from pipeline.fetching.journal import CHUNKS, FETCH, Chunks, stored_bodies
from pipeline.fetching.routes import FETCHES, Earlier, Visited
from pipeline.fetching.todo import FetchTask, may_cost
from pipeline.fetching.work import BinFetched, Desk, fetch_bin
from pipeline.meeting.exact import Emitted
from pipeline.meeting.home import send_home
from pipeline.store import Store
from pipeline.tasks import ATTEMPTS
from pipeline.writer import Written, write_all
from stages.fetch.guard import Resolver, system_resolver
from stages.fetch.refetch import Refetch
from stages.fetch.robots import REDIRECTS

PART_ROWS = 1_000_000
GROUP_ROWS = 20_000
_SHOWN_SECONDS = 0.5
MOST_SILENT = 0.5
"""Share of URLs whose hosts do not answer, above which it may be us."""
_SILENT = ("robots_unreachable", "unresolved", "connection_failed", "timed_out", "host_unreachable")


@dataclass(frozen=True)
class Fetched:
    """What refetching came to. answers: the file for each shard that has any; parts: `fetch/part-*.parquet`."""

    answers: Mapping[int, str]
    parts: Sequence[Written]
    summary: Mapping[str, Any]
    alarms: Sequence[str] = field(default_factory=list)


def refetch(
    hall: Hall,
    stage: Refetch,
    pins: tuple[Pin, ...],
    emitted: Sequence[Emitted],
    chunks: Chunks = CHUNKS,
    resolver: Resolver = system_resolver,
) -> Generator[Step, None, Fetched]:
    """Ask for what the shards want. Raises MeetingFailed, and StoreError."""
    desk = Desk(hall.store, stage, pins, chunks, resolver)
    sources = [Source(each, each.rows) for each in emitted]
    urls = (yield from hall.run(routes.wants(), [*_earlier(stage), *sources])).get("urls", [])
    visited: list[Visited] = []
    requests = 0
    for number in range(REDIRECTS + 1):
        if not urls:
            break
        requests += yield from _round(hall, desk, number, urls, stage.max_requests - requests)
        here = [Visited(rows.partition, number, rows) for rows in urls]
        visited += here
        if number < REDIRECTS:
            following = yield from hall.run(routes.hops(number + 1), [Source(each, each.urls.rows) for each in here])
            urls = following.get("urls", [])
    ends = [Source(each, each.urls.rows) for each in visited]
    found = yield from hall.run(routes.answers(), [*ends, *sources])
    homes = yield from send_home(hall, found.get("answers", []), emitted)
    parts, summary = _written(hall, found.get("fetches", []))
    return Fetched(homes, parts, summary | {"requests": requests}, _alarms(summary))


def published_fetches(store: Store, fetched: Fetched | None) -> list[Written]:
    """All that is to be listed of `fetch/`: bodies that are stored, also of attempts that came no further, and tables.
    What an attempt left there without having noted it is removed.
    """
    files = [*stored_bodies(store), *(fetched.parts if fetched is not None else [])]
    for stranger in set(store.list(FETCH)) - {file.path for file in files}:
        store.remove(stranger)
    return files


def _earlier(stage: Refetch) -> Iterator[Source]:
    """The tables of other outputs' fetches."""
    for rank, root in enumerate(stage.earlier):
        store = Store(root)
        parts = [path for path in store.list(FETCH) if path.endswith(".parquet")]
        if not parts:
            raise MeetingFailed(f"earlier: {store.root}: no {FETCH}/part-*.parquet there; name the output of a job")
        for path in parts:
            yield Source(Earlier(store.root, path, rank), 0)


def _round(hall: Hall, desk: Desk, number: int, urls: Sequence[Rows], requests: int) -> Generator[Step, None, int]:
    """Let every bin ask for its URLs; how many requests it took, with those of earlier attempts at this round."""
    note = f"{hall.folder}/round-{number}.json"
    if hall.store.exists(note):
        return int(json.loads(hall.store.read_bytes(note))["requests"])
    total = sum(rows.rows for rows in urls)
    needs = [may_cost(hall.store, rows, desk.stage.max_requests_per_host) for rows in urls]
    tasks = [FetchTask(rows.partition, number, rows, share) for rows, share in zip(urls, shares(requests, needs))]
    progress, spent, shown = _Shown(number, total), 0, 0.0
    yield progress.step()
    for event in hall.engine.map(partial(fetch_bin, desk), tasks, lambda task: f"fetch {number}: hosts {task.bin}"):
        if isinstance(event, Progress):
            progress.told.update(event.shards)
        elif isinstance(event, Done):
            if event.result is None:
                raise _failed(event.item, event.error)
            progress.finish(event.item, event.result)
            spent += event.result.requests
        if isinstance(event, Done) or time.monotonic() - shown > _SHOWN_SECONDS:
            shown = time.monotonic()
            yield progress.step()
    hall.store.write_atomic(note, json.dumps({"requests": spent}).encode())
    return spent


def shares(requests: int, needs: Sequence[int]) -> list[int]:
    """How many requests each of several bins may make, in proportion to its needs; all together no more than given.

    So a budget needs nobody who counts while the bins are at work. What a bin leaves of its share, the next round has.
    """
    before, total, given = 0, max(1, sum(needs)), []
    for count in needs:
        given.append(max(0, requests) * (before + count) // total - max(0, requests) * before // total)
        before += count
    return given


def _failed(task: FetchTask, error: BaseException | None) -> MeetingFailed:
    said = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
    failed = MeetingFailed(" ".join(f"fetching, hosts {task.bin}: {said}".split())[:400])
    failed.__cause__ = error
    return failed


@dataclass
class _Shown:
    """How far a round is, in words."""

    number: int
    urls: int
    told: dict[int, tuple[int, int]] = field(default_factory=dict)
    stored: int = 0
    start: float = field(default_factory=time.monotonic)

    def finish(self, task: FetchTask, result: BinFetched) -> None:
        self.told[task.bin] = (result.urls, result.fetched)
        self.stored += task.urls.rows - result.urls

    def step(self) -> Step:
        asked, fetched = (sum(each[at] for each in self.told.values()) for at in (0, 1))
        rate = asked / max(time.monotonic() - self.start, 1e-9)
        what = f"round {self.number}: {fetched:,} fetched, {asked - fetched:,} not, {rate:.1f}/s"
        return Step(what, min(self.urls, asked + self.stored), self.urls, 0)


def _written(hall: Hall, fetches: Sequence[Rows]) -> tuple[list[Written], dict[str, Any]]:
    """The table of all fetches, under `fetch/`, and its summary."""
    tally = _Tally()
    parts: list[Written] = []
    rows = tally.watched(batch for table in hall.read(fetches) for batch in table.to_batches())
    for number, some in enumerate(_in_parts(rows)):
        attempt, target = f"{ATTEMPTS}/{FETCH}.part-{number:05d}.parquet", f"{FETCH}/part-{number:05d}.parquet"
        file = write_all(hall.store, attempt, FETCHES, GROUP_ROWS, some)
        hall.store.move(attempt, target)
        parts.append(Written(target, file.rows, file.bytes, file.sha256, ()))
    return parts, tally.summary


def _in_parts(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The same batches in groups of about PART_ROWS rows, at least one group."""
    first: list[pa.RecordBatch] = []

    def some() -> Iterator[pa.RecordBatch]:
        rows = 0
        while rows < PART_ROWS and (batch := first.pop() if first else next(batches, None)) is not None:
            rows += batch.num_rows
            yield batch

    yield some()
    while (following := next(batches, None)) is not None:
        first.append(following)
        yield some()


class _Tally:
    """Counts fetches as they go by."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._asked = self._fetched = self._differing = self._bytes = 0
        self._hosts: set[str] = set()

    def watched(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._asked += batch.num_rows
            for row in batch.select(["reason", "kind_differs", "bytes", "url"]).to_pylist():
                if row["reason"] is not None:
                    self._reasons[row["reason"]] += 1
                elif row["kind_differs"]:
                    self._differing += 1
                else:
                    self._fetched += 1
                    self._bytes += row["bytes"]
                self._hosts.add(row["url"].split("/")[2])
            yield batch

    @property
    def summary(self) -> dict[str, Any]:
        return {
            "urls": self._asked,
            "fetched": self._fetched,
            "kind_differs": self._differing,
            "reasons": dict(sorted(self._reasons.items(), key=lambda each: (-each[1], each[0]))),
            "bytes": self._bytes,
            "hosts": len(self._hosts),
        }


def _alarms(summary: Mapping[str, Any]) -> list[str]:
    reasons, urls = summary["reasons"], summary["urls"]
    alarms = []
    left = sum(reasons.get(name, 0) for name in ("job_budget_spent", "host_budget_spent", "host_time_spent"))
    if left:
        what = "max_requests, max_requests_per_host or seconds_per_host were used up before"
        alarms.append(f"refetch: {left:,} of {urls:,} URLs were not asked for: {what}")
    silent = sum(reasons.get(name, 0) for name in _SILENT)
    if silent > MOST_SILENT * urls:
        alarms.append(
            f"refetch: {silent:,} of {urls:,} URLs are of hosts that did not answer: is this network all right?"
        )
    return alarms
