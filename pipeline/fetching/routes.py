"""The exchanges of refetching: URLs to their hosts, redirects to theirs, and what was found back to who wants it.

wants: records' URLs meet by host, each once, with the body that another output may have. hops: what a round's visits
redirect to, for the next round. answers: what each wanted URL came to, with the records that want it. All of it is pure
in what the journals have stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.exchange import Exchange, Rows, read_rows
from pipeline.fetching.bodies import ANSWERS
from pipeline.fetching.journal import FETCH, first_keys, read_visits
from pipeline.fetching.todo import URLS
from pipeline.meeting.exact import Emitted, firsts
from pipeline.store import Store
from pipeline.writer import read_batches
from stages.fetch.address import Address
from stages.fetch.robots import REDIRECTS

FETCHES = pa.schema(
    [
        pa.field("url", pa.string()),  # that records want
        pa.field("final_url", pa.string()),  # where redirects led
        pa.field("redirects", pa.int32()),
        pa.field("status", pa.int32()),
        pa.field("attempts", pa.int32()),  # requests on the way, without those for robots.txt
        pa.field("bytes", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("reason", pa.string()),  # null: fetched
        pa.field("robots", pa.string()),  # rules | none | unreachable
        pa.field("content_type", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("fetched_at", pa.string()),
        pa.field("kind_differs", pa.bool_()),  # fetched, and no PDF: the crawl's copy went on
        pa.field("truncated", pa.string()),  # what the PDF's own structure says is missing
        pa.field("earlier", pa.string()),  # the output that it was taken from
        pa.field("body_file", pa.string()),
        pa.field("body_offset", pa.int64()),
        pa.field("body_length", pa.int64()),
    ]
)
"""`fetch/part-*.parquet`: one row for each URL that records want."""
_FINAL = tuple(
    name for name in FETCHES.names if name not in ("url", "final_url", "redirects", "attempts", "seconds", "reason")
)
_ROW_BYTES = 300
_WANT = 2**32
"""The rank of a record among those of its URL, behind what was found."""
_HELD = ("earlier", "body_file", "body_offset", "body_length", "sha256", "final_url", "content_type", "fetched_at")
_WANTS = pa.schema([*(URLS.field(name) for name in ("key", "check", "url", *_HELD)), pa.field("rank", pa.uint64())])
_FOUND = pa.schema([*(pa.field(name, pa.uint64()) for name in ("key", "check", "rank", "doc")), *FETCHES])


@dataclass(frozen=True)
class Earlier:
    """A table of fetches of another output, the `rank`th of those that the job names."""

    root: str
    path: str
    rank: int


@dataclass(frozen=True)
class Visited:
    """A bin after a round: the URLs that it had to ask for, which its journal knows all about."""

    bin: int
    round: int
    urls: Rows


def wants() -> Exchange:
    """Of `Emitted` and `Earlier`: `urls` (URLS), each once."""
    return _exchange("wants", _wanted, _each_once, ("key", "check", "rank"))


def hops(number: int) -> Exchange:
    """Of `Visited`: `urls` (URLS) that they redirect to, for round `number`."""
    return _exchange(f"hops-{number}", _redirects, _as_they_come, ("key", "check", "from_key", "from_check"))


def answers() -> Exchange:
    """Of `Emitted`, and `Visited` of all rounds: `fetches` (FETCHES) and `answers` (ANSWERS)."""
    return _exchange("answers", _found, _handed_on, ("key", "check", "rank", "doc"))


def _exchange(name: str, emit: Any, decide: Any, order: tuple[str, ...]) -> Exchange:
    """Whose partitions are bins."""
    return Exchange(name, emit, decide, order, _ROW_BYTES, first_keys())


def _wanted(store: Store, source: Emitted | Earlier) -> Iterator[pa.Table]:
    if isinstance(source, Earlier):
        yield from _held(source)
        return
    for _, batch in source.batches(store, ("key", "check", "target")):
        table = pa.Table.from_batches([batch]).rename_columns(["key", "check", "url"])
        yield _filled(table.filter(table["key"].is_valid()), _WANTS, rank=_WANT)


def _held(source: Earlier) -> Iterator[pa.Table]:
    """Bodies that another output has, by the URL that they were wanted as."""
    columns = ["url", *(name for name in _HELD if name != "earlier")]
    for batch in read_batches(Store(source.root), source.path, columns):
        rows = []
        for row in batch.filter(batch.column("body_file").is_valid()).to_pylist():
            address = Address.of(row["url"])
            if address is not None and row["body_file"].startswith(f"{FETCH}/"):
                key, check = address.keys
                rows.append(row | {"key": key, "check": check, "earlier": source.root, "rank": source.rank})
        yield pa.Table.from_pylist(rows, schema=_WANTS)


def _each_once(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Of each URL that records want the first row, with the first body that is held."""
    pending = _WANTS.empty_table()
    for window in windows:
        table = _firsts_of_kind(pa.concat_tables([pending, window]))
        last = firsts(*(table[name].to_numpy() for name in ("key", "check")))[-1] if table.num_rows else 0
        pending = table.slice(int(last))
        yield "urls", _paired(table.slice(0, int(last)))
    yield "urls", _paired(pending)


