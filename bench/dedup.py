"""Deduplication of documents with natural near duplicates: do the bands find what the curve says, does `verify` keep
its promise, and where does datatrove decide otherwise, and why?

    python bench/dedup.py                   everything; some minutes, most of them spaCy's
    python bench/dedup.py --without-peer    crawlmill alone

Needs crawlmill[test] and the corpora. The truth is made here by brute force in Python's sets, not by crawlmill's
kernels: documents and pairs of corpora/dedup, shingles of five words. Pairs at 0.2 and above are known, others are not
looked at. The similarities that the corpus gives do not hold for all: 93 documents have characters of scripts without
spaces, each of which is a word to crawlmill on purpose, and the corpus takes syllables of Hangul for words, where
crawlmill goes by Korean's spaces. So all are recounted with crawlmill's words, and tables show those pairs apart. No
document of the corpus is shorter than a shingle.

Recall. Pairs are far from independent: one document is in hundreds of them, so one unlucky minimum loses hundreds at a
time. A binomial error of the number of pairs is therefore too small, up to 15 times, and is printed for comparison
only. The standard error used is the deviation of a decile's share over independent draws of all hashes: the values
behind the first 112 of a longer signature (`signatures` gives any number, band keys are numbered on). The share of the
hashes in use must be within three of them, which is a weak test, since they are wide. The mean of all draws, whose
error is smaller by the root of their number, is the sharp one. Where the curve is below 0.01 that error is not to be
trusted with some hundred draws: half of them find nothing below 0.3 and a few find hundreds of pairs, and a deviation
without those few is too small.

Side by side. Between crawlmill and datatrove's four steps as they are lie three runs in which one thing changes at a
time: datatrove's steps on crawlmill's words (another hash), on crawlmill's words of datatrove's simplified text (lower
case, digits to 0, accents and punctuation off), on datatrove's own words (spaCy's), in which the first document of a
cluster is taken to stay; at last the one stays that datatrove keeps. So each document on which both ends disagree has
the step, or steps, at which its fate turned. Behind a step that is not the last are pairs which share a band on one
side of it only, and join clusters; their similarities on both sides are shown. How far a hash alone goes is seen from
crawlmill's own draws. The order of the steps is a choice; another would give other figures where steps interact.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from io import StringIO
from itertools import pairwise
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
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
from loguru import logger
from rich.console import Console
from rich.table import Table

from pipeline.budget import LocalBudget
from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished
from pipeline.plan import plan_job
from pipeline.run import run
from pipeline.spec import parse_job
from stages.decision import Bools, Floats, Ints
from stages.dedup.curve import probability
from stages.dedup.shingles import Hashes, Shingles, shingles
from stages.dedup.signature import band_keys, signatures
from stages.text.characters import MARK, UNSPACED, character_table
from stages.text.texts import Texts

NGRAM, BANDS, ROWS = 5, 14, 8
DRAWS = 1000
SHARES = (0.0, 0.0004, 0.003, 0.1, 0.45, 1.0)
"""Where the documents are cut into shards, uneven on purpose."""
ORDER = 20261
"""Seed of their order: the corpus has relatives side by side, which would all be in one shard."""
TWIN = 0.6
"""A dropped document without a kept one this similar was swallowed by a chain."""
SAME = 0.02
"""A similarity that moves less than this has not changed."""

Grams = frozenset[int]
Split = Callable[[str], list[str]]
Keys = Sequence[Sequence[Hashable]]


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

    def dates(self) -> list[str]:
        """Invented, in no order."""
        return [str(date(2016, 1, 1) + timedelta(days=at * 7919 % 3650)) for at in range(len(self.ids))]

    def shards(self) -> list[range]:
        cuts = [round(share * len(self.ids)) for share in SHARES]
        return [range(start, stop) for start, stop in pairwise(cuts)]


@dataclass(frozen=True)
class Fate:
    """What became of n documents. leaders: [n], the one that each duplicates, its own position where it stays."""

    leaders: Ints
    similarity: Floats
    """[n] As the ledger has it; NaN where there is none."""
    threshold: float = 0.7
    """What `verify` asks for, or would."""

    @property
    def kept(self) -> Bools:
        kept: Bools = self.leaders == np.arange(len(self.leaders))
        return kept


@dataclass(frozen=True)
class Contest:
    """One of the runs that lie between crawlmill and datatrove: who stays, by which band keys, of which shingles."""

    name: str
    change: str
    """In what it differs from the one before."""
    kept: Bools
    keys: Keys
    grams: list[Grams]


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
    numbers: dict[tuple[str, ...], int] = {}
    grams = (zip(*(found[at:] for at in range(NGRAM))) for found in texts)
    return [frozenset(numbers.setdefault(gram, len(numbers)) for gram in each) for each in grams]


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
    binomial: float
    """What the error would be, were pairs independent."""
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
        figures = float(p.mean()), float(shares[0]), float(shares.mean()), error, binomial
        found.append(Recall(decile, len(p), *figures, draws))
    return found


def crawlmill(corpus: Corpus, folder: Path, **fields: Any) -> Fate:
    """A run of the stage minhash alone over the documents as Parquet shards. Raises RuntimeError where it fails."""
    folder.mkdir(parents=True)
    for number, shard in enumerate(corpus.shards()):
        columns = {"id": corpus.ids, "text": corpus.texts, "date": corpus.dates()}
        some = {name: column[shard.start : shard.stop] for name, column in columns.items()}
        pq.write_table(pa.table(some), folder / f"{number}.parquet")
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"description": "a measurement", "stages": [{"minhash": fields}]}))
    source = {"kind": "parquet", "paths": [str(folder / "*.parquet")]}
    job = parse_job({"name": "bench", "source": source, "recipe": str(recipe)}, "bench")
    *_, last = run(plan_job(job, folder, str(folder / "out"), LocalBudget(1)), InlineEngine(1))
    if not isinstance(last, Finished) or last.manifest["state"] != "complete":
        raise RuntimeError(f"the run in {folder} did not come to its end")
    return _fate(corpus, folder / "out", fields.get("threshold", 0.7))


def _fate(corpus: Corpus, output: Path, threshold: float) -> Fate:
    """Who is in data/, and whom the ledger says the others duplicate."""
    places = {name: at for at, name in enumerate(corpus.ids)}
    leaders, similarity = np.full(len(places), -1), np.full(len(places), np.nan)
    for name in ds.dataset(output / "data", format="parquet").to_table(["id"])["id"].to_pylist():
        leaders[places[name]] = places[name]
    ledger = ds.dataset(output / "ledger", format="parquet").to_table(["id", "outcome", "duplicate_of", "similarity"])
    for row in ledger.to_pylist():
        at = places[row["id"]]
        if (row["outcome"] == "kept") != (leaders[at] == at):
            raise RuntimeError(f"{row['id']} is {row['outcome']} in the ledger, and data/ says otherwise")
        if row["outcome"] != "kept":
            leaders[at], similarity[at] = places[row["duplicate_of"]], row["similarity"]
    return Fate(leaders, similarity, threshold)


class Splitter:
    """Stands where datatrove's tokenizer does, and remembers the words."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self.seen: list[list[str]] = []

    def word_tokenize(self, text: str) -> list[str]:
        self.seen.append(self._split(text))
        return self.seen[-1]


