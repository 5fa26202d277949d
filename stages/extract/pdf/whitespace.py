"""Rows and columns by white space: words on a baseline make a row, gaps that stay open from row to row part columns."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stages.extract.pdf.words import Word

Row = list[Word]
"""Words on one baseline, from left to right."""
Chunk = list[Word]
"""Words of a row with no wider gap between them than between words of a sentence."""

WORD_GAP = 0.55
"""Of the type size: wider gaps part chunks. A space is 0.25 wide, in justified lines up to twice that."""
VALUE_GAP = 0.4
"""The same between two numbers: theirs are columns more often than "10 000" is set so wide."""
BULLETS = "•◦▪■□●○–—-*·‣➢✓$#>\uf0b7\uf0a7"
"""What marks items, and lines of a terminal."""
GUTTER = 0.4
"""Of the type size: the narrowest gap between two columns."""
CROSSED = 0.15
"""Share of rows that may run across a gutter, as headings over several columns do."""


def rows_of(words: Sequence[Word]) -> list[Row]:
    """Words parted into rows from top to bottom; the those within 0.4 of the larger type size of the first are one."""
    rows: list[Row] = []
    top, tall = -math.inf, 0.0
    for word in sorted(words, key=lambda w: (w.y, w.box.x0)):
        if word.y > top + 0.4 * max(tall, word.size):
            rows.append([])
            top, tall = word.y, 0.0
        rows[-1].append(word)
        tall = max(tall, word.size)
    for row in rows:
        row.sort(key=lambda w: (w.box.x0, w.line, w.span, w.nth))
    return rows


def chunks_of(row: Row) -> list[Chunk]:
    """A row parted at its wide gaps."""
    chunks: list[Chunk] = []
    end = -math.inf
    for word in row:
        gap = word.box.x0 - end
        wide = gap > WORD_GAP * word.size or (
            gap > VALUE_GAP * word.size and is_value(word) and bool(chunks) and is_value(chunks[-1][-1])
        )
        if not chunks or (wide and not is_leader(word)):
            chunks.append([])
            end = -math.inf
        chunks[-1].append(word)
        end = max(end, word.box.x1)
    return chunks


def is_value(*words: Word) -> bool:
    """Whether it is a number, with a unit at most, or a mark: no text."""
    text = "".join(word.text for word in words)
    return sum(map(str.isalpha, text)) * 2 <= len(text)


def is_bullet(chunk: Chunk) -> bool:
    """Whether it only marks the item that follows."""
    return len(chunk) == 1 and len(chunk[0].text) == 1 and chunk[0].text in BULLETS


def is_leader(word: Word) -> bool:
    """Dots that lead from an entry to its number: they go with the entry."""
    return not word.text.strip(".…·")


def left(chunk: Chunk) -> float:
    return chunk[0].box.x0


def right(chunk: Chunk) -> float:
    return max(word.box.x1 for word in chunk)


def gutters(rows: Sequence[Row], narrowest: float = GUTTER) -> list[float]:
    """Where columns part: the middle of every gap that runs through the rows of several chunks, from left to right.

    O(words + width). Rows of one chunk do not count: they are titles, notes, or lines of a cell.
    """
    parted = [chunks for chunks in map(chunks_of, rows) if len(chunks) > 1]
    if not parted:
        return []
    start = min(left(chunks[0]) for chunks in parted)
    end = max(right(chunk) for chunks in parted for chunk in chunks)
    steps = int((end - start) * 2) + 2  # half points
    if steps > 100_000:
        return []
    ink = np.zeros(steps + 1, np.int64)
    for chunks in parted:
        for chunk in chunks:
            ink[int((left(chunk) - start) * 2)] += 1
            ink[math.ceil((right(chunk) - start) * 2)] -= 1
    ink = np.cumsum(ink)[: steps - 1]
    allowed = max(int(CROSSED * len(parted)), 1 if len(parted) >= 4 else 0)
    size = float(np.median([word.size for chunks in parted for chunk in chunks for word in chunk]))
    found = []
    for first, last in _runs(ink <= allowed):
        if first == 0 or last == len(ink):
            continue
        if last - first >= narrowest * size * 2:
            low, high = max(_runs(ink[first:last] == ink[first:last].min()), key=lambda run: run[1] - run[0])
            found.append(round(start + (first + (low + high) / 2) / 2, 2))
    return found


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def parted_by(chunk: Chunk, boundaries: Sequence[float]) -> bool:
    """Whether a chunk runs across a boundary."""
    return bisect_right(boundaries, left(chunk) + 1) != bisect_right(boundaries, right(chunk) - 1)


def wrapped_share(lines: Sequence[Chunk], room: float) -> float:
    """Share of the line ends in a column at which the next word would not have fitted before `room`, the column's right
    edge: near 1 for running text, near 0 for a list of values.
    """
    ends = [
        right(above) + 0.25 * below[0].size + (below[0].box.x1 - below[0].box.x0) > room + 1
        for above, below in pairwise(lines)
    ]
    return sum(ends) / len(ends) if ends else 0.0


def joined(words: Sequence[Word]) -> str:
    """A cell's words as text: from top to bottom, on a baseline in the order drawn. Words that touch are one, as a
    number and its footnote mark are two spans and one word.
    """
    text = ""
    for row in rows_of(words):
        # Pieces of a row come from left to right, words of a piece in the order drawn: right to left in Arabic.
        pieces: dict[int, list[Word]] = defaultdict(list)
        for word in row:
            pieces[word.line].append(word)
        last: Word | None = None
        for piece in pieces.values():
            for word in sorted(piece, key=lambda w: (w.span, w.nth)):
                touches = (
                    last is not None
                    and word.line == last.line
                    and not word.spaced
                    and (abs(word.box.x0 - last.box.x1) < 0.1 * word.size)
                )
                text += word.text if touches or not text else f" {word.text}"
                last = word
    return text
