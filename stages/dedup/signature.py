"""MinHash signatures (Broder, 1997): two texts' values are equal with the probability of their Jaccard similarity.

Value i of a signature is the least of (a_i * x + b_i) mod 2**64 over the text's shingles x, a_i odd: a permutation of
64 bits, so the product wraps on purpose, and every reader of an index must wrap alike. What is stored in an index
depends on every constant here and in `stages.dedup.shingles`; `VERSION` says so.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit

from stages.decision import Bools, Floats, Ints
from stages.dedup.shingles import Hashes, mix, sequence_hash, writable

VERSION = 1
"""Of words, shingles, values and band keys together, and of the numbers of `stages.dedup.index`: to be raised when any
of them changes for any text.
"""

_SEED = 0x243F6A8885A308D3  # the first 64 bits of pi's fraction: a number that nobody chose
_STEP = 0x9E3779B97F4A7C15  # of splitmix64 (Steele et al., 2014)
_NONE = np.uint64(2**64 - 1)


def signatures(offsets: Ints, hashes: Hashes, k: int) -> Hashes:
    """k values for each text, [n, k]; all bits set where a text has no shingle.

    offsets: [n + 1]; hashes: well mixed 64-bit hashes of shingles, [s], repeats do no harm. The first values are the
    same for any k.
    """
    values: Hashes = _minima(writable(offsets), writable(hashes), *_coefficients(k))
    return values


def band_keys(values: Hashes, bands: int, rows: int) -> Hashes:
    """A hash for each band of a signature and its number, uniform over 64 bits: [n, bands * rows] to [n, bands].

    Texts share a bucket where they share a key. Raises ValueError where signatures are not bands * rows wide.
    """
    if values.ndim != 2 or values.shape[1] != bands * rows:
        raise ValueError(f"signatures of shape {values.shape} have no {bands} bands of {rows} rows")
    keys: Hashes = _band_keys(writable(values), bands)
    return keys


def estimate(one: Hashes, other: Hashes) -> Floats:
    """Estimated Jaccard similarity: the share of equal values along the last axis, of shape [..., k]."""
    shares: Floats = np.asarray(np.equal(one, other).mean(axis=-1))
    return shares


def pack(values: Hashes, present: Bools) -> pa.FixedSizeBinaryArray:
    """Signatures as Arrow bytes, little-endian; null where not `present`. values: [n, k], present: [n]."""
    n, k = values.shape
    if k == 0:
        raise ValueError("signatures without values")
    valid = pa.array(present).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(values, "<u8"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(8 * k), n, [valid, data])


def unpack(column: pa.FixedSizeBinaryArray) -> Hashes:
    """The inverse of `pack`, [n, k], a copy. Raises ValueError for nulls, which are no signature."""
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} texts have no signature")
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1], np.uint8, len(column) * width, column.offset * width)
    values: Hashes = data.view("<u8").reshape(len(column), width // 8).astype(np.uint64)
    return values


@cache
def _coefficients(k: int) -> tuple[Hashes, Hashes]:
    """(a, b), both [k], from splitmix64."""
    stream = [mix(np.uint64((_SEED + at * _STEP) % 2**64)) for at in range(1, 2 * k + 1)]
    numbers = np.array(stream, np.uint64).reshape(k, 2)
    return numbers[:, 0] | np.uint64(1), numbers[:, 1].copy()


@njit(cache=True)
def _minima(offsets: Ints, hashes: Hashes, a: Hashes, b: Hashes) -> Hashes:
    values = np.full((len(offsets) - 1, len(a)), _NONE)
    for text in range(len(offsets) - 1):
        row, at, end = values[text], offsets[text], offsets[text + 1]
        while at + 4 <= end:  # four at a time halve the time: a, b and row are loaded once for all
            w, x, y, z = hashes[at], hashes[at + 1], hashes[at + 2], hashes[at + 3]
            for i in range(len(a)):
                p, q = a[i], b[i]
                row[i] = min(row[i], min(min(p * w + q, p * x + q), min(p * y + q, p * z + q)))
            at += 4
        while at < end:
            x = hashes[at]
            for i in range(len(a)):
                row[i] = min(row[i], a[i] * x + b[i])
            at += 1
    return values


@njit(cache=True)
def _band_keys(values: Hashes, bands: int) -> Hashes:
    keys = np.empty((len(values), bands), np.uint64)
    rows = values.shape[1] // bands
    for text in range(len(values)):
        for band in range(bands):
            keys[text, band] = mix(sequence_hash(values[text], band * rows, rows) + np.uint64(band))
    return keys