def datatrove(
    corpus: Corpus, folder: Path, split: Split | None, simplify: bool = True
) -> tuple[Fate, Keys, list[Grams]]:
    """The four steps, a rank for each shard: who stays, the bands that met, the shingles.

    split: makes words, spaCy's where None; simplify: whether texts are simplified first.
    """
    logger.disable("datatrove")
    norm = TextNormConfig() if simplify else TextNormConfig(*[False] * 5)
    config = MinhashConfig(NGRAM, BANDS, ROWS, norm_config=norm, hash_config=HashConfig(64, "sha1"))
    shards = [[Document(corpus.texts[at], str(at)) for at in shard] for shard in corpus.shards()]
    signing = MinhashDedupSignature(str(folder / "signatures"), config)
    signing.word_tokenizer = splitter = Splitter(split or signing.word_tokenizer.word_tokenize)
    for rank, shard in enumerate(shards):
        signing.run(iter(shard), rank, len(shards))
    for rank in range(BANDS):
        buckets = MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config)
        buckets.run(None, rank, BANDS)
    with redirect_stderr(StringIO()):  # a progress bar
        steps = MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config, save_cluster_id=True)
        steps.run(None, 0, 1)
    kept = [
        int(document.id)
        for rank, shard in enumerate(shards)
        for document in MinhashDedupFilter(str(folder / "remove")).run(iter(shard), rank, len(shards))
    ]
    leaders, stays = np.arange(len(corpus.ids)), set(kept)
    for members in _clusters(corpus, folder / "remove"):
        leaders[members] = next(at for at in members if at in stays)
    return Fate(leaders, np.full(len(leaders), np.nan)), _their_keys(corpus, folder), number_grams(splitter.seen)


