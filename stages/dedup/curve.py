"""How likely MinHash is to compare two texts: the curve of bands and rows (Leskovec et al., 2020, section 3.4.2)."""

from __future__ import annotations

SIMILARITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Where `table` looks: closer where recipes put their thresholds."""


def probability(similarity: float, bands: int, rows: int) -> float:
    """The chance that two texts of this Jaccard similarity share at least one of `bands` bands of `rows` values."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def table(bands: int, rows: int) -> list[tuple[float, float]]:
    """(similarity, probability) at `SIMILARITIES`."""
    return [(similarity, probability(similarity, bands, rows)) for similarity in SIMILARITIES]


def choose(threshold: float, hashes: int) -> tuple[int, int]:
    """(bands, rows) of at most `hashes` values whose curve parts best at `threshold`, by datasketch.

    It weighs texts missed above the threshold and texts compared below it alike. Raises ValueError for a threshold
    outside 0..1, or where so few hashes cannot part there, and ImportError where datasketch is not installed.
    """
    from datasketch import MinHashLSH  # imports scipy, which takes a second

    found = MinHashLSH(threshold=threshold, num_perm=hashes)
    return int(found.b), int(found.r)
