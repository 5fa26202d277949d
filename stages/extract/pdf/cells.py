"""From a grid and the words in it to rows of cells: columns and rows that no line parts are found by white space, cells
that span several slots say their text once, in the first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from stages.extract.pdf.grids import Grid
from stages.extract.pdf.running import column_of, columns_of, is_caption, is_text, prose
from stages.extract.pdf.whitespace import (
    GUTTER,
    Chunk,
    Row,
    chunks_of,
    gutters,
    is_bullet,
    is_value,
    left,
    parted_by,
    rows_of,
    wrapped_share,
)
from stages.extract.pdf.words import Word

VALUES = 0.5
"""Share of numbers and marks among the pieces of lines from which each line is a row."""

Cells = list[list[list[Word]]]
"""Rows of columns of words."""


def fill(grid: Grid, words: Sequence[Word]) -> Cells:
    """The words of a grid in rows and columns. Empty rows and columns are left out."""
    rows = rows_of(words)
    grid, rows = _trimmed(grid, rows)
    if not rows:
        return []
    grid = _with_open_columns(grid, rows)
    roots = _roots(grid)
    cells: Cells = []
    offsets: list[int] = []
    for band, band_rows in enumerate(_bands(grid, rows)):
        offsets.append(len(cells))
        split = _apart(grid, band, band_rows)
        for lines in split:
            row: list[list[Word]] = [[] for _ in range(grid.columns)]
            for line in lines:
                for (top, first), chunk in _placed(grid, roots, band, line):
                    target = row if top == band or len(split) > 1 else cells[offsets[top]]
                    target[first] += chunk
            cells.append(row)
        if not split:
            cells.append([[] for _ in range(grid.columns)])
    return without_empty(cells)


def without_empty(cells: Cells) -> Cells:
    """Rows and columns with at least one word."""
    rows = [row for row in cells if any(row)]
    used = [c for c in range(len(rows[0]) if rows else 0) if any(row[c] for row in rows)]
    return [[row[c] for c in used] for row in rows]


def _trimmed(grid: Grid, rows: Sequence[Row]) -> tuple[Grid, list[Row]]:
    """Without running text, captions and sources above and below, between rules of the same width but no walls."""
    bands = _bands(grid, rows)
    first, last = 0, len(bands)
    open_top = next((at for at in range(last) if grid.across[at].any()), last)
    below = [sum(map(len, bands[at:])) for at in range(len(bands) + 1)]
    above = [
        at for at in range(open_top) if any(map(is_caption, bands[at])) and below[at + 1] > below[0] - below[at + 1]
    ]
    first = above[-1] + 1 if above else 0
    largest = max(bands, key=lambda band: sum(len(chunks_of(row)) > 1 for row in band))
    while first < last and not grid.across[first].any() and bands[first] is not largest and is_text(bands[first]):
        first += 1
    while (
        last > first and not grid.across[last - 1].any() and bands[last - 1] is not largest and is_text(bands[last - 1])
    ):
        last -= 1
    kept = [row for band in bands[first:last] for row in band]
    if first == last:
        return grid, []
    return Grid(
        grid.xs, grid.ys[first : last + 1], grid.across[first:last], grid.down[first : last - 1], grid.loose
    ), kept


def _bands(grid: Grid, rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of words by the row of the grid they are in."""
    bands: list[list[Row]] = [[] for _ in range(grid.rows)]
    for row in rows:
        by_band: dict[int, Row] = defaultdict(list)
        for word in row:
            band = bisect_right(grid.ys, word.y) - 1
            by_band[min(max(band, 0), grid.rows - 1)].append(word)
        for band, words in by_band.items():
            bands[band].append(words)
    return bands


def _with_open_columns(grid: Grid, rows: Sequence[Row]) -> Grid:
    """The grid with boundaries where white space parts the words of a column in three rows or more."""
    added: list[float] = []
    for x0, x1 in zip(grid.xs, grid.xs[1:], strict=False):
        inside = [[w for w in row if x0 <= w.x < x1] for row in rows]
        parted = [row for row in inside if len(chunks_of(row)) > 1]
        lone = grid.columns == 1
        if len(parted) < (2 if lone else 3) or len(parted) < 0.3 * sum(map(bool, inside)):
            continue
        pieces = [chunk for row in parted for chunk in chunks_of(row)]
        steady = lone or sum(is_value(*piece) for piece in pieces) >= VALUES * len(pieces)
        found = gutters(inside, GUTTER if steady else 1.0)
        columns = columns_of(parted, found)
        marks = [bool(column) and all(map(is_bullet, column)) for column in columns]
        found = [edge for edge, mark in zip(found, marks, strict=False) if not mark]
        columns = [column for column, mark in zip(columns, marks, strict=True) if not mark]
        if found and prose(columns) < 2:
            added += found
    return grid.with_columns(added) if added else grid