def _clusters(corpus: Corpus, folder: Path) -> Iterable[list[int]]:
    found = defaultdict(list)
    for rank, shard in enumerate(corpus.shards()):
        path = folder / f"{rank:06d}.clusters"
        pairs = np.fromfile(path, "<u4").reshape(-1, 2) if path.exists() else np.zeros((0, 2), np.uint32)
        for row, cluster in pairs.tolist():
            found[cluster].append(shard[row])
    return found.values()


def _their_keys(corpus: Corpus, folder: Path) -> Keys:
    """The values of each band, as bytes, from the files of signatures."""
    kind = np.dtype([("band", f"V{8 * ROWS}"), ("row", "<u4")])
    keys: list[list[Hashable]] = [[None] * BANDS for _ in corpus.ids]
    for rank, shard in enumerate(corpus.shards()):
        for band in range(BANDS):
            path = folder / "signatures" / f"bucket_{band:03d}" / f"{rank:05d}.minhash.sig"
            for values, row in np.fromfile(path, kind).tolist():
                keys[shard[row]][band] = values
    return keys


def buckets(keys: Keys) -> list[list[int]]:
    """Documents with the same key of the same band, where there are several."""
    found: defaultdict[tuple[int, Hashable], list[int]] = defaultdict(list)
    for at, row in enumerate(keys):
        for band, key in enumerate(row):
            found[band, key].append(at)
    return [members for (_, key), members in found.items() if len(members) > 1 and key is not None]


def components(keys: Keys) -> Ints:
    """The first document of everything that hangs together by shared bands, [n], by a plain union and find."""
    parents = list(range(len(keys)))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = at = parents[parents[at]]
        return at

    for first, *others in buckets(keys):
        for other in others:
            one, two = sorted((root(first), root(other)))
            parents[two] = one
    return np.array([root(at) for at in range(len(keys))])


def firsts(keys: Keys) -> Bools:
    """The documents that stay where the first of each component does, [n]."""
    stays: Bools = components(keys) == np.arange(len(keys))
    return stays


def without_twin(corpus: Corpus, kept: Bools) -> int:
    """Dropped documents that are at TWIN or more with none that stays."""
    close = corpus.jaccard >= TWIN
    a, b = corpus.a[close], corpus.b[close]
    served = kept.copy()
    served[a[kept[b]]] = served[b[kept[a]]] = True
    return int(np.sum(~served))


def contest(corpus: Corpus, ours: Fate, keys: Keys, folder: Path) -> list[Contest]:
    """From crawlmill to datatrove, one change at a time."""
    runs = [Contest("crawlmill", "", ours.kept, keys, corpus.grams)]
    for name, change, split, simplify in (
        ("datatrove, our words", "hash", words, False),
        ("datatrove, our words of its simplified text", "simplified text", words, True),
        ("datatrove, first stays", "spaCy's words", None, True),
    ):
        fate, bands, grams = datatrove(corpus, folder / change, split, simplify)
        runs.append(Contest(name, change, firsts(bands), bands, grams))
    return [*runs, Contest("datatrove as it is", "which one stays", fate.kept, bands, grams)]


