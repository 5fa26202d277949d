"""A fetching task: asks for the URLs of one bin's hosts, many hosts at a time and each with its own manners.

A host belongs to one bin, and of a round one task works on a bin: so what one `Gate` counts holds for the run, since
that of the next round, or attempt, begins where it left off. (What a robots.txt redirects to may be another bin's host.
Such a request keeps this task's own gate of that host.) The delay and the concurrency of a host hold for all runs of a
cluster, whose gates take turns (`Context.turns`). What came of each URL goes to the bin's journal before the next one
of its host is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline import __version__
from pipeline.assets import Pin, resolve
from pipeline.engine import Context
from pipeline.faults import StoreError
from pipeline.fetching.attended import attended
from pipeline.fetching.bodies import BodyPlace, read_body
from pipeline.fetching.journal import CHUNKS, Chunks, Journal
from pipeline.fetching.todo import FetchTask, Known, Row, hosts_of, known_to
from pipeline.store import Store
from stages.fetch.address import Address, host_key
from stages.fetch.client import Client
from stages.fetch.guard import Resolver, system_resolver
from stages.fetch.politeness import Allowance, Gate, Turns
from stages.fetch.refetch import Refetch
from stages.fetch.robots import Robots
from stages.fetch.visits import Visit, Visitor
from stages.read.media import looks_like_pdf, pdf_truncation

HOSTS_AT_ONCE = 64
"""Of one task. Each may have `concurrency_per_host` bodies under way, kept on disk beyond a megabyte."""


@dataclass(frozen=True)
class Desk:
    """What all tasks have in common. resolver: how names become addresses, for tests to say."""

    store: Store
    stage: Refetch
    pins: tuple[Pin, ...]
    chunks: Chunks = CHUNKS
    resolver: Resolver = system_resolver


@dataclass(frozen=True)
class BinFetched:
    """What a bin's hosts were asked in this round, by this attempt and those before it."""

    urls: int
    fetched: int
    requests: int


def fetch_bin(desk: Desk, task: FetchTask, context: Context) -> BinFetched:
    """Ask for all URLs of a task that nobody asked for yet. Raises StoreError, AssetError."""
    known = known_to(desk.store, task)
    with Journal(desk.store, task.bin, desk.chunks) as journal:
        count = _Count()
        allowance = Allowance(max(0, task.requests - known.in_round))
        work = _Work(desk, task, journal, known, allowance, count, context.turns)
        asking = work.through(hosts_of(desk.store, task, known))
        attended(asking, lambda: context.tell(task.bin, count.done, count.fetched))
    return BinFetched(count.done, count.fetched, known.in_round + count.requests)


@dataclass
class _Count:
    """How far the task is."""

    done: int = 0
    fetched: int = 0
    requests: int = 0

    def take(self, requests: int, fetched: bool) -> None:
        self.done += 1
        self.fetched += fetched
        self.requests += requests