def _firsts_of_kind(table: pa.Table) -> pa.Table:
    """At most two rows of each URL: the first body that is held, and the first record."""
    wanting = (table["rank"].to_numpy() == _WANT).astype(np.uint64)
    keys = [table[name].to_numpy() for name in ("key", "check")]
    first = firsts(*keys, wanting)
    return table.take(pa.array(np.unique(first))).combine_chunks()


def _paired(table: pa.Table) -> pa.Table:
    """Rows of URLS: a record's, with what the row before it holds for the same URL."""
    wanting = np.flatnonzero(table["rank"].to_numpy() == _WANT)
    first = firsts(*(table[name].to_numpy() for name in ("key", "check"))) if table.num_rows else wanting
    holder = first[wanting]
    who = table.take(pa.array(wanting))
    held = table.take(pa.array(holder, mask=holder == wanting))
    columns = {name: held[name] for name in _HELD}
    columns |= {name: who[name] for name in ("key", "check", "url")}
    columns |= {"from_key": who["key"], "from_check": who["check"], "from_url": who["url"]}
    return _filled(pa.table(columns), URLS, attempts=0, seconds=0.0)


def _redirects(store: Store, visited: Visited) -> Iterator[pa.Table]:
    """Where a bin's visits lead on, with the way so far."""
    journal = _Pages(store, visited.bin)
    for table in read_rows(store, visited.urls):
        rows = []
        for row in table.to_pylist():
            visit = journal.of(row)
            target = Address.of(visit["location"])
            if target is None:
                continue
            key, check = target.keys
            way = {name: row[name] for name in ("from_key", "from_check", "from_url")}
            spent = {name: row[name] + (visit[name] or 0) for name in ("attempts", "seconds")}
            rows.append({"key": key, "check": check, "url": target.url} | way | spent)
        yield pa.Table.from_pylist(rows, schema=URLS)


def _as_they_come(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    for window in windows:
        yield "urls", window


def _found(store: Store, source: Emitted | Visited) -> Iterator[pa.Table]:
    """Ends of ways, by the URL that they began at; and records, by the URL that they want."""
    if isinstance(source, Visited):
        journal = _Pages(store, source.bin)
        for table in read_rows(store, source.urls):
            ends = (_end(row, journal.of(row), source.round) for row in table.to_pylist())
            yield pa.Table.from_pylist([end for end in ends if end is not None], schema=_FOUND)
        return
    for docs, batch in source.batches(store, ("key", "check")):
        table = pa.Table.from_batches([batch]).append_column("doc", pa.array(docs))
        yield _filled(table.filter(table["key"].is_valid()), _FOUND, rank=_WANT)


def _end(row: dict[str, Any], visit: dict[str, Any], number: int) -> dict[str, Any] | None:
    """A row of FETCHES with the keys of the wanted URL; None where the way goes on."""
    if visit["location"] is not None and number < REDIRECTS:
        return None
    return {name: visit[name] for name in _FINAL} | {
        "key": row["from_key"],
        "check": row["from_check"],
        "rank": 0,
        "doc": 0,
        "url": row["from_url"],
        "final_url": visit["final_url"] or row["url"],
        "redirects": number,
        "attempts": row["attempts"] + visit["attempts"],
        "seconds": round(row["seconds"] + (visit["seconds"] or 0), 3),
        "reason": "too_many_redirects" if visit["location"] is not None else visit["reason"],
    }


def _handed_on(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """The fetches, and for each record whose URL brought a PDF where it lies."""
    before = _FOUND.empty_table()
    for window in windows:
        table = pa.concat_tables([before, window])
        first = firsts(*(table[name].to_numpy() for name in ("key", "check")))
        rank = table["rank"].to_numpy()
        found = np.flatnonzero(rank == 0)
        yield "fetches", table.take(pa.array(found[found >= before.num_rows])).select(FETCHES.names)
        records = np.flatnonzero(rank == _WANT)
        brought = table.take(pa.array(first[records])).set_column(
            table.schema.get_field_index("doc"), "doc", table["doc"].take(pa.array(records))
        )
        yield "answers", brought.filter(brought["body_file"].is_valid()).select(ANSWERS.names)
        before = table.slice(int(first[-1]), 1)


class _Pages:
    """The visits of a bin, by URL; of several of one URL, which only two tasks at once can leave, always the same."""

    def __init__(self, store: Store, number: int) -> None:
        names = ["key", "check", "what", "location", "reason", "attempts", "seconds", "final_url", *_FINAL]
        self._visits: dict[tuple[int, int], dict[str, Any]] = {}
        for table in read_visits(store, number, names):
            for visit in table.to_pylist():
                if visit["what"] == "page":
                    self._visits.setdefault((visit["key"], visit["check"]), visit)

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._visits[row["key"], row["check"]]


def _filled(table: pa.Table, schema: pa.Schema, **same: Any) -> pa.Table:
    """A table of a schema: columns that are there, others with one value, the rest null."""

    def column(field: pa.Field) -> Any:
        if field.name in table.schema.names:
            return table[field.name]
        return pa.repeat(pa.scalar(same.get(field.name), field.type), table.num_rows)

    return pa.table([column(field) for field in schema], schema=schema)