def causes(runs: Sequence[Contest]) -> dict[tuple[str, ...], Ints]:
    """The documents that the first run keeps and the last does not, or the reverse, by the changes that turned them."""
    found: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for at in np.flatnonzero(runs[0].kept != runs[-1].kept).tolist():
        found[tuple(after.change for one, after in pairwise(runs) if one.kept[at] != after.kept[at])].append(at)
    return {turns: np.array(rows) for turns, rows in found.items()}


def bridges(one: Contest, other: Contest) -> dict[int, set[tuple[int, int]]]:
    """For each document that `one` keeps and `other` does not: the pairs of its cluster in `other` that share a band
    there and are in different clusters of `one`.
    """
    before, after = components(one.keys), components(other.keys)
    found: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for members in buckets(other.keys):
        found[int(after[members[0]])] |= {(a, b) for a in members for b in members if a < b and before[a] != before[b]}
    return {at: found[int(after[at])] for at in np.flatnonzero(one.kept & ~other.kept).tolist()}


def own_differences(keys: Hashes, kept: Bools, draws: int = 20) -> Ints:
    """How many documents have another fate by other draws of crawlmill's hashes."""
    some = range(1, min(draws + 1, keys.shape[1]))
    return np.array([int(np.sum(kept != firsts(keys[:, draw].tolist()))) for draw in some])


@dataclass(frozen=True)
class Audit:
    """What became of documents, by the truth."""

    dropped: int
    least: float
    """The lowest similarity of a dropped document to the one it is said to duplicate."""
    below: int
    """Dropped documents whose similarity to that one is below the threshold."""
    orphans: int
    """Dropped documents for which one is named that does not stay itself."""
    twins_kept: int
    """Pairs at 0.9 and above of which both stay."""
    swallowed: int
    """Dropped documents without a kept one at TWIN."""
    misjudged: float
    """The largest difference between a similarity in the ledger and the true one."""


def audit(corpus: Corpus, fate: Fate) -> Audit:
    gone = np.flatnonzero(~fate.kept)
    truth = np.array([jaccard(corpus.grams[at], corpus.grams[fate.leaders[at]]) for at in gone])
    twins = corpus.jaccard >= 0.9
    return Audit(
        dropped=len(gone),
        least=float(truth.min()),
        below=int(np.sum(truth < fate.threshold)),
        orphans=int(np.sum(~fate.kept[fate.leaders[gone]])),
        twins_kept=int(np.sum(fate.kept[corpus.a[twins]] & fate.kept[corpus.b[twins]])),
        swallowed=without_twin(corpus, fate.kept),
        misjudged=float(np.max(np.abs(truth - fate.similarity[gone]))),
    )


VERIFIED: dict[str, dict[str, Any]] = {
    "verify": {},
    "verify at 0.5": {"threshold": 0.5},
    "verify at 0.9": {"threshold": 0.9},
    "verify, longest": {"prefer": "longest"},
    "verify, newest": {"prefer": "newest"},
    "verify, 20 x 5": {"bands": 20, "rows": 5},
}


def main() -> None:
    from runs import CORPORA  # stands beside this script

    parser = argparse.ArgumentParser(description="Deduplication of documents with natural near duplicates.")
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N", help="of all hashes (default: %(default)s)")
    parser.add_argument("--without-peer", action="store_true", help="leave datatrove out")
    options = parser.parse_args()
    if not (CORPORA / "dedup").is_dir():
        sys.exit(f"no documents at {CORPORA / 'dedup'}: set CRAWLMILL_CORPORA to the folder that holds dedup/")
    corpus = read_corpus(CORPORA / "dedup")
    keys = draw_keys(shingled(corpus.texts), options.draws)
    show_recall(corpus, keys)
    with TemporaryDirectory(prefix="crawlmill-dedup-") as folder:
        plain = crawlmill(corpus, Path(folder) / "plain")
        verified = {name: crawlmill(corpus, Path(folder) / name, verify=True, **VERIFIED[name]) for name in VERIFIED}
        default = verified["verify"]
        show_audits(corpus, {"without verify": plain, **verified})
        if not options.without_peer:
            runs = contest(corpus, plain, keys[:, 0].tolist(), Path(folder))
            show_contest(corpus, runs, default.kept, own_differences(keys, plain.kept))


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console(width=130).print(table, "")


