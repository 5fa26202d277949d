"""Signatures and band keys bit by bit against a slow definition, and their estimates against exact Jaccard."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_cases import texts_of

from stages.dedup.curve import choose, probability, table
from stages.dedup.shingles import shingles
from stages.dedup.signature import VERSION, band_keys, estimate, pack, signatures, unpack

MASK = 2**64 - 1


def mix(state: int) -> int:
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
    return state ^ state >> 31


def stream(at: int) -> int:
    """Number `at` of splitmix64, from 1."""
    return mix(0x243F6A8885A308D3 + at * 0x9E3779B97F4A7C15 & MASK)


def signature(hashes: list[int], k: int) -> list[int]:
    pairs = [(stream(2 * i + 1) | 1, stream(2 * i + 2)) for i in range(k)]
    return [min((a * x + b & MASK for x in hashes), default=MASK) for a, b in pairs]


def band_key(values: list[int], band: int) -> int:
    state = len(values)
    for value in values:
        state = (state ^ value) * 0x9E3779B97F4A7C15 & MASK
        state ^= state >> 32
    return mix(mix(state) + band & MASK)


HASHES = st.lists(st.lists(st.integers(0, MASK), max_size=11), max_size=5)


def flat(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([0, *map(len, lists)]), np.array([each for some in lists for each in some], np.uint64)


@settings(deadline=None)
@given(HASHES, st.integers(1, 4), st.integers(1, 5))
def test_signatures_and_keys_are_those_of_the_definition(lists: list[list[int]], bands: int, rows: int) -> None:
    k = bands * rows
    found = signatures(*flat(lists), k)
    expected = [signature(hashes, k) for hashes in lists]
    assert found.tolist() == expected
    keys = [[band_key(row[b * rows : (b + 1) * rows], b) for b in range(bands)] for row in expected]
    assert band_keys(found, bands, rows).tolist() == keys


GOLDEN_DIGESTS = [3521178173247885608, 15575035902876991300]
GOLDEN_VALUES = [
    [
        68044251887786463,
        4647735075503792252,
        3569580205350544976,
        3324333271533036259,
        170800741412920593,
        5388705733353330244,
    ],
    [
        359659325902141773,
        12588489024210689484,
        15366092417360061024,
        10323415121446408894,
        8710549674004085103,
        8866871571029292781,
    ],
]
GOLDEN_KEYS = [[14403616749788498188, 8919538016775129773], [13440272201730934105, 18342908635312622462]]


def test_an_index_written_long_ago_can_still_be_read() -> None:
    """If this fails, signatures in indexes are of no use any more: raise VERSION, and only then the numbers here."""
    found = shingles(texts_of(["The quick brown fox jumps over the lazy dog.", "短い文"]), 5)
    values = signatures(found.offsets, found.hashes, 6)
    assert VERSION == 1
    assert found.digests.tolist() == GOLDEN_DIGESTS
    assert values.tolist() == GOLDEN_VALUES
    assert band_keys(values, 2, 3).tolist() == GOLDEN_KEYS


def test_read_only_arrays_repeats_and_order_change_nothing() -> None:
    offsets, hashes = flat([[5, 7, 11, 13, 17], [17, 5, 5, 13, 11, 7]])
    hashes.setflags(write=False)
    first, second = signatures(offsets, hashes, 112)
    assert first.tolist() == second.tolist()
    assert signatures(offsets, hashes, 8).tolist() == [first[:8].tolist()] * 2
    values = np.stack([first, second])
    values.setflags(write=False)
    assert band_keys(values[:, ::-1], 14, 8).tolist() == band_keys(values[:, ::-1].copy(), 14, 8).tolist()


@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("k", [112, 320])
def test_estimates_err_as_k_samples_do(similarity: float, k: int) -> None:
    size, pairs, rng = 400, 400, np.random.default_rng(1)
    shared = round(similarity * size)
    sets = rng.integers(0, 2**64, (pairs, 2, size), np.uint64)
    union = 2 * size - shared
    sets[:, 1, :shared] = sets[:, 0, :shared]
    exact = shared / union
    values = signatures(np.arange(2 * pairs + 1) * size, sets.ravel(), k).reshape(pairs, 2, k)
    errors = estimate(values[:, 0], values[:, 1]) - exact
    deviation = np.sqrt(exact * (1 - exact) / k)
    assert abs(errors.mean()) < 4 * deviation / np.sqrt(pairs)
    assert errors.std() == pytest.approx(deviation, rel=0.15)  # four standard errors of a deviation of 400


@pytest.mark.parametrize("bands, rows", [(14, 8), (32, 10), (5, 2)])
def test_texts_share_a_band_as_often_as_the_curve_says(bands: int, rows: int) -> None:
    pairs, size, rng = 1000, 300, np.random.default_rng(2)
    for exact in (0.5, 0.7, 0.8):
        shared = round(2 * size * exact / (1 + exact))
        sets = rng.integers(0, 2**64, (pairs, 2, size), np.uint64)
        sets[:, 1, :shared] = sets[:, 0, :shared]
        values = signatures(np.arange(2 * pairs + 1) * size, sets.ravel(), bands * rows)
        keys = band_keys(values, bands, rows).reshape(pairs, 2, bands)
        met = (keys[:, 0] == keys[:, 1]).any(axis=1).mean()
        chance = probability(shared / (2 * size - shared), bands, rows)
        assert abs(met - chance) <= 4 * np.sqrt(chance * (1 - chance) / pairs) + 0.001


def test_band_keys_are_uniform_and_differ_between_bands() -> None:
    values = np.zeros((4096, 6), np.uint64)
    values[:, :3] = values[:, 3:] = np.arange(4096, dtype=np.uint64)[:, None]  # least values are small numbers
    keys = band_keys(values, 2, 3)
    assert len(np.unique(keys)) == keys.size
    for shift in (60, 0):
        counts = np.bincount(((keys >> np.uint64(shift)) & np.uint64(15)).astype(np.int64).ravel(), minlength=16)
        assert ((counts - 512) ** 2 / 512).sum() < 44  # chi-squared, 15 degrees: 1 in 10,000


@pytest.mark.parametrize("present", [[True, True, True], [True, False, True], [False, False, False], []])
def test_signatures_survive_arrow(present: list[bool]) -> None:
    values = np.arange(len(present) * 4, dtype=np.uint64).reshape(-1, 4) * np.uint64(2**60 + 1)
    column = pack(values, np.array(present, bool))
    column.validate(full=True)
    assert column.type == pa.binary(32)
    assert column.is_valid().to_pylist() == present
    assert unpack(column.drop_null()).tolist() == values[np.array(present, bool)].tolist()
    assert unpack(column.drop_null()[1:]).tolist() == values[np.array(present, bool)][1:].tolist()
    if not all(present):
        with pytest.raises(ValueError, match="no signature"):
            unpack(column)


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bands of 4 rows"):
        band_keys(np.zeros((1, 8), np.uint64), 3, 4)


def test_the_curve_is_the_one_that_fineweb_publishes() -> None:
    chances = dict(table(14, 8))
    published = {0.7: 0.56, 0.75: 0.77, 0.8: 0.92, 0.85: 0.988}  # Penedo et al., 2024, section 3.4
    assert {similarity: chances[similarity] for similarity in published} == pytest.approx(published, abs=0.005)
    assert chances[1.0] == 1.0


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_chosen_bands_part_at_the_threshold(threshold: float) -> None:
    pytest.importorskip("datasketch")
    bands, rows = choose(threshold, 128)
    assert bands * rows <= 128
    assert probability(threshold - 0.2, bands, rows) < 0.3
    assert probability(min(threshold + 0.15, 1.0), bands, rows) > 0.7


@pytest.mark.parametrize("similarity", [0.2, 0.6, 0.9])
def test_datasketch_estimates_the_same(similarity: float) -> None:
    datasketch = pytest.importorskip("datasketch")
    size, k = 500, 256
    numbers = np.random.default_rng(3).integers(0, 2**64, 2 * size, np.uint64)
    shared = round(similarity * size)
    one, other = numbers[:size], numbers[size - shared : 2 * size - shared]
    ours = estimate(*signatures(np.array([0, size, 2 * size]), np.concatenate([one, other]), k))
    theirs = [datasketch.MinHash(num_perm=k) for _ in range(2)]
    for sketch, values in zip(theirs, (one, other)):
        sketch.update_batch([value.tobytes() for value in values])
    exact = shared / (2 * size - shared)
    error = np.sqrt(exact * (1 - exact) / k)
    assert abs(ours - exact) < 4 * error
    assert abs(ours - theirs[0].jaccard(theirs[1])) < 4 * np.sqrt(2) * error