def _roots(grid: Grid) -> list[list[tuple[int, int]]]:
    """For every slot the upper left slot of the cell it is part of; cells that are no rectangles keep to their rows."""
    roots = [[(r, c) for c in range(grid.columns)] for r in range(grid.rows)]
    for r in range(grid.rows):
        for c in range(1, grid.columns):
            if not grid.across[r, c - 1]:
                roots[r][c] = (r, roots[r][c - 1][1])
        for c in range(grid.columns):
            if r and roots[r][c][1] == c:
                wide = [k for k in range(c, grid.columns) if roots[r][k] == (r, c)]
                above = {roots[r - 1][k] for k in wide}
                same = len(above) == 1 and roots[r - 1][c][1] == c and not grid.down[r - 1, wide].any()
                ends = wide[-1] + 1 == grid.columns or roots[r - 1][wide[-1] + 1] not in above
                if same and ends:
                    for k in wide:
                        roots[r][k] = roots[r - 1][c]
    # A slot below now points up and left at once; its row's other slots point at themselves.
    return roots


def _placed(
    grid: Grid, roots: list[list[tuple[int, int]]], band: int, line: Row
) -> list[tuple[tuple[int, int], Chunk]]:
    """Chunks of a line with the slot that each belongs to. Where no wall parts slots, and no chunk of the line crosses
    the boundary between them, the boundary parts them all the same.
    """
    inner = grid.xs[1:-1]
    chunks = _cut(chunks_of(line), grid, band)
    open_ = len(chunks) > 1 and not any(parted_by(chunk, inner) for chunk in chunks)
    placed = []
    for chunk in chunks:
        column = column_of(chunk, inner)
        top, first = roots[band][column]
        own = first != column and (open_ or (grid.loose and not parted_by(chunk, inner)))
        placed.append(((band, column) if own else (top, first), chunk))
    return placed


def _cut(chunks: Sequence[Chunk], grid: Grid, band: int) -> list[Chunk]:
    """Chunks cut at the walls they run across, word by word."""
    walls = [x for x, wall in zip(grid.xs[1:-1], grid.across[band], strict=True) if wall]
    result: list[Chunk] = []
    for chunk in chunks:
        last = None
        for word in chunk:
            side = bisect_right(walls, word.x)
            if side != last:
                result.append([])
            result[-1].append(word)
            last = side
    return result


def _apart(grid: Grid, band: int, lines: Sequence[Row]) -> list[list[Row]]:
    """The lines of a row of the grid, as the rows of the table that they are: all one row, unless no line was drawn
    between what are rows of values.
    """
    if len(lines) < 2:
        return [list(lines)] if lines else []
    columns: dict[int, list[Chunk]] = defaultdict(list)
    filled = []
    for line in lines:
        chunks = _cut(chunks_of(line), grid, band)
        for chunk in chunks:
            columns[column_of(chunk, grid.xs[1:-1])].append(chunk)
        filled.append(len({column_of(chunk, grid.xs[1:-1]) for chunk in chunks}))
    several = sum(count > 1 for count in filled)
    few = grid.rows <= 3
    if few and len(lines) > 3 and several >= 0.5 * len(lines) and not grid.across[band].any():
        return _entries(grid, lines)
    needed = 2 if few else 3
    if several < needed or several < 0.5 * len(lines):
        return [list(lines)]
    chunks = [chunk for column in columns.values() for chunk in column]
    values = sum(is_value(*chunk) for chunk in chunks) / len(chunks)
    # Lines of cells end like stairs, rows of values go on to the last in most columns.
    even = sum(count >= 0.6 * len(columns) for count in filled) >= 0.75 * len(lines) and filled[-1] >= 0.6 * len(
        columns
    )
    even = even and (len(lines) > 3 or not grid.across[band].any())
    if values >= VALUES or (even and not prose(list(columns.values())) and not _wrapped(grid, columns)):
        return [[line] for line in lines]
    return [list(lines)]


def _entries(grid: Grid, lines: Sequence[Row]) -> list[list[Row]]:
    """Lines that nothing parts: each that begins in the first column begins a row."""
    edge = grid.xs[1] if grid.columns > 1 else grid.xs[-1]
    rows: list[list[Row]] = []
    for line in lines:
        if not rows or left(line) < edge - 1:
            rows.append([])
        rows[-1].append(line)
    return rows


def _wrapped(grid: Grid, columns: dict[int, list[Chunk]]) -> bool:
    """Whether most lines of cells end where the next word would have run into the wall."""
    ends, full = 0, 0.0
    for column, chunks in columns.items():
        room = grid.xs[column + 1] - max(0.0, min(left(chunk) for chunk in chunks) - grid.xs[column])
        full += wrapped_share(chunks, room) * (len(chunks) - 1)
        ends += len(chunks) - 1
    return full >= 0.5 * ends
