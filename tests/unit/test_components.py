"""Band keys to clusters through the real exchange, with and without the last step that finishes in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from halls import drive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipeline.components
from pipeline.components import NotConverged, bucket_edges, components
from pipeline.engine.inline import InlineEngine
from pipeline.exchange import Exchange, Hall, Rows, Source, Step
from pipeline.store import Store

Edge = tuple[int, int]
DOCS = st.one_of(st.integers(0, 15), st.sampled_from([2**32, 2**63, 2**63 + 1, 2**64 - 1]))
GRAPHS = st.lists(st.tuples(DOCS, DOCS), max_size=40)
quick = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with InlineEngine(requests_per_second=1) as engine:
        yield Hall(Store(str(tmp_path)), engine, "hall")


def emit_edges(store: Store, edges: Sequence[Edge] | np.ndarray) -> Iterator[pa.Table]:
    ends = np.array(edges, np.uint64).reshape(-1, 2)
    yield pa.table({"key": ends[:, 0], "b": ends[:, 1]})


def decide_edges(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    yield from (("edges", window.rename_columns(["a", "b"])) for window in windows)


def edge_files(hall: Hall, edges: Sequence[Edge] | np.ndarray) -> list[Rows]:
    given = Exchange("given", emit_edges, decide_edges, ("key", "b"), 16)
    return drive(hall.run(given, [Source(edges, len(edges))]))[0].get("edges", [])


def labels_of(hall: Hall, files: Sequence[Rows]) -> list[Edge]:
    return [edge for table in hall.read(files) for edge in zip(*(column.to_pylist() for column in table.columns))]


def rounds(steps: Sequence[Step]) -> int:
    return len({step.phase for step in steps if step.phase.endswith("point gather")})


def least(edges: Sequence[Edge]) -> dict[int, int]:
    """The least document that can be reached from each, by brute force."""
    found = {doc: doc for edge in edges for doc in edge if edge[0] != edge[1]}
    for _ in found:
        for a, b in edges:
            if a != b:
                found[a] = found[b] = min(found[a], found[b])
    return found


@quick
@given(GRAPHS, st.sampled_from([0, 3, 1000]), st.sampled_from([60, 400, 10**6]))
def test_every_document_is_labelled_with_the_least_it_is_connected_to(
    hall: Hall, edges: list[Edge], last_edges: int, task_bytes: int
) -> None:
    small = Hall(hall.store, hall.engine, "small", task_bytes, batch_bytes=64)
    files, _ = drive(components(small, edge_files(small, edges), last_edges=last_edges))
    found = labels_of(small, files)
    hall.store.remove_tree("small")
    assert dict(found) == least(edges)
    assert len(found) == len(least(edges))
    together = [label for n, (_, label) in enumerate(found) if n == 0 or found[n - 1][1] != label]
    assert len(together) == len(set(together)), "members stand together"
    assert all(a < b for (a, one), (b, other) in pairwise(found) if one == other), "and ascend"


CHAIN = 20_000
ORDERS = {"sorted": np.arange(CHAIN), "shuffled": np.random.default_rng(3).permutation(CHAIN)}


@pytest.mark.parametrize("order", ORDERS)
def test_a_long_chain_takes_few_rounds(hall: Hall, order: str) -> None:
    chain = ORDERS[order]
    edges = np.column_stack([chain[:-1], chain[1:]])
    files, steps = drive(components(hall, edge_files(hall, edges), last_edges=0))
    assert sorted(labels_of(hall, files)) == [(doc, 0) for doc in range(CHAIN)]
    assert 5 < rounds(steps) <= 40


def test_a_star_takes_few_rounds(hall: Hall) -> None:
    edges = np.column_stack([np.full(5_000, 7), np.arange(100, 5_100)])
    files, steps = drive(components(hall, edge_files(hall, edges), last_edges=0))
    assert sorted(labels_of(hall, files)) == [(doc, 7) for doc in [7, *range(100, 5_100)]]
    assert 1 < rounds(steps) <= 40


def test_few_edges_are_finished_in_one_task(hall: Hall) -> None:
    edges = edge_files(hall, [(1, 2), (2, 3), (9, 8)])
    files, steps = drive(components(hall, edges, last_edges=3))
    assert sorted(labels_of(hall, files)) == [(1, 1), (2, 1), (3, 1), (8, 8), (9, 8)]
    assert rounds(steps) == 0


def test_only_edges_and_labels_are_left(hall: Hall) -> None:
    edges = edge_files(hall, [(n, n + 1) for n in range(50)])
    files, steps = drive(components(hall, edges, last_edges=0))
    assert rounds(steps) > 1
    left = [path for path in hall.store.list("hall") if not path.endswith(".json")]
    assert left == sorted(each.path for each in [*edges, *files])


def test_an_attempt_that_died_in_any_phase_goes_on_from_there(hall: Hall) -> None:
    edges = [(n, n + 1) for n in range(60)]
    _, steps = drive(components(hall, edge_files(hall, edges), last_edges=0))
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert len(phases) > 12
    other = Hall(hall.store, hall.engine, "other")
    files = edge_files(other, edges)
    for phase in phases:
        attempt = components(other, files, last_edges=0)
        seen = [next(attempt)]
        while seen[-1].phase != phase:
            seen.append(next(attempt))
        attempt.close()
        assert seen[0].phase == phase or phases.index(seen[0].phase) == phases.index(phase) - 1
    found, _ = drive(components(other, files, last_edges=0))
    assert sorted(labels_of(other, found)) == [(doc, 0) for doc in range(61)]


def test_clusters_that_are_not_complete_are_none(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.components, "MAX_ROUNDS", 2)
    edges = edge_files(hall, [(n, n + 1) for n in range(200)])
    with pytest.raises(NotConverged, match=r"components: \d+ edges are left after 2 rounds"):
        drive(components(hall, edges, last_edges=0))


def emit_keys(store: Store, rows: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    keys, docs = np.array(rows, np.uint64).reshape(-1, 2).T
    yield pa.table({"key": keys, "doc": docs})


@quick
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), DOCS), max_size=60),
    st.integers(1, 5),
    st.sampled_from([50, 10**6]),
)
def test_buckets_make_stars_and_large_ones_are_told(
    hall: Hall, rows: list[tuple[int, int]], cap: int, task_bytes: int
) -> None:
    small = Hall(hall.store, hall.engine, "small", task_bytes, batch_bytes=32)
    parts = [Source(rows[n::3], len(rows[n::3])) for n in range(3)]
    found, _ = drive(small.run(bucket_edges("buckets", emit_keys, cap), parts))
    edges, oversize = (labels_of(small, found.get(name, [])) for name in ("edges", "oversize"))
    hall.store.remove_tree("small")
    buckets: dict[int, set[int]] = {}
    for key, doc in rows:
        buckets.setdefault(key, set()).add(doc)
    assert sorted(edges) == sorted(
        (min(docs), doc) for docs in buckets.values() if min(docs) < 2**63 for doc in docs - {min(docs)}
    )
    wanted: list[Any] = [(key, len(docs), min(docs)) for key, docs in buckets.items() if len(docs) > cap]
    assert sorted(oversize) == sorted(wanted)
