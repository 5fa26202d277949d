"""Who stays and whom the others duplicate, against the definition in sets and loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.leaders import margin, needs_sets, resolve
from stages.dedup.signature import signatures

Cluster = tuple[np.ndarray, np.ndarray, list[set[int]], float]


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """(signatures [n, k], fixed [n], each row's set, threshold): versions of one set, so that many pairs are close."""
    numbers = st.integers(0, 59)
    base = draw(st.sets(numbers, min_size=20))
    edits = draw(st.lists(st.sets(numbers, max_size=25), min_size=1, max_size=12))
    sets = [(base ^ edit) or base for edit in edits]
    n, representatives = len(sets), draw(st.integers(0, 3))
    words = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2**64, 60, np.uint64)
    hashes = np.concatenate([words[sorted(each)] for each in sets])
    values = signatures(np.cumsum([0, *map(len, sets)]), hashes, draw(st.sampled_from([16, 112])))
    threshold = draw(st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
    return values, np.arange(n) < representatives, sets, threshold


def arrays(sets: list[set[int]], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [sorted(each) if want else [] for each, want in zip(sets, wanted)]
    return np.cumsum([0, *map(len, parts)]), np.array([value for part in parts for value in part], np.uint64)


def greedy(cluster: Cluster, exact: bool) -> tuple[list[int], list[float]]:
    """The definition."""
    values, fixed, sets, threshold = cluster
    kept: list[int] = []
    leaders, similarities = [], []
    for row in range(len(values)):
        alike: dict[int, float] = {}
        for other in [] if fixed[row] else kept:
            estimated = float((values[row] == values[other]).mean())
            close = abs(estimated - threshold) <= margin(threshold, values.shape[1])
            if exact and close and not fixed[other]:
                estimated = float(Fraction(len(sets[row] & sets[other]), len(sets[row] | sets[other])))
            if estimated >= threshold:
                alike[other] = estimated
        best = max(alike, key=lambda other: (alike[other], -other), default=row)
        leaders.append(best)
        similarities.append(alike.get(best, np.nan))
        if best == row:
            kept.append(row)
    return leaders, similarities


@settings(deadline=None)
@given(clusters(), st.booleans())
def test_rows_follow_whom_the_definition_says(cluster: Cluster, exact: bool) -> None:
    values, fixed, sets, threshold = cluster
    given_sets = arrays(sets, needs_sets(values, fixed, threshold)) if exact else None
    leader, similarity = resolve(values, fixed, given_sets, threshold)
    leaders, similarities = greedy(cluster, exact)
    assert leader.tolist() == leaders
    np.testing.assert_array_equal(similarity, similarities)


@settings(deadline=None)
@given(clusters())
def test_whoever_is_dropped_is_like_one_that_stays_and_those_that_stay_are_unlike(cluster: Cluster) -> None:
    values, fixed, sets, threshold = cluster
    leader, similarity = resolve(values, fixed, arrays(sets, ~fixed), threshold)
    stays = leader == np.arange(len(leader))
    assert stays[fixed].all()
    assert stays[leader].all()
    assert (leader <= np.arange(len(leader))).all()
    assert np.isnan(similarity[stays]).all() and (similarity[~stays] >= threshold).all()
    far = margin(threshold, values.shape[1])
    for row in np.flatnonzero(~fixed):
        for other in np.flatnonzero(stays[:row] & ~fixed[:row]):
            jaccard = len(sets[row] & sets[other]) / len(sets[row] | sets[other])
            estimated = (values[row] == values[other]).mean()
            if leader[row] == other and abs(estimated - threshold) <= far:
                assert jaccard >= threshold
                assert similarity[row] == jaccard
            if stays[row] and estimated >= threshold - far:
                assert jaccard < threshold


@settings(deadline=None)
@given(clusters())
def test_sets_that_nothing_needs_change_nothing(cluster: Cluster) -> None:
    values, fixed, sets, threshold = cluster
    needed = needs_sets(values, fixed, threshold)
    assert not (needed & fixed).any()
    values.setflags(write=False)
    for one, other in zip(
        resolve(values, fixed, arrays(sets, ~fixed), threshold),
        resolve(np.asfortranarray(values), fixed, arrays(sets, needed), threshold),
    ):
        np.testing.assert_array_equal(one, other)


def test_a_chain_is_not_swallowed() -> None:
    sets = [set(range(start, start + 100)) for start in range(0, 100, 10)]  # neighbours 0.82, next but one 0.67
    words = np.random.default_rng(5).integers(0, 2**64, 200, np.uint64)
    hashes = np.concatenate([words[sorted(each)] for each in sets])
    values = signatures(np.arange(len(sets) + 1) * 100, hashes, 112)
    none = np.zeros(len(sets), bool)
    leader, similarity = resolve(values, none, arrays(sets, ~none), 0.7)
    assert leader.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]
    assert similarity[1::2] == pytest.approx(90 / 110)


@pytest.mark.parametrize("n", [0, 1])
def test_clusters_of_hardly_anybody(n: int) -> None:
    values, fixed = np.ones((n, 8), np.uint64), np.zeros(n, bool)
    leader, similarity = resolve(values, fixed, None, 0.7)
    assert leader.tolist() == list(range(n)) and np.isnan(similarity).all()
    assert needs_sets(values, fixed, 0.7).tolist() == [False] * n


def test_a_missing_set_is_an_error_and_never_a_verdict() -> None:
    values = np.tile(np.arange(112, dtype=np.uint64), (2, 1))
    values[1, :34] += np.uint64(1000)  # an estimate of 0.7
    fixed = np.zeros(2, bool)
    assert needs_sets(values, fixed, 0.7).all()
    with pytest.raises(ValueError, match="row 1 has no shingles"):
        resolve(values, fixed, arrays([{1}, set()], ~fixed), 0.7)
    with pytest.raises(ValueError, match="row 0 has no shingles"):
        resolve(values, fixed, arrays([set(), {1}], ~fixed), 0.7)


def test_fixed_rows_come_first() -> None:
    with pytest.raises(ValueError, match="come first"):
        resolve(np.ones((2, 8), np.uint64), np.array([False, True]), None, 0.7)


@settings(deadline=None)
@given(clusters(), st.integers(1, 5))
def test_a_cluster_may_come_in_blocks(cluster: Cluster, size: int) -> None:
    """Rows that stayed come again before the next block, with their sets; the verdicts are those on all at once."""
    values, representative, sets, threshold = cluster
    expected = resolve(values, representative, arrays(sets, ~representative), threshold)
    leaders, similarities = list(range(len(values))), [np.nan] * len(values)
    stayed: list[int] = []
    for start in range(0, len(values), size):
        rows = [*stayed, *range(start, min(start + size, len(values)))]
        known = np.isin(rows, stayed) | representative[rows]
        blind = representative[rows]
        wanted = needs_sets(values[rows], known, threshold, blind)
        assert not (wanted & blind).any()
        given = arrays([sets[row] for row in rows], wanted)
        found, alike = resolve(values[rows], known, given, threshold, blind)
        for at, row in enumerate(rows):
            if row >= start:
                leaders[row], similarities[row] = rows[found[at]], alike[at]
        stayed = [row for row in range(rows[-1] + 1) if leaders[row] == row]
    assert leaders == expected[0].tolist()
    np.testing.assert_array_equal(similarities, expected[1])
