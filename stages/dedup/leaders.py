"""Which members of a cluster stay, and whom the others duplicate: arithmetic on one cluster's rows."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numba import njit

from stages.decision import Bools, Floats, Ints
from stages.dedup.shingles import Hashes, jaccard, writable

STANDARD_ERRORS = 4
"""Around the threshold, within which an estimate is not believed: it is further off for one pair in 16,000."""


def margin(threshold: float, k: int) -> float:
    """How far from `threshold` an estimate of k values must be to be believed: four standard errors (binomial)."""
    return STANDARD_ERRORS * sqrt(threshold * (1 - threshold) / k)


def resolve(
    signatures: Hashes,
    fixed: Bools,
    sets: tuple[Ints, Hashes] | None,
    threshold: float,
    blind: Bools | None = None,
) -> tuple[Ints, Floats]:
    """(leader, similarity), both [n]: the row that each row duplicates, its own index and NaN where it is kept.

    Rows of one cluster in order of preference. signatures: [n, k]; fixed: [n], rows that are kept whatever they equal,
    before all others; sets: (offsets [n + 1], values) as `stages.dedup.shingles.shingle_sets` gives them, empty for
    those that `needs_sets` leaves out; blind: [n], fixed rows whose shingles nobody has (representatives of an index),
    all fixed ones if left out.

    In order, a row is a duplicate of the most similar row kept so far whose similarity reaches `threshold`, of equals
    the first, and else is kept. Where the estimate is within `margin` of the threshold, the sets decide and the
    similarity is exact; else, with a blind row, and without sets, it is the estimate. Raises ValueError where a row has
    no set though one decides, and for a fixed row behind others.
    """
    n, k = signatures.shape
    if np.any(fixed[1:] & ~fixed[:-1]):
        raise ValueError("fixed rows come first")
    low, high, reach = _zone(threshold, k)
    if sets is None:
        low, sets = k + 1, (np.zeros(n + 1, np.int64), np.zeros(0, np.uint64))
    offsets, values = map(writable, sets)
    blind = writable(fixed if blind is None else blind)
    found = _greedy(writable(signatures), writable(fixed), blind, offsets, values, low, high, reach, threshold)
    leader, similarity, lacking = found
    if lacking >= 0:
        raise ValueError(f"row {lacking} has no shingles, which its estimate asks for")
    return leader, similarity


def needs_sets(signatures: Hashes, fixed: Bools, threshold: float, blind: Bools | None = None) -> Bools:
    """The rows, [n], whose sets `resolve` may ask for: those with an estimate close to `threshold`."""
    low, high, _ = _zone(threshold, signatures.shape[1])
    blind = writable(fixed if blind is None else blind)
    close: Bools = _close(writable(signatures), writable(fixed), blind, low, high)
    return close


def _zone(threshold: float, k: int) -> tuple[int, int, int]:
    """Numbers of equal values: the least and the most that are too close to tell, and the least that reaches."""
    estimates = np.arange(k + 1) / k
    close = np.flatnonzero(np.abs(estimates - threshold) <= margin(threshold, k))
    return int(close[0]), int(close[-1]), int(np.flatnonzero(estimates >= threshold)[0])


@njit(cache=True)
def _equal(signatures: Any, one: int, other: int) -> int:
    same, a, b = 0, signatures[one], signatures[other]
    for i in range(len(a)):
        same += a[i] == b[i]
    return same


@njit(cache=True)
def _greedy(
    signatures: Any,
    fixed: Any,
    blind: Any,
    offsets: Any,
    values: Any,
    low: int,
    high: int,
    reach: int,
    threshold: float,
) -> tuple[Ints, Floats, int]:
    """(leader, similarity, a row that has no set though it needs one, or -1)."""
    n, k = signatures.shape
    leader, similarity = np.arange(n), np.full(n, np.nan)
    kept, count = np.empty(n, np.int64), 0
    for row in range(n):
        best, found = -1.0, row
        for at in range(0 if fixed[row] else count):
            other = kept[at]
            same = _equal(signatures, row, other)
            if low <= same <= high and not blind[other]:
                mine, its = values[offsets[row] : offsets[row + 1]], values[offsets[other] : offsets[other + 1]]
                if not len(mine) or not len(its):
                    return leader, similarity, other if len(mine) else row
                alike = jaccard(mine, its)
                reaches = alike >= threshold
            else:
                alike, reaches = same / k, same >= reach
            if reaches and alike > best:
                best, found = alike, other
        if found == row:
            kept[count] = row
            count += 1
        else:
            leader[row], similarity[row] = found, best
    return leader, similarity, -1


@njit(cache=True)
def _close(signatures: Any, fixed: Any, blind: Any, low: int, high: int) -> Any:
    n = len(signatures)
    close = np.zeros(n, np.bool_)
    for row in range(n):
        for other in range(row):
            if fixed[row] or blind[other] or (close[row] and close[other]):
                continue
            if low <= _equal(signatures, row, other) <= high:
                close[row] = close[other] = True
    return close
