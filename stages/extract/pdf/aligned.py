"""Tables without lines: rows of short cells, most of them numbers, whose gaps stay open from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from stages.extract.pdf.cells import Cells, without_empty
from stages.extract.pdf.running import column_of, columns_of, is_contents, prose
from stages.extract.pdf.whitespace import Chunk, Row, chunks_of, gutters, is_value, left, parted_by, right, rows_of
from stages.extract.pdf.words import Word

MIN_ROWS = 3
WIDE = 1.0
"""Of the type size: the least gap by which a row without lines shows that it has columns."""
PITCH = 2.5
"""Of the type size: the largest distance between baselines within a table."""
CELL_WORDS = 3.0
"""Words in a cell, on average over all but the first column: more is text."""
NUMBERS = 0.5
"""Share of numbers and marks among the cells behind the first column. Rows of names alone are as often an author
block, an address or an index: text set in columns.
"""
FULL = 0.6
"""Share of cells that are filled: less is a drawing's lettering."""
MISSING = frozenset({"-", "–", "—", "*", "..", "…", "×", "✓", "✔", "•", "?"})


def find_aligned(words: Sequence[Word]) -> list[Cells]:
    """Tables from top to bottom."""
    tables: list[Cells] = []
    run: list[Row] = []
    for row in rows_of(words):
        if run and row[0].baseline - run[-1][0].baseline > PITCH * max(row[0].size, run[-1][0].size):
            tables += _table(run)
            run = []
        if has_gap(row):
            run.append(row)
        elif run and has_gap(run[-1]) and len(chunks_of(row)) == 1 and _short(row, run[-1]):
            run.append(row)  # a heading between rows
        else:
            tables += _table(run)
            run = []
    return tables + _table(run)


def _table(run: list[Row]) -> list[Cells]:
    """The run as a table, if it is one."""
    if len(run) < MIN_ROWS:
        return []
    while run and not has_gap(run[-1]):
        run = run[:-1]
    parted = [row for row in run if has_gap(row)]
    if len(parted) < MIN_ROWS:
        return []
    boundaries = gutters(parted)
    chunks = [chunk for row in parted for chunk in chunks_of(row)]
    behind = [chunk for chunk in chunks if boundaries and left(chunk) > boundaries[0] - 1]
    if not behind or sum(parted_by(chunk, boundaries) for chunk in chunks) > 0.2 * len(chunks):
        return []
    words = sum(map(len, behind)) / len(behind)
    numbers = sum(_is_number(chunk) for chunk in behind) / len(behind)
    full = len(chunks) / (len(parted) * (len(boundaries) + 1))
    if prose(columns_of(parted, boundaries)):
        return []
    if words > CELL_WORDS or numbers < NUMBERS or full < FULL:
        return []
    cells = without_empty(_cells(run, boundaries))
    return [] if is_contents(cells) else [cells]


def _cells(rows: Sequence[Row], boundaries: Sequence[float]) -> Cells:
    """Rows of words parted at boundaries."""
    table = []
    for row in rows:
        cells: list[list[Word]] = [[] for _ in range(len(boundaries) + 1)]
        for chunk in chunks_of(row):
            cells[column_of(chunk, boundaries)] += chunk
        table.append(cells)
    return table


def _is_number(chunk: Chunk) -> bool:
    """A value with a digit, or what stands for a missing one."""
    text = "".join(word.text for word in chunk)
    return is_value(*chunk) and (text in MISSING or any(map(str.isdigit, text)))


def has_gap(row: Row) -> bool:
    """Whether a row shows columns by itself."""
    chunks = chunks_of(row)
    return any(left(b) - right(a) > WIDE * b[0].size for a, b in pairwise(chunks))


def _short(row: Row, above: Row) -> bool:
    """Whether a row without gaps ends before the row above it does."""
    return right(row) < right(above) - 2 * row[0].size
