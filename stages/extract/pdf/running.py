"""What is running text, a caption or a table of contents, though it stands in rows and columns."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from stages.extract.pdf.whitespace import Chunk, Row, chunks_of, is_leader, is_value, left, right, wrapped_share
from stages.extract.pdf.words import Word

CAPTION = re.compile(
    r"(?:table|exhibit|figure|fig\.|tab\.|tabelle|tableau|tabla|tabela|tabella|таблица)\s+\S{1,5}$|source:|表\s*\d",
    re.I,
)
"""How a line begins that names a table or its source in the languages of most PDFs with tables."""

PROSE_WORDS = 4.0
"""Words a line from which a column whose lines are full is running text."""
PROSE_WRAPPED = 0.6
"""Share of full lines from which it is."""
LONG_LINE = 6.0
"""Words a line from which it is in any case: entries of a bibliography are not full."""


def is_caption(row: Row) -> bool:
    """Whether a row begins as the name or the source of a table does."""
    return bool(CAPTION.match(" ".join(word.text for word in row[:2])))


def column_of(chunk: Chunk, boundaries: Sequence[float]) -> int:
    """The column a chunk begins in."""
    return bisect_right(boundaries, left(chunk) + min(2.0, (right(chunk) - left(chunk)) / 2))


def columns_of(rows: Sequence[Row], boundaries: Sequence[float]) -> list[list[Chunk]]:
    """The lines of each column: what each row has between two boundaries."""
    columns: list[list[Chunk]] = [[] for _ in range(len(boundaries) + 1)]
    for row in rows:
        parts: dict[int, Chunk] = defaultdict(list)
        for chunk in chunks_of(row):
            parts[column_of(chunk, boundaries)] += chunk
        for column, part in parts.items():
            columns[column].append(part)
    return columns


def prose(columns: Sequence[Sequence[Chunk]]) -> int:
    """How many columns hold running text: lines of many words, or of several that are as full as they can be."""
    count = 0
    for lines in columns:
        if len(lines) < 3:
            continue
        words = sum(map(len, lines)) / len(lines)
        room = max(right(line) for line in lines)
        em = float(np.median([line[0].size for line in lines]))
        dense = (room - min(left(line) for line in lines)) / max(words, 1) > 8 * em  # written without spaces
        full = wrapped_share(lines, room)
        count += words >= LONG_LINE or ((words >= PROSE_WORDS or dense) and full >= PROSE_WRAPPED)
    return count


def is_text(rows: Sequence[Row]) -> bool:
    """Whether rows between two rules are no rows of a table: long lines with few values, or a caption."""
    if not rows:
        return True
    chunks = [chunk for row in rows for chunk in chunks_of(row)]
    if is_caption(rows[0]):
        return True
    values = sum(is_value(*chunk) for chunk in chunks) / len(chunks)
    words = sum(map(len, rows)) / len(rows)
    lone = len(chunks) < 1.5 * len(rows) and words > LONG_LINE
    return len(chunks) < 2 or (len(rows) > 2 and (lone or (words > 10 and values < 0.2)))


def is_contents(cells: Sequence[Sequence[Sequence[Word]]]) -> bool:
    """Whether it is a table of contents: titles, dots, numbers of pages."""
    dotted = sum(sum(is_leader(word) for cell in row for word in cell[1:]) > 0 for row in cells)
    return bool(cells) and len(cells[0]) <= 3 and dotted >= 0.3 * len(cells)