def show_recall(corpus: Corpus, keys: Hashes) -> None:
    columns = ("Jaccard", "pairs", "curve", "share", "off, s.e.", "s.e.", "binomial s.e.", "mean", "off, s.e. of mean")
    for what, of in (("", ~corpus.apart), (", in scripts without spaces or Korean", corpus.apart)):
        rows = [
            (
                f"{each.decile / 10}-{(each.decile + 1) / 10:.1f}",
                each.pairs,
                *(f"{figure:.4f}" for figure in (each.curve, each.share)),
                f"{each.off:+.2f}",
                *(f"{figure:.4f}" for figure in (each.error, each.binomial, each.mean)),
                f"{each.mean_off:+.2f}",
            )
            for each in recall(corpus, keys, of)
        ]
        show(f"Pairs that share a band{what}; {keys.shape[1]} draws of {BANDS} x {ROWS} hashes", columns, rows)


def show_audits(corpus: Corpus, fates: dict[str, Fate]) -> None:
    rows = []
    for name, fate in fates.items():
        found = audit(corpus, fate)
        counts = found.below, found.orphans, found.twins_kept, found.swallowed
        rows.append((name, found.dropped, f"{found.least:.4f}", *counts, f"{found.misjudged:.3f}"))
    columns = ("", "dropped", "least", "below", "orphans", "twins kept", f"none at {TWIN}", "ledger off by")
    show("What was dropped, and its true similarity to what it is said to duplicate", columns, rows)


def show_contest(corpus: Corpus, runs: Sequence[Contest], verified: Bools, own: Ints) -> None:
    ours, theirs = runs[0].kept, runs[-1].kept
    rows: list[Sequence[object]] = []
    for name, kept in [*((each.name, each.kept) for each in runs), ("crawlmill, verify", verified)]:
        counts = (int(np.sum(some)) for some in (kept, ours & kept, ours & ~kept, kept & ~ours))
        swallowed = without_twin(corpus, kept)
        rows.append((name, *counts, swallowed, f"{swallowed / np.sum(~kept):.1%}"))
    columns: tuple[str, ...] = (
        "",
        "kept",
        "by both",
        "crawlmill alone",
        "it alone",
        f"dropped, none at {TWIN}",
        "share",
    )
    show("Who stays, beside crawlmill without verify", columns, rows)
    rows = []
    for turns, at in sorted(causes(runs).items(), key=lambda item: (len(item[0]), -len(item[1]))):
        rows.append((" + ".join(turns), *(int(some[at].sum()) for some in (ours, theirs, corpus.special))))
    columns = ("turned by", "crawlmill alone", "datatrove alone", "of both, in special scripts")
    show("Why crawlmill and datatrove disagree: documents that one of them keeps", columns, rows)
    rows = [_bridging(one, other, back) for one, other in pairwise(runs[:-1]) for back in (False, True)]
    columns = ("", "left", "unexplained", "joined by pairs", "Jaccard there", "before", "same", "rose", "fell")
    show("What left at each change, and the pairs that did it (medians)", columns, rows)
    spread = f"{own.mean():.0f} ± {own.std(ddof=1):.0f}, {own.min()} to {own.max()}"
    there = int(np.sum(ours != runs[1].kept))
    print(f"Documents whose fate another hash turns: {there} by datatrove's, {spread} by crawlmill's own other draws")


def _bridging(one: Contest, other: Contest, back: bool) -> tuple[object, ...]:
    name = f"{other.change}, {'undone' if back else 'done'}"
    if back:
        one, other = other, one
    found = bridges(one, other)
    pairs = sorted(set().union(*found.values()))
    joined, before = (np.array([jaccard(run.grams[a], run.grams[b]) for a, b in pairs]) for run in (other, one))
    moved = joined - before
    return (
        name,
        len(found),
        sum(not each for each in found.values()),
        len(pairs),
        *(f"{np.median(figures):.3f}" for figures in (joined, before)),
        *(int(np.sum(which)) for which in (np.abs(moved) < SAME, moved >= SAME, moved <= -SAME)),
    )


if __name__ == "__main__":
    main()
