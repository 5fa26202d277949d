"""datatrove's four MinHash steps on the same documents, and why it decides otherwise.

Between crawlmill and datatrove's steps as they are lie three runs in which one thing changes at a time: datatrove's
steps on crawlmill's words (another hash), on crawlmill's words of datatrove's simplified text (lower case, digits to 0,
accents and punctuation off), on datatrove's own words (spaCy's), in which the first document of a component is taken to
stay; at last the one stays that datatrove keeps. So each document on which both ends disagree has the step, or steps,
at which its fate turned. Behind a step that is not the last are pairs which share a band on one side of it only, and
join components. The order of the steps is a choice; another would give other figures where steps interact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from dedup_runs import Fate, Keys, buckets, components, first_stays, shards
from dedup_truth import BANDS, NGRAM, ROWS, Corpus, Grams, number_grams, words
from loguru import logger

from stages.decision import Ints

Split = Callable[[str], list[str]]


@dataclass(frozen=True)
class Contest:
    """One of the runs that lie between crawlmill and datatrove: who stays, by which band keys, of which shingles."""

    name: str
    change: str
    """In what it differs from the one before."""
    fate: Fate
    keys: Keys
    grams: list[Grams]


class Splitter:
    """Stands where datatrove's tokenizer does, and remembers the words."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self.seen: list[list[str]] = []

    def word_tokenize(self, text: str) -> list[str]:
        self.seen.append(self._split(text))
        return self.seen[-1]


def datatrove(
    texts: Sequence[str], folder: Path, split: Split | None = None, simplify: bool = True
) -> tuple[Fate, Keys, list[Grams]]:
    """The four steps, a rank for each shard: who stays, the bands that met, the shingles.

    split: makes words, spaCy's where None; simplify: whether texts are simplified first.
    """
    logger.disable("datatrove")
    norm = TextNormConfig() if simplify else TextNormConfig(*[False] * 5)
    config = MinhashConfig(NGRAM, BANDS, ROWS, norm_config=norm, hash_config=HashConfig(64, "sha1"))
    ranks = [[Document(texts[at], str(at)) for at in shard] for shard in shards(len(texts))]
    signing = MinhashDedupSignature(str(folder / "signatures"), config)
    signing.word_tokenizer = splitter = Splitter(split or signing.word_tokenizer.word_tokenize)
    for rank, documents in enumerate(ranks):
        signing.run(iter(documents), rank, len(ranks))
    for band in range(BANDS):
        MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config).run(None, band, BANDS)
    with redirect_stderr(StringIO()):  # a progress bar
        MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config).run(None, 0, 1)
    kept = [
        int(document.id)
        for rank, documents in enumerate(ranks)
        for document in MinhashDedupFilter(str(folder / "remove")).run(iter(documents), rank, len(ranks))
    ]
    keys = _their_keys(len(texts), folder / "signatures")
    return _led_by(kept, components(keys)), keys, number_grams(splitter.seen)


def _led_by(kept: list[int], together: Ints) -> Fate:
    """Each component with the one of its members that stays. Raises RuntimeError where that is not one of each."""
    if sorted(together[kept].tolist()) != np.unique(together).tolist():
        raise RuntimeError("what datatrove keeps is not one document of each component of its own bands")
    stays = np.empty_like(together)
    stays[together[kept]] = kept
    return Fate(stays[together], np.full(len(together), np.nan))


def _their_keys(documents: int, folder: Path) -> Keys:
    """The values of each band, as bytes, from the files of signatures."""
    kind = np.dtype([("band", f"V{8 * ROWS}"), ("row", "<u4")])
    keys: list[list[Hashable]] = [[None] * BANDS for _ in range(documents)]
    for rank, shard in enumerate(shards(documents)):
        for band in range(BANDS):
            path = folder / f"bucket_{band:03d}" / f"{rank:05d}.minhash.sig"
            for values, row in np.fromfile(path, kind).tolist():
                keys[shard[row]][band] = values
    return keys


def contest(corpus: Corpus, ours: Fate, keys: Keys, folder: Path) -> list[Contest]:
    """From crawlmill to datatrove, one change at a time."""
    runs = [Contest("crawlmill", "", ours, keys, corpus.grams)]
    for name, change, split, simplify in (
        ("datatrove, our words", "hash", words, False),
        ("datatrove, our words of its simplified text", "simplified text", words, True),
        ("datatrove, first stays", "spaCy's words", None, True),
    ):
        fate, bands, grams = datatrove(corpus.texts, folder / change, split, simplify)
        runs.append(Contest(name, change, first_stays(bands), bands, grams))
    return [*runs, Contest("datatrove as it is", "which one stays", fate, bands, grams)]


def causes(runs: Sequence[Contest]) -> dict[tuple[str, ...], Ints]:
    """The documents that the first run keeps and the last does not, or the reverse, by the changes that turned them."""
    found: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for at in np.flatnonzero(runs[0].fate.kept != runs[-1].fate.kept).tolist():
        found[tuple(after.change for one, after in pairwise(runs) if one.fate.kept[at] != after.fate.kept[at])].append(
            at
        )
    return {turns: np.array(rows) for turns, rows in found.items()}


def bridges(one: Contest, other: Contest) -> dict[int, set[tuple[int, int]]]:
    """For each document that `one` keeps and `other` does not: the pairs of its component in `other` that share a band
    there and are in different components of `one`.
    """
    before, after = components(one.keys), components(other.keys)
    found: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for members in buckets(other.keys):
        found[int(after[members[0]])] |= {(a, b) for a in members for b in members if a < b and before[a] != before[b]}
    return {at: found[int(after[at])] for at in np.flatnonzero(one.fate.kept & ~other.fate.kept).tolist()}
