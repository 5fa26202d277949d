"""A text as its shingles, runs of neighbouring words (Broder, 1997), each a 64-bit hash.

Words are the maximal runs of characters that Python's `\\w` matches (`str.isalnum` or `_`; a combining mark is none),
each character in Unicode's simple lower case. A character of a script without spaces (`characters.UNSPACED`) is a word
of its own, with the marks that stand on it. So `İ` is `i`, a final `Σ` is `σ`, and nothing is composed or decomposed.

These are not the words of the quality rules, which keep case and punctuation. What a character is comes from the
Unicode tables of the Python that runs: one that was assigned later is no word character to an older Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from stages.decision import Ints
from stages.text.characters import MARK, UNSPACED, character_table
from stages.text.texts import Texts

Hashes = npt.NDArray[np.uint64]

_CODE = np.uint32((1 << 21) - 1)  # a code point needs 21 bits; flags stand above
_WORD, _ALONE, _ON = np.uint32(1 << 21), np.uint32(1 << 22), np.uint32(1 << 23)
_FNV_START, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)  # FNV-1a, 64 bits
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd (Steele et al., 2014)


@dataclass(frozen=True)
class Shingles:
    """Shingles of n texts in order of occurrence, repeated ones too. Text i has hashes[offsets[i]:offsets[i + 1]]."""

    offsets: Ints  # [n + 1]
    hashes: Hashes  # [s]
    digests: Hashes  # [n], of all words in order: equal for the same words, and for others by a chance of 2**-64


def shingles(texts: Texts, ngram: int) -> Shingles:
    """The shingles of `ngram` words of each text.

    A text with fewer words has one, made of all of them; a hash holds the number of its words, so a short text can
    only equal the same short text. A text without words has no shingle.
    """
    lines = texts.lines
    return Shingles(*_shingle(texts.codes, word_table(), lines.offsets, lines.starts, lines.ends, ngram))


def shingle_sets(texts: Texts, ngram: int) -> tuple[Ints, Hashes]:
    """(offsets [n + 1], values [v]): each text's different shingles, rising."""
    found = shingles(texts, ngram)
    values = found.hashes
    for start, end in pairwise(found.offsets):
        values[start:end].sort()
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    firsts = found.offsets[:-1]
    new[firsts[firsts < found.offsets[1:]]] = True
    kept = np.concatenate([[0], np.cumsum(new)])
    return kept[found.offsets], values[new]


@njit(cache=True)
def jaccard(one: Any, other: Any) -> float:
    """Shared values over all values of two rising arrays without repeats; 0 for two empty ones."""
    shared, i, j = 0, 0, 0
    while i < len(one) and j < len(other):
        x, y = one[i], other[j]  # all three counters move without a branch that could be guessed wrong
        shared += x == y
        i += x <= y
        j += y <= x
    union = len(one) + len(other) - shared
    return shared / union if union else 0.0


@cache
def word_table() -> npt.NDArray[np.uint32]:
    """For every code point its lower case and flags: of a word, a word of its own, a mark. Shape [0x110000]."""
    flags = character_table()
    table = np.zeros(0x110000, np.uint32)
    for code in range(0x110000):
        lower = chr(code).lower()[0]  # the first of `İ`.lower() is its simple lower case; all others have but one
        if lower.isalnum() or lower == "_":
            table[code] = ord(lower) | _WORD
    alone, on = (flags & UNSPACED) != 0, (flags & MARK) != 0
    table[alone] |= _WORD | _ALONE
    table[on] |= np.flatnonzero(on).astype(np.uint32) | _ON
    return table


def writable(array: npt.NDArray[Any]) -> Any:
    """The array where it can be written to, else a copy: numba compiles anew for arrays that cannot, as Arrow's are."""
    return np.require(array, requirements=["C", "W"])


@njit(cache=True)
def mix(state: Any) -> Any:
    """The bijection of 64 bits that ends splitmix64 (Steele et al., 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True)
def sequence_hash(values: Any, first: int, size: int) -> Any:
    """A hash of values[first : first + size], of their order and number."""
    state = np.uint64(size)
    for k in range(size):
        state = (state ^ values[first + k]) * _MULTIPLIER
        state ^= state >> np.uint64(32)
    return mix(state)


@njit(cache=True)
def _grown(values: Any) -> Any:
    larger = np.empty(2 * len(values), np.uint64)
    larger[: len(values)] = values
    return larger


@njit(cache=True)
def _shingle(
    codes: Any, table: Any, line_offsets: Ints, starts: Ints, ends: Ints, ngram: int
) -> tuple[Ints, Hashes, Hashes]:
    n = len(line_offsets) - 1
    offsets, digests = np.zeros(n + 1, np.int64), np.empty(n, np.uint64)
    hashes = np.empty(len(codes) // 6 + 16, np.uint64)  # grown where words are short: memory follows what there is
    first = 0
    for text in range(n):
        count = first
        for line in range(line_offsets[text], line_offsets[text + 1]):
            at, end = starts[line], ends[line]
            while at < end:
                entry = table[codes[at]]
                at += 1
                if not entry & _WORD:
                    continue
                state = (_FNV_START ^ np.uint64(entry & _CODE)) * _FNV_PRIME
                more, unlike = (_ON, np.uint32(0)) if entry & _ALONE else (_WORD, _ALONE)
                while at < end:
                    entry = table[codes[at]]
                    if not entry & more or entry & unlike:
                        break
                    state = (state ^ np.uint64(entry & _CODE)) * _FNV_PRIME
                    at += 1
                if count == len(hashes):
                    hashes = _grown(hashes)
                hashes[count] = mix(state)  # what stages.text.marks gives to the same word
                count += 1
        words = count - first
        digests[text] = sequence_hash(hashes, first, words)
        if words:
            size = min(ngram, words)
            count -= size - 1
            for at in range(first, count):  # each hash takes the place of its first word, which nothing needs any more
                hashes[at] = sequence_hash(hashes, at, size)
        offsets[text + 1] = first = count
    return offsets, hashes[:first].copy(), digests
