"""What the MinHash signature of a 5 kB text costs: ours, datatrove's, datasketch's, rensa's, on one processor.

    python bench/signature.py [--texts N] [--rounds N]

Needs crawlmill[test], datasketch and the corpora; rensa takes part where it is installed. The texts are documents of
corpora/dedup, cut to 5 kB of ASCII. All take turns; the median of CPU milliseconds a text is printed. datasketch and
rensa split no text: they get the words of `re.findall(r"\\w+", text.lower())` joined in fives, whose making is not
counted and stands in a row of its own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import gettempdir

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow as pa
from datasketch import MinHash as Sketch
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
from rich.console import Console
from rich.table import Table
from runs import CORPORA

from stages.dedup.minhash import MinHash
from stages.stage import RECORD
from stages.text.texts import Texts

try:
    from rensa import RMinHash
except ImportError:
    RMinHash = None

SIZE = 5000
NGRAM, BANDS, ROWS = 5, 14, 8
BATCH = 256
STAGE = MinHash(ngram=NGRAM, bands=BANDS, rows=ROWS)
SEED = 1


def read_texts(count: int) -> list[str]:
    """The first documents that begin with 5 kB of ASCII, cut there."""
    path = CORPORA / "dedup" / "docs.jsonl.gz"
    if not path.exists():
        sys.exit(f"no documents at {path}: set CRAWLMILL_CORPORA to the folder that holds dedup/")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        heads = [json.loads(line)["text"][:SIZE] for line in lines]
    return [head for head in heads if len(head) == SIZE and head.isascii()][:count]


def batches(texts: list[str]) -> list[Texts]:
    rows = [{"text": text, "language": "eng_Latn"} for text in texts]
    starts = range(0, len(rows), BATCH)
    return [Texts.of(pa.RecordBatch.from_pylist(rows[at : at + BATCH], schema=RECORD)) for at in starts]


def split(texts: list[str]) -> list[Texts]:
    """Batches as the rules leave them: code points, lines and words are there."""
    ready = batches(texts)
    for each in ready:
        _ = each.words
    return ready


def grams(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]


def emit(ready: list[Texts]) -> None:
    for each in ready:
        STAGE.emit(each)


def datatrove(texts: list[str], step: MinhashDedupSignature) -> None:
    for text in texts:
        step.get_signature(step.get_shingles(text))


def datasketch(encoded: list[list[bytes]]) -> None:
    for shingles in encoded:
        Sketch(num_perm=BANDS * ROWS, seed=SEED).update_batch(shingles)


def rensa(strings: list[list[str]]) -> None:
    for shingles in strings:
        sketch = RMinHash(num_perm=BANDS * ROWS, seed=SEED)
        sketch.update(shingles)
        sketch.digest()


Runs = dict[str, Callable[[], Callable[[], object]]]
"""Name to what gets ready, uncounted, and returns the work that is counted."""


def contestants(texts: list[str]) -> Runs:
    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=HashConfig(64, "sha1"))
    step = MinhashDedupSignature(gettempdir(), config=config)
    strings = [grams(text) for text in texts]
    encoded = [[gram.encode() for gram in each] for each in strings]
    runs: Runs = {
        "crawlmill, after the rules have split": lambda: partial(emit, split(texts)),
        "crawlmill, from Arrow strings": lambda: partial(emit, batches(texts)),
        "datatrove get_shingles and get_signature": lambda: partial(datatrove, texts, step),
        "word 5-grams as strings, by re": lambda: lambda: [grams(text) for text in texts],
        "datasketch update_batch of those": lambda: partial(datasketch, encoded),
    }
    if RMinHash is not None:
        runs["rensa RMinHash of those"] = lambda: partial(rensa, strings)
    return runs


def seconds(ready: Callable[[], Callable[[], object]]) -> float:
    work = ready()
    start = time.process_time()
    work()
    return time.process_time() - start


def print_table(count: int, times: dict[str, Sequence[float]]) -> None:
    cost = {name: 1000 * median(each) / count for name, each in times.items()}
    ours = next(iter(cost.values()))
    table = Table(box=None, pad_edge=False, title=f"{count} texts of {SIZE / 1000:g} kB, {BANDS} x {ROWS} values")
    for column in ("", "ms a text", "texts a second", "times ours"):
        table.add_column(column, justify="right" if column else "left")
    for name, each in cost.items():
        table.add_row(name, f"{each:.3f}", f"{1000 / each:,.0f}", f"{each / ours:.1f}")
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of MinHash signatures, ours and three peers'.")
    parser.add_argument("--texts", type=int, default=300, metavar="N", help="at most so many (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each (default: %(default)s)")
    options = parser.parse_args()
    texts = read_texts(options.texts)
    for ready in contestants(texts[:2]).values():  # compile, load
        seconds(ready)
    runs = contestants(texts)
    rounds = [{name: seconds(ready) for name, ready in runs.items()} for _ in range(options.rounds)]
    print_table(len(texts), {name: [each[name] for each in rounds] for name in runs})


if __name__ == "__main__":
    main()
