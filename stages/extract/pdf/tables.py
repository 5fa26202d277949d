"""Tables of a page: by the lines drawn around their cells, by rules above and below, or by white space alone.

Nothing is lost where this errs: a cell has the words that lie in it, and what no table takes stays among the page's
lines. Text set in columns, boxes around paragraphs, page frames and the grids of charts are no tables.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from stages.extract.pdf.aligned import CELL_WORDS, FULL, MIN_ROWS, find_aligned, has_gap
from stages.extract.pdf.cells import Cells, fill
from stages.extract.pdf.content import Box, Line, Page, Ruling, Table
from stages.extract.pdf.grids import Grid, candidates
from stages.extract.pdf.parting import Found, take
from stages.extract.pdf.rulings import rulings
from stages.extract.pdf.running import is_contents
from stages.extract.pdf.whitespace import chunks_of, rows_of
from stages.extract.pdf.words import Word, turn, words_of

if TYPE_CHECKING:
    import pymupdf

MAX_LINES = 5_000
"""A page of more pieces of text is not searched for tables: a timetable has 2,000."""
MAX_WORDS = 10_000
"""The same, counted in words."""
MAX_GRIDS = 50
"""Grids, stacks of rules and frames that are tried on a page."""
MAX_CELL_WORDS = 60.0
"""Words in a cell, on average over the filled ones, above which boxes are a page's layout and no table."""
MAX_OPEN_WORDS = 20.0
"""The same where no line parts the columns."""
EMPTY_BAND = 30.0
"""Points: a higher band without text lies between tables."""
LONG_LINE = 0.6
"""Of the width of a band: three such lines in it are running text."""
LONG_TEXT = 40
"""Characters of a line, most of them letters, from which it is long in any band."""
NEXT_ROW = 2.0
"""Of the type size: the largest distance at which a row below the last rule still belongs to the table."""


def find_tables(mupdf_page: pymupdf.Page | None, page: Page) -> list[Table]:
    """Tables from top to bottom; `page.rulings` is filled in. A line that is partly in a table is split: afterwards
    each line of `page.lines` is in one table's `lines`, or in none. Without a MuPDF page, `page.rulings` is taken as it
    is.

    Measured on 1,573 pages of all kinds: 0.7 ms a page in the median, 10 on pages with a table.
    """
    if mupdf_page is not None:
        page.rulings = rulings(mupdf_page)
    if not 3 <= len(page.lines) <= MAX_LINES:
        return []
    turned = _direction(page)
    boxes = [turn(line.box, turned, page) for line in page.lines]
    drawn = [Ruling(turn(ruling.box, turned, page)) for ruling in page.rulings]
    grids = _with_lines(candidates(drawn, _breaks(boxes, page.lines)), boxes)
    in_rows = _in_rows(page, turned)
    if not grids and not in_rows:
        return []
    words = words_of(page, mupdf_page, turned)
    if len(words) > MAX_WORDS:
        return []
    found, rest = _ruled(grids, words)
    for cells in find_aligned(rest) if in_rows else ():
        found.append((cells, False))
    return take(page, found, turned)


def markdown(table: Table) -> str:
    """A ruled table in Markdown, its first row as the heading; rows of an unruled one as lines, cells parted by ` | `.

    A `|` in a cell is escaped; a cell that spans several says its text once.
    """
    rows = [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in table.rows]
    if not table.ruled:
        return "\n".join(" | ".join(row) for row in rows)
    width = max(map(len, rows), default=0)
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in [*row, *[""] * (width - len(row))]) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def is_table(cells: Cells, walled: bool) -> bool:
    """Whether rows of cells are a table and no box around text, page frame or chart. Columns that no line parts need
    three rows to show, few empty cells and short ones, and are no table in a box of code.
    """
    if len(cells) < 2 or len(cells[0]) < 2:
        return False
    filled = [cell for row in cells for cell in row if cell]
    several = sum(sum(map(bool, row)) > 1 for row in cells)
    words = sum(map(len, filled)) / len(filled)
    if is_contents(cells) or len(filled) < 4 or words > (MAX_CELL_WORDS if walled else MAX_OPEN_WORDS):
        return False
    if walled:
        return several >= 2
    code = sum(word.mono for cell in filled for word in cell) > 0.8 * sum(map(len, filled))
    full = len(filled) >= FULL * len(cells) * len(cells[0])
    return several >= MIN_ROWS and several >= 0.5 * len(cells) and full and not code


