"""Prints LETTER_PAIRS of stages/extract/pdf/legible.py: how common is each pair of ASCII letters within the words of
languages that are written in Latin letters?

Every language counts alike, however much text of it there is: `python bench/letter_pairs.py ../shared/corpora`.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from stages.extract.pdf.legible import letter_pairs

_LEAST_PAIRS = 500
"""A language with fewer says little about itself."""
_RAREST_EXPONENT, _STEP = -17.0, 1.2
"""The digits 0 to 9 are shares of 2^-17 and below, to 2^-6.2 and above: the most common pair has 2^-5.9."""


def main(corpora: Path) -> None:
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(26 * 26))
    with gzip.open(corpora / "lang" / "texts.jsonl.gz", "rt") as texts:
        for text in map(json.loads, texts):
            if text["script"] in ("Latn", "Latin"):
                codes = np.frombuffer(text["text"].encode("utf-32-le"), np.uint32)
                counts[text["lang"]] += np.bincount(letter_pairs(codes), minlength=26 * 26)
    shares = [count / count.sum() for count in counts.values() if count.sum() >= _LEAST_PAIRS]
    with np.errstate(divide="ignore"):
        exponents = np.log2(np.mean(shares, axis=0))
    digits = np.clip(np.round((exponents - _RAREST_EXPONENT) / _STEP), 0, 9).astype(int)
    print(f"# from {len(shares)} languages")
    for row in digits.reshape(26, 26):
        print("".join(map(str, row)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
