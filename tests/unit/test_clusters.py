"""Buckets, contraction and labels on arrays: against plain dictionaries, and the same however rows are cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.clusters import (
    FOLLOWS,
    LEADS,
    Groups,
    Last,
    compose,
    connected,
    mixed,
    move,
    name,
    point,
    stars,
    unmixed,
)

WORDS = st.integers(0, 2**64 - 1)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30).map(sorted)
CUTS = st.lists(st.integers(1, 6), max_size=12)


def words(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.uint64)


def windows(rows: Sequence[tuple[int, ...]], cuts: Sequence[int]) -> list[list[np.ndarray]]:
    """Columns of the rows in windows of the given sizes, the last of what remains."""
    ends = [*np.cumsum(cuts), len(rows)]
    pieces = [rows[low:high] for low, high in zip([0, *ends], ends)]
    return [[words(column) for column in zip(*piece)] for piece in pieces if piece]


@given(st.lists(WORDS), st.integers(0, 64))
def test_priorities_lead_back_to_their_nodes(values: list[int], round: int) -> None:
    given = words([0, 2**64 - 1, 2**63, *values])
    priorities = mixed(given, round)
    assert unmixed(priorities, round).tolist() == given.tolist()
    assert not (priorities == mixed(given, round + 1)).any()


def test_priorities_of_neighbours_are_spread_evenly() -> None:
    for round in range(3):
        shares = np.bincount((mixed(np.arange(40_000, dtype=np.uint64), round) >> np.uint64(62)).astype(int)) / 40_000
        assert np.abs(shares - 0.25).max() < 0.01


@given(PAIRS, CUTS)
def test_groups_do_not_depend_on_windows(rows: list[tuple[int, int]], cuts: list[int]) -> None:
    last: Last | None = None
    leaders, begins, new, ended = [], [], [], []
    for keys, values in windows(rows, cuts):
        groups = Groups.of(keys, values, values, last)
        leaders += groups.leaders.tolist()
        begins += groups.begins.tolist()
        new += groups.new.tolist()
        ended += list(zip(*(column.tolist() for column in groups.ended)))
        last = groups.last
    assert last is not None
    by_key = {key: [value for _, value in group] for key, group in groupby(rows, lambda row: row[0])}
    assert leaders == [by_key[key][0] for key, _ in rows]
    assert begins == [n == 0 or rows[n - 1][0] != rows[n][0] for n in range(len(rows))]
    assert new == [n == 0 or rows[n - 1] != rows[n] for n in range(len(rows))]
    all_groups = [*ended, (int(last.key), last.size, int(last.leader))]
    assert all_groups == [(key, len(set(values)), values[0]) for key, values in by_key.items()]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 2**63, 2**63 + 1])), min_size=1).map(sorted), CUTS
)
def test_a_bucket_is_a_star_unless_it_is_all_of_the_index(rows: list[tuple[int, int]], cuts: list[int]) -> None:
    last: Last | None = None
    edges = []
    for keys, docs in windows(rows, cuts):
        (a, b), groups = stars(keys, docs, last)
        last = groups.last
        edges += list(zip(a.tolist(), b.tolist()))
    buckets = [sorted({doc for _, doc in group}) for _, group in groupby(rows, lambda row: row[0])]
    assert edges == [(docs[0], doc) for docs in buckets if docs[0] < 2**63 for doc in docs[1:]]


EDGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda ends: ends[0] != ends[1]), min_size=1)


@given(EDGES, st.integers(0, 5), CUTS)
def test_a_round_moves_every_edge_to_where_its_ends_point(
    edges: list[tuple[int, int]], round: int, cuts: list[int]
) -> None:
    of = dict(zip(range(13), mixed(np.arange(13, dtype=np.uint64), round).tolist()))
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, {a}).add(b)
        neighbours.setdefault(b, {b}).add(a)
    expected = {node: min(around, key=of.__getitem__) for node, around in neighbours.items()}
    both_ways = sorted((of[x], of[y]) for a, b in edges for x, y in ((a, b), (b, a)))
    last: Last | None = None
    pointers: list[tuple[int, int]] = []
    halves: list[tuple[int, int]] = []
    for keys, others in windows(both_ways, cuts):
        *found, last = point(keys, others, last, round)
        for into, (node, to) in zip((pointers, halves), found):
            into += list(zip(node.tolist(), to.tolist()))
    assert dict(pointers) == expected
    assert len(pointers) == len(expected)
    assert len(halves) == len({frozenset(ends) for ends in edges})
    asked = sorted([(n, LEADS, to) for n, to in pointers] + [(n, FOLLOWS, to) for n, to in halves])
    last, moved = None, []
    for keys, tags, values in windows(asked, cuts):
        (a, b), last = move(keys, tags, values, last)
        moved += list(zip(a.tolist(), b.tolist()))
    wanted = {frozenset((expected[a], expected[b])) for a, b in edges if expected[a] != expected[b]}
    assert {frozenset(ends) for ends in moved} == wanted
    assert all(a != b for a, b in moved)


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 5), min_size=1), st.sets(st.integers(0, 5)), CUTS)
def test_a_label_goes_back_to_all_that_pointed_at_it(
    pointers: dict[int, int], labelled: set[int], cuts: list[int]
) -> None:
    of = dict(zip(range(6), mixed(np.arange(6, dtype=np.uint64), 3).tolist()))
    rows = [(of[to], LEADS, 100 + to) for to in labelled] + [(of[to], FOLLOWS, node) for node, to in pointers.items()]
    last: Last | None = None
    found: dict[int, int] = {}
    for keys, tags, values in windows(sorted(rows), cuts):
        (docs, labels), last = compose(keys, tags, values, last, 3)
        found |= dict(zip(docs.tolist(), labels.tolist()))
    assert found == {node: 100 + to if to in labelled else to for node, to in pointers.items()}


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 3), min_size=1), CUTS)
def test_a_component_is_named_by_its_least_document(components: dict[int, int], cuts: list[int]) -> None:
    last: Last | None = None
    found: dict[int, int] = {}
    for keys, docs in windows(sorted((key, doc) for doc, key in components.items()), cuts):
        (docs, labels), last = name(keys, docs, last)
        found |= dict(zip(docs.tolist(), labels.tolist()))
    assert found == {doc: min(d for d, k in components.items() if k == key) for doc, key in components.items()}


@settings(deadline=None)  # scipy is slow to import
@given(st.lists(st.tuples(WORDS, st.integers(0, 9)), min_size=1))
def test_what_fits_in_memory_is_connected_exactly(edges: list[tuple[int, int]]) -> None:
    nodes, labels = connected(*(words(ends) for ends in zip(*edges)))
    least = {node: node for ends in edges for node in ends}
    for _ in least:
        for a, b in edges:
            least[a] = least[b] = min(least[a], least[b])
    assert dict(zip(nodes.tolist(), labels.tolist())) == least
    assert len(nodes) == len(least)
