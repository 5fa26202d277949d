"""Runs of crawlmill's stage minhash over the documents, what became of each, and whether that is right by the truth."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dedup_truth import Corpus, jaccard

from pipeline.budget import LocalBudget
from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished
from pipeline.plan import plan_job
from pipeline.run import run
from pipeline.spec import parse_job
from stages.decision import Bools, Floats, Ints
from stages.dedup.shingles import Hashes

SHARES = (0.0, 0.0004, 0.003, 0.1, 0.45, 1.0)
"""Where the documents are cut into shards, uneven on purpose."""
TWIN = 0.6
"""A dropped document without a kept one this similar was swallowed by a chain."""

Keys = Sequence[Sequence[Hashable]]
"""Band keys of each document."""


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

    @property
    def largest(self) -> int:
        """Documents of the largest component: one that stays, and all that duplicate it."""
        return int(np.bincount(self.leaders).max())


def shards(documents: int) -> list[range]:
    """The rows of each shard."""
    cuts = [round(share * documents) for share in SHARES]
    return [range(start, stop) for start, stop in pairwise(cuts)]


def dates(documents: int) -> list[str]:
    """Invented, in no order."""
    return [str(date(2016, 1, 1) + timedelta(days=at * 7919 % 3650)) for at in range(documents)]


def crawlmill(corpus: Corpus, folder: Path, **fields: Any) -> Fate:
    """A run of the stage minhash alone over the documents as Parquet shards. Raises RuntimeError where it fails."""
    folder.mkdir(parents=True)
    columns = {"id": corpus.ids, "text": corpus.texts, "date": dates(len(corpus.ids))}
    for number, shard in enumerate(shards(len(corpus.ids))):
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


def first_stays(keys: Keys) -> Fate:
    """What becomes of documents where the first of each component stays."""
    leaders = components(keys)
    return Fate(leaders, np.full(len(leaders), np.nan))


def own_differences(keys: Hashes, kept: Bools, draws: int = 20) -> Ints:
    """How many documents have another fate by other draws of crawlmill's hashes."""
    some = range(1, min(draws + 1, keys.shape[1]))
    return np.array([int(np.sum(kept != first_stays(keys[:, draw].tolist()).kept)) for draw in some])


def without_twin(corpus: Corpus, kept: Bools) -> int:
    """Dropped documents that are at TWIN or more with none that stays."""
    close = corpus.jaccard >= TWIN
    a, b = corpus.a[close], corpus.b[close]
    served = kept.copy()
    served[a[kept[b]]] = served[b[kept[a]]] = True
    return int(np.sum(~served))


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
