"""Deduplication of documents with natural near duplicates: do the bands find what the curve says, does `verify` keep
its promise, and where does datatrove decide otherwise, and why?

    python bench/dedup.py                   everything; some minutes, most of them spaCy's
    python bench/dedup.py --without-peer    crawlmill alone

Needs crawlmill[test] and the corpora. Prints what three modules measure: `dedup_truth` says how the truth and standard
errors are made, `dedup_runs` what is asked of a run, `dedup_peer` how differences to datatrove are traced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from dedup_peer import Contest, bridges, causes, contest
from dedup_runs import TWIN, Fate, audit, crawlmill, own_differences, without_twin
from dedup_truth import BANDS, ROWS, Corpus, draw_keys, jaccard, read_corpus, recall, shingled
from rich.console import Console
from rich.table import Table
from runs import CORPORA

from stages.decision import Ints
from stages.dedup.shingles import Hashes

DRAWS = 1000
SAME = 0.02
"""A similarity that moves less than this has not changed."""
VERIFIED: dict[str, dict[str, Any]] = {
    "verify": {},
    "verify at 0.5": {"threshold": 0.5},
    "verify at 0.9": {"threshold": 0.9},
    "verify, 20 x 5": {"bands": 20, "rows": 5},
}


def main() -> None:
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
        show_audits(corpus, {"without verify": plain, **verified})
        if not options.without_peer:
            runs = contest(corpus, plain, keys[:, 0].tolist(), Path(folder))
            show_contest(corpus, runs, verified["verify"], own_differences(keys, plain.kept))


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console(width=130).print(table, "")


def show_recall(corpus: Corpus, keys: Hashes) -> None:
    columns = ("Jaccard", "pairs", "curve", "share", "off, s.e.", "s.e.", "mean", "off, s.e. of mean")
    rows = [
        (
            f"{each.decile / 10}-{(each.decile + 1) / 10:.1f}",
            each.pairs,
            f"{each.curve:.4f}",
            f"{each.share:.4f}",
            f"{each.off:+.2f}",
            f"{each.error:.4f}",
            f"{each.mean:.4f}",
            f"{each.mean_off:+.2f}",
        )
        for each in recall(corpus, keys, ~corpus.apart)
    ]
    show(f"Pairs that share a band; {keys.shape[1]} draws of {BANDS} x {ROWS} hashes", columns, rows)


def show_audits(corpus: Corpus, fates: dict[str, Fate]) -> None:
    rows = []
    for name, fate in fates.items():
        found = audit(corpus, fate)
        counts = found.below, found.orphans, found.twins_kept, found.swallowed
        rows.append((name, found.dropped, fate.largest, f"{found.least:.4f}", *counts, f"{found.misjudged:.3f}"))
    columns = (
        "",
        "dropped",
        "largest component",
        "least",
        "below",
        "orphans",
        "twins kept",
        f"none at {TWIN}",
        "ledger off by",
    )
    show("What was dropped, and its true similarity to what it is said to duplicate", columns, rows)


def show_contest(corpus: Corpus, runs: Sequence[Contest], verified: Fate, own: Ints) -> None:
    ours, theirs = runs[0].fate.kept, runs[-1].fate.kept
    rows: list[Sequence[object]] = []
    for name, fate in [*((each.name, each.fate) for each in runs), ("crawlmill, verify", verified)]:
        kept, lost = fate.kept, without_twin(corpus, fate.kept)
        counts = (int(np.sum(some)) for some in (kept, ours & kept, ours & ~kept, kept & ~ours))
        rows.append((name, *counts, fate.largest, lost, f"{lost / np.sum(~kept):.1%}"))
    columns = ["", "kept", "by both", "crawlmill alone", "it alone", "largest component", f"none at {TWIN}", "share"]
    show("Who stays, beside crawlmill without verify", columns, rows)
    rows = []
    for turns, at in sorted(causes(runs).items(), key=lambda item: (len(item[0]), -len(item[1]))):
        rows.append((" + ".join(turns), *(int(some[at].sum()) for some in (ours, theirs))))
    columns = ["turned by", "crawlmill alone", "datatrove alone"]
    show("Why crawlmill and datatrove disagree: documents that one of them keeps", columns, rows)
    rows = [_bridging(one, other, back) for one, other in pairwise(runs[:-1]) for back in (False, True)]
    columns = ["", "left", "joined by pairs", "Jaccard there", "before", "same", "rose", "fell"]
    show("What left at each change, and the pairs that did it (medians)", columns, rows)
    spread = f"{own.mean():.0f} ± {own.std(ddof=1):.0f}, {own.min()} to {own.max()}"
    there = int(np.sum(ours != runs[1].fate.kept))
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
        len(pairs),
        *(f"{np.median(figures):.3f}" for figures in (joined, before)),
        *(int(np.sum(which)) for which in (np.abs(moved) < SAME, moved >= SAME, moved <= -SAME)),
    )


if __name__ == "__main__":
    main()