def _ruled(grids: Sequence[Grid], words: Sequence[Word]) -> tuple[list[Found], list[Word]]:
    """Tables that have lines, and the words in none of them."""
    found: list[Found] = []
    rest = list(words)
    for grid in grids:
        box = grid.box if grid.columns > 1 else _extended(grid, rest)
        inside = [word for word in rest if box.x0 <= word.x <= box.x1 and box.y0 <= word.y <= box.y1]
        if len(inside) < 4:
            continue
        cells = fill(grid, inside)
        if is_table(cells, walled=grid.columns > 1):
            found.append((cells, True))
            taken = {id(word) for row in cells for cell in row for word in cell}
            rest = [word for word in rest if id(word) not in taken]
    return found, rest


def _with_lines(grids: Sequence[Grid], boxes: Sequence[Box]) -> list[Grid]:
    """The first MAX_GRIDS of the grids in which as many lines begin as the smallest table has."""
    corners = np.array([(box.x0 + 1, (box.y0 + box.y1) / 2) for box in boxes])
    x, y = corners[:, 0], corners[:, 1]

    def lines(box: Box) -> int:
        return int(((box.x0 <= x) & (x <= box.x1) & (box.y0 <= y) & (y <= box.y1)).sum())

    return list(islice((grid for grid in grids if lines(grid.box) >= MIN_ROWS), MAX_GRIDS))


def _breaks(boxes: Sequence[Box], lines: Sequence[Line]) -> Callable[[Box], bool]:
    """Whether a band between two rules parts tables, rather than being part of one: it is high and empty, or full of
    long lines.
    """
    long = [_is_long(line.spans[0].text) for line in lines]
    placed = sorted(((box.y0 + box.y1) / 2, box, long) for box, long in zip(boxes, long, strict=True))

    def breaks(band: Box) -> bool:
        inside = [
            long or box.width >= LONG_LINE * band.width
            for _, box, long in placed[bisect_left(placed, (band.y0,)) : bisect_left(placed, (band.y1,))]
            if band.x0 <= (box.x0 + box.x1) / 2 <= band.x1
        ]
        return (sum(inside) >= MIN_ROWS and 2 * sum(inside) >= len(inside)) if inside else band.height > EMPTY_BAND

    return breaks


def _is_long(text: str) -> bool:
    return len(text) >= LONG_TEXT and sum(map(str.isalpha, text[:LONG_TEXT])) > 0.7 * LONG_TEXT


def _extended(grid: Grid, words: Sequence[Word]) -> Box:
    """The box of a stack of rules down to the last row that goes on below it: the last stripe of a table may be white,
    its bottom rule may be missing.
    """
    box = grid.box
    beside = [word for word in words if box.x0 <= word.x <= box.x1 and word.y > box.y1]
    bottom = box.y1
    for row in rows_of(beside):
        chunks = chunks_of(row)
        if row[0].y - bottom > NEXT_ROW * row[0].size or not has_gap(row) or len(row) > CELL_WORDS * len(chunks):
            break
        bottom = row[0].y
    grid.ys[-1] = max(grid.ys[-1], bottom)
    return Box(box.x0, box.y0, box.x1, bottom)


def _direction(page: Page) -> int:
    """In which direction most of the page's text is written, of the four that tables are."""
    characters: Counter[int] = Counter({0: 0})
    for line in page.lines:
        if line.turned in (0, 90, 180, 270):
            characters[line.turned] += sum(len(span.text) for span in line.spans)
    return max(characters, key=lambda turned: (characters[turned], -turned))


def _in_rows(page: Page, turned: int) -> bool:
    """Whether three rows of the page hold several short pieces, one of them with a number: a cheap look before words
    are sought.
    """
    pieces: Counter[int] = Counter()
    numbers: set[int] = set()
    for line in page.lines:
        if line.turned != turned:
            continue
        box = turn(line.box, turned, page)
        row = round(box.y1 / 2)
        text = line.spans[0].text
        gaps = len(line.spans) > 1 and any(
            b.box.x0 - a.box.x1 > b.size for a, b in zip(line.spans, line.spans[1:], strict=False)
        )
        if gaps or "   " in text.strip():
            pieces[row] += 2
            numbers.add(row)
        elif box.width < 0.25 * page.width and text.count(" ") <= 4:
            pieces[row] += 1
            if any(map(str.isdigit, text)):
                numbers.add(row)
    return sum(pieces[row] > 1 for row in numbers) >= MIN_ROWS
