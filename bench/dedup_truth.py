"""What is true of documents with natural near duplicates, by brute force, and how much of it the bands find.

The truth is made in Python's sets, not by crawlmill's kernels: documents and pairs of corpora/dedup, shingles of five
words. Pairs at 0.2 and above are known, others are not looked at. The similarities that the corpus gives do not hold
for all: 93 documents have characters of scripts without spaces, each of which is a word to crawlmill on purpose, and
the corpus takes syllables of Hangul for words, where crawlmill goes by Korean's spaces. So all are recounted with
crawlmill's words. No document of the corpus is shorter than a shingle.

Recall. Pairs are far from independent: one document is in hundreds of them, so one unlucky minimum loses hundreds at a
time, and the binomial error of the number of pairs is up to 15 times too small. The standard error used is the
deviation of a decile's share over independent draws of all hashes: the values behind the first 112 of a longer
signature (`signatures` gives any number, band keys are numbered on). The share of the hashes in use must be within
three of them, which is a weak test, since they are wide. The mean of all draws, whose error is smaller by the root of
their number, is the sharp one. Where the curve is below 0.01 that error is not to be trusted with some hundred draws:
half of them find nothing below 0.3 and a few find hundreds of pairs, and a deviation without those few is too small.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.decision import Bools, Floats, Ints
from stages.dedup.curve import probability
from stages.dedup.shingles import Hashes, Shingles, shingles
from stages.dedup.signature import band_keys, signatures
from stages.text.characters import MARK, UNSPACED, character_table
from stages.text.texts import Texts

NGRAM, BANDS, ROWS = 5, 14, 8
ORDER = 20261
"""Seed of the documents' order: the corpus has relatives side by side, which would all be in one shard."""

Grams = frozenset[int]


@dataclass(frozen=True)
class Corpus:
    """n documents in the order of a run, m pairs of them."""

    ids: list[str]
    texts: list[str]
    grams: list[Grams]
    """The different shingles of each, numbered."""
    special: Bools
    """[n] Has characters of scripts without spaces, or Hangul: the similarity that the corpus gives does not hold."""
    a: Ints
    """[m] With b: positions of all pairs whose Jaccard similarity is at least 0.2."""
    b: Ints
    jaccard: Floats
    given: Floats
    """[m] What the corpus says, to four digits; NaN for pairs that it does not have."""

    @property
    def apart(self) -> Bools:
        """[m] Pairs with a special document."""
        return self.special[self.a] | self.special[self.b]


def read_corpus(folder: Path) -> Corpus:
    """The documents of `folder`, in a random but fixed order, and their pairs by brute force."""
    documents, known = (list(_lines(folder / f"{name}.jsonl.gz")) for name in ("docs", "pairs"))
    documents = [documents[at] for at in np.random.default_rng(ORDER).permutation(len(documents))]
    texts = [document["text"] for document in documents]
    places = {document["id"]: at for at, document in enumerate(documents)}
    grams, special = number_grams(map(words, texts)), np.array([bool(_special().search(text)) for text in texts])
    given = {(places[pair["a"]], places[pair["b"]]): float(pair["jaccard_w5"]) for pair in known}
    odd = np.flatnonzero(special).tolist()  # only a pair of these can be more similar than the corpus says
    more = [(a, b) for a in odd for b in odd if a < b and (a, b) not in given and (b, a) not in given]
    rows = [(a, b, jaccard(grams[a], grams[b]), given.get((a, b), np.nan)) for a, b in [*given, *more]]
    a, b, exact, said = (np.array(column) for column in zip(*(row for row in rows if row[2] >= 0.2)))
    return Corpus([document["id"] for document in documents], texts, grams, special, a, b, exact, said)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def words(text: str) -> list[str]:
    """Crawlmill's words, found without its kernels; which characters are words of their own is its table's matter."""
    return _words().findall(text.translate(_lower()))


