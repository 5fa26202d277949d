"""From band keys to clusters: the exchanges that turn buckets into edges and edges into connected components.

Which arithmetic a step does is `stages.dedup.clusters`; this is the loop around it. No task holds more than its share
of the edges, but for the last step: when few are left, one task finishes them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.exchange import Exchange, Hall, Rows, Source, Step, read_rows
from pipeline.store import Store
from stages.dedup.clusters import FOLLOWS, LEADS, U64, Last, compose, connected, mixed, move, name, point, stars

LAST_EDGES = 2**20
"""Edges that one task finishes alone, in about 150 MB."""
MAX_ROUNDS = 64
"""Each round leaves about half of the nodes: a chain of 20,000 takes 15, a star of 100,000 about 12."""

EDGES, POINTERS, LABELS = ("a", "b"), ("node", "to"), ("doc", "label")
"""Columns of the files, all uint64. A label is the least document of a component."""

Deciding = Iterator[tuple[str, pa.Table]]


class NotConverged(RuntimeError):
    """Clusters are not complete, and nothing may be decided by them."""


def bucket_edges(named: str, emit: Callable[[Store, Any], Iterator[pa.Table]], cap: int) -> Exchange:
    """Rows (key: of a band, doc), both uint64, into the outputs

    - `edges` (a, b): a bucket's least document with each of its others, none among representatives alone;
    - `oversize` (key, size, doc): buckets of more than `cap` documents, with the least of them.
    """
    return Exchange(named, emit, partial(_decide_buckets, cap), ("key", "doc"), 16)


def _decide_buckets(cap: int, store: Store, windows: Iterator[pa.Table]) -> Deciding:
    last: Last | None = None
    for window in windows:
        edges, groups = stars(_column(window, "key"), _column(window, "doc"), last)
        last = groups.last
        yield "edges", _table(EDGES, edges)
        over = groups.ended[1] > cap
        yield "oversize", _table(("key", "size", "doc"), [column[over] for column in groups.ended])
    if last is not None and last.size > cap:
        ended = [np.array([value]) for value in (last.key, last.size, last.leader)]
        yield "oversize", _table(("key", "size", "doc"), ended)


def components(
    hall: Hall, edges: Sequence[Rows], named: str = "components", last_edges: int = LAST_EDGES
) -> Generator[Step, None, list[Rows]]:
    """Edge files (a, b) into label files (doc, label) of every document that has an edge to another, each once.

    The members of a component stand together, in ascending order, across the files taken in order. `edges` stay; what
    the rounds leave is discarded. Raises NotConverged, and what `Hall.run` raises.
    """
    pointers: list[list[Rows]] = []
    while sum(each.rows for each in edges) > last_edges:
        round = len(pointers)
        if round == MAX_ROUNDS:
            left = sum(each.rows for each in edges)
            raise NotConverged(f"{named}: {left} edges are left after {round} rounds, so clusters are incomplete")
        found = yield from hall.run(_pointing(f"{named}.{round:02d}.point", round), _sources(edges, 2))
        pointers.append(found.get("pointers", []))
        halves = found.get("halves", [])
        asked = _tagged(LEADS, POINTERS, pointers[-1]) + _tagged(FOLLOWS, POINTERS, halves)
        moved = yield from hall.run(_moving(f"{named}.{round:02d}.move", round), asked)
        hall.discard([*halves, *(edges if round else [])])
        edges = moved.get("edges", [])
    labels = (yield from hall.run(_finishing(f"{named}.finish"), _sources(edges, 1))).get("labels", [])
    if pointers:
        hall.discard(edges)
    for round in reversed(range(len(pointers))):
        asked = _tagged(LEADS, LABELS, labels) + _tagged(FOLLOWS, POINTERS[::-1], pointers[round])
        composed = yield from hall.run(_composing(f"{named}.{round:02d}.compose", round), asked)
        hall.discard([*labels, *pointers[round]])
        labels = composed.get("labels", [])
    named_labels = yield from hall.run(_naming(f"{named}.name"), _sources(labels, 1))
    hall.discard(labels)
    return named_labels.get("labels", [])


def _sources(files: Sequence[Rows], times: int) -> list[Source]:
    return [Source(each, each.rows * times) for each in files]


def _tagged(tag: int, columns: tuple[str, ...], files: Sequence[Rows]) -> list[Source]:
    """Sources of rows (key, tag, value), from the first and the second of `columns`."""
    return [Source((tag, columns, each), each.rows) for each in files]


# The exchanges: what is emitted, and the arithmetic that decides


def _pointing(named: str, round: int) -> Exchange:
    decide = partial(
        _decide, partial(point, round=round), ("key", "other"), (("pointers", POINTERS), ("halves", POINTERS))
    )
    return Exchange(named, partial(_emit_both_ways, round), decide, ("key", "other"), 16)


def _moving(named: str, round: int) -> Exchange:
    decide = partial(_decide, move, ("key", "tag", "value"), (("edges", EDGES),))
    return Exchange(named, partial(_emit_tagged, round), decide, ("key", "tag", "value"), 17)


def _composing(named: str, round: int) -> Exchange:
    decide = partial(_decide, partial(compose, round=round), ("key", "tag", "value"), (("labels", LABELS),))
    return Exchange(named, partial(_emit_tagged, round), decide, ("key", "tag", "value"), 17)


def _naming(named: str) -> Exchange:
    decide = partial(_decide, name, ("key", "doc"), (("labels", LABELS),))
    return Exchange(named, _emit_labels, decide, ("key", "doc"), 16)


def _finishing(named: str) -> Exchange:
    return Exchange(named, _emit_edges, _decide_connected, ("key",), 16, bounds=())


def _emit_both_ways(round: int, store: Store, item: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, item):
        a, b = (mixed(_column(table, each), round) for each in EDGES)
        apart = a != b
        a, b = a[apart], b[apart]
        yield pa.table({"key": np.concatenate([a, b]), "other": np.concatenate([b, a])})


def _emit_tagged(round: int, store: Store, item: tuple[int, tuple[str, str], Rows]) -> Iterator[pa.Table]:
    tag, (keyed, valued), rows = item
    for table in read_rows(store, rows):
        keys = mixed(_column(table, keyed), round)
        yield pa.table({"key": keys, "tag": np.full(len(keys), tag, np.uint8), "value": _column(table, valued)})


def _emit_labels(store: Store, item: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, item):
        yield pa.table({"key": mixed(_column(table, "label"), 0), "doc": _column(table, "doc")})


def _emit_edges(store: Store, item: Rows) -> Iterator[pa.Table]:
    for table in read_rows(store, item):
        a, b = (_column(table, each) for each in EDGES)
        yield pa.table({"key": a[a != b], "other": b[a != b]})


def _decide_connected(store: Store, windows: Iterator[pa.Table]) -> Deciding:
    whole = pa.concat_tables(windows)
    yield "labels", _table(LABELS, connected(_column(whole, "key"), _column(whole, "other")))


def _decide(
    step: Callable[..., Any],
    order: tuple[str, ...],
    outputs: tuple[tuple[str, tuple[str, ...]], ...],
    store: Store,
    windows: Iterator[pa.Table],
) -> Deciding:
    """Window by window, each with what is to be known of the one before."""
    last: Last | None = None
    for window in windows:
        *found, last = step(*(_column(window, each) for each in order), last)
        for (output, columns), arrays in zip(outputs, found):
            yield output, _table(columns, arrays)


def _column(table: pa.Table, called: str) -> U64:
    column: U64 = table.column(called).to_numpy()
    return column


def _table(columns: Sequence[str], arrays: Sequence[Any]) -> pa.Table:
    return pa.table(dict(zip(columns, arrays)))