class _Work:
    def __init__(
        self,
        desk: Desk,
        task: FetchTask,
        journal: Journal,
        known: Known,
        allowance: Allowance,
        count: _Count,
        turns: Turns | None,
    ) -> None:
        self._desk, self._task, self._journal, self._count = desk, task, journal, count
        self._known, self._allowance, self._turns = known, allowance, turns
        self._gates: dict[str, Gate] = {}
        self._writing = asyncio.Lock()

    async def through(self, hosts: Mapping[int, Sequence[Row]]) -> None:
        """Visit all hosts; those with most URLs begin."""
        stage, _ = resolve(self._desk.stage, self._desk.pins)
        assert isinstance(stage, Refetch)
        client = stage.client(__version__, self._desk.resolver)
        # Names are resolved in threads, and a dead name keeps its thread for long.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(HOSTS_AT_ONCE))
        waiting = iter(sorted(hosts.items(), key=lambda host: (-len(host[1]), host[0])))

        async def some_hosts() -> None:
            for key, rows in waiting:
                visitor, todo = self._visitor(client, key), iter(rows)
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._desk.stage.concurrency_per_host):
                        group.create_task(self._one_by_one(visitor, todo))

        try:
            async with asyncio.TaskGroup() as attendants:
                closing = attendants.create_task(self._close_old())
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(HOSTS_AT_ONCE, len(hosts))):
                        group.create_task(some_hosts())
                closing.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    def _visitor(self, client: Client, key: int) -> Visitor:
        stage = self._desk.stage
        return Visitor(
            client=client,
            gate_of=self._gate,
            robots=self._known.robots.pop(key, {}),
            note=self._note_robots,
            note_trouble=self._note_trouble,
            attempts=stage.attempts,
            max_bytes=stage.max_bytes,
            robots_max_age=stage.robots_max_age,
        )

    async def _one_by_one(self, visitor: Visitor, rows: Iterator[Row]) -> None:
        for row in rows:
            if row["earlier"] is not None and await self._taken_over(row):
                continue
            address = Address.of(row["url"])
            assert address is not None, "what is exchanged was an address"
            await self._store(row, await visitor.visit(address))

    async def _store(self, row: Row, visit: Visit) -> None:
        found = _row(row, self._task.round) | {
            "attempts": visit.attempts,
            "status": visit.status,
            "reason": visit.reason,
            "location": visit.location,
            "robots": visit.robots,
            "content_type": visit.content_type,
            "bytes": visit.size,
            "sha256": visit.sha256,
            "seconds": visit.seconds,
            "fetched_at": visit.fetched_at,
        }
        async with self._writing:
            body = None
            if visit.body is not None:
                with visit.body as stream:
                    body = stream.read()
            await asyncio.to_thread(_add, self._journal, found, body)
        self._count.take(visit.attempts, visit.body is not None)

    async def _taken_over(self, row: Row) -> bool:
        """Take the body that another output has; False where it has it no longer."""
        place = BodyPlace(row["body_file"], row["body_offset"], row["body_length"])
        async with self._writing:
            try:
                body = await asyncio.to_thread(read_body, Store(row["earlier"]), place, row["sha256"])
            except StoreError:
                return False
            same = ("earlier", "final_url", "content_type", "sha256", "fetched_at")
            found = _row(row, self._task.round) | {"bytes": len(body)} | {name: row[name] for name in same}
            await asyncio.to_thread(_add, self._journal, found, body)
        self._count.take(0, True)
        return True

    async def _note_robots(self, robots: Robots, requests: int) -> None:
        address = Address.of(robots.origin)
        assert address is not None, "the origin of an address"
        key, check = address.keys
        row = {"key": key, "check": check, "url": robots.origin, "what": "robots", "round": self._task.round}
        row |= {"attempts": requests, "status": robots.status, "reason": robots.reason, "robots": robots.verdict}
        row |= {"rules": robots.rules, "fetched_time": robots.fetched_at}
        async with self._writing:
            await asyncio.to_thread(self._journal.add, row)
        self._count.requests += requests

    async def _note_trouble(self, gate: Gate) -> None:
        """By the wall's clock, which the next process has, too."""
        row = {"key": host_key(gate.host), "check": 0, "url": gate.host, "what": "host", "round": self._task.round}
        row |= {"attempts": 0, "reason": gate.closed, "seconds": gate.rest, "fetched_time": time.time()}
        async with self._writing:
            await asyncio.to_thread(self._journal.add, row)

    def _gate(self, host: str) -> Gate:
        if host not in self._gates:
            key, known = host_key(host), self._known
            gate = Gate(host, self._desk.stage.manners, self._allowance, known.requests[key], self._turns)
            gate.go_on(known.rests.get(key, 0.0) - time.time(), known.closed.get(key))
            self._gates[host] = gate
        return self._gates[host]

    async def _close_old(self) -> None:
        """Store what was found while all hosts are waited for."""
        while True:
            await asyncio.sleep(max(0.1, self._desk.chunks.seconds / 4))
            async with self._writing:
                await asyncio.to_thread(self._journal.close_if_old)


def _add(journal: Journal, row: dict[str, Any], body: bytes | None) -> None:
    """A visit to the journal, with its body if that is a PDF."""
    if body is None:
        journal.add(row)
    elif looks_like_pdf(body):
        journal.add(row | {"kind_differs": False, "truncated": pdf_truncation(body)}, body)
    else:
        journal.add(row | {"kind_differs": True})


def _row(row: Row, number: int) -> dict[str, Any]:
    """A page's row of the journal, with what is known before it is asked for."""
    return {name: row[name] for name in ("key", "check", "url")} | {"what": "page", "round": number, "attempts": 0}


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