@cache
def _lower() -> dict[int, str]:
    return {code: chr(code).lower()[0] for code in range(0x110000) if chr(code).lower() != chr(code)}


@cache
def _special() -> re.Pattern[str]:
    return re.compile(rf"[{_class(UNSPACED)}\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


@cache
def _words() -> re.Pattern[str]:
    return re.compile(rf"[{_class(UNSPACED)}][{_class(MARK)}]*|[^\W{_class(UNSPACED)}]+")


def _class(flag: np.uint32) -> str:
    """Inside of a regular expression's brackets: the characters with a flag, as ranges."""
    codes = np.flatnonzero(character_table() & flag)
    breaks = np.flatnonzero(np.diff(codes) > 1)
    firsts, lasts = codes[np.append(0, breaks + 1)], codes[np.append(breaks, -1)]
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in zip(firsts.tolist(), lasts.tolist()))


def number_grams(texts: Iterable[list[str]]) -> list[Grams]:
    """The different runs of NGRAM words of each text, each run under its own number."""
    numbers: defaultdict[tuple[str, ...], int] = defaultdict(count().__next__)
    grams = (zip(*(found[at:] for at in range(NGRAM))) for found in texts)
    return [frozenset(map(numbers.__getitem__, each)) for each in grams]


def jaccard(one: Grams, other: Grams) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def shingled(texts: Sequence[str]) -> Shingles:
    """What crawlmill's kernels make of the texts."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    return shingles(Texts(batch), NGRAM)


def draw_keys(found: Shingles, draws: int, bands: int = BANDS, rows: int = ROWS) -> Hashes:
    """Band keys of each text, [n, draws, bands]; the first draw is the one in use."""
    texts = len(found.offsets) - 1
    keys = np.empty((texts, draws * bands), np.uint64)
    for start in range(0, texts, 64):  # of a text's values there are some hundred kilobytes
        stop = min(start + 64, texts)
        offsets = found.offsets[start : stop + 1]
        values = signatures(offsets - offsets[0], found.hashes[offsets[0] : offsets[-1]], keys.shape[1] * rows)
        keys[start:stop] = band_keys(values, keys.shape[1], rows)
    return keys.reshape(texts, draws, bands)


@dataclass(frozen=True)
class Recall:
    """Pairs of one decile of Jaccard similarity, and the share of them that has a band in common."""

    decile: int
    pairs: int
    curve: float
    """The mean over the pairs of what the curve says at their similarity."""
    share: float
    """By the hashes in use."""
    mean: float
    """Over all draws."""
    error: float
    """Of one draw: the deviation over the others, at least the binomial one."""
    draws: int

    @property
    def off(self) -> float:
        """How many standard errors the hashes in use are from the curve."""
        return (self.share - self.curve) / self.error

    @property
    def mean_off(self) -> float:
        return (self.mean - self.curve) / self.error * sqrt(self.draws)


def recall(corpus: Corpus, keys: Hashes, of: Bools) -> list[Recall]:
    """Recall by decile of some of the pairs. keys: as `draw_keys` gives them; of: [m]."""
    a, b, exact = corpus.a[of], corpus.b[of], corpus.jaccard[of]
    draws = keys.shape[1]
    meets = np.array([np.any(keys[a, draw] == keys[b, draw], axis=1) for draw in range(draws)])
    deciles, chances = np.minimum(9, (10 * exact).astype(int)), np.array([probability(s, BANDS, ROWS) for s in exact])
    found = []
    for decile in range(2, 10):
        here = deciles == decile
        p, shares = chances[here], meets[:, here].mean(axis=1)
        binomial = float(np.sqrt(np.sum(p * (1 - p)))) / len(p)
        error = max(float(shares[1:].std(ddof=1)), binomial)
        figures = float(p.mean()), float(shares[0]), float(shares.mean()), error
        found.append(Recall(decile, len(p), *figures, draws))
    return found
