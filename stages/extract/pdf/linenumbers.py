"""Line numbers in the margin of manuscripts, bills and judgements: numbers that count the lines beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from stages.extract.pdf.content import Box, Line, Page

LEAST = 8
"""Numbers on a page."""
ALIGNED = 3.0
"""Points by which their right (or left) edges differ."""
REGULAR = 0.8
"""Share of the numbers that are the one above plus the usual step."""
LEAST_PAGES = 2
"""Pages that have them: one page's may be the first column of a list."""
ROWS_FOR_EACH = (0.6, 1.4)
"""Rows of text for each line that is counted, over the document; questions, verses and clauses have more."""
RUNNING = 0.25
"""Share of the rows that go on with a sentence. Ranks, titles and questions of one row begin with one."""
LONG = 20
"""Characters of the middle row: the words of a numbered list are shorter."""


class _Column(NamedTuple):
    """Numbers of one page that stand apart from all its other text."""

    lines: list[Line]
    counted: int
    """Lines from the first number to the last."""
    rows: list[str]
    """The text beside them."""


def line_numbers(pages: Sequence[Page]) -> set[int]:
    """ids of the lines that number others."""
    found = [column for page in pages if (column := _of_page(page))]
    if len(found) < LEAST_PAGES:
        return set()
    rows = [row for column in found for row in column.rows]
    least, most = (share * sum(column.counted for column in found) for share in ROWS_FOR_EACH)
    if not least <= len(rows) <= most or median(map(len, rows)) < LONG:
        return set()
    if sum(not row[0].isupper() and row[0].isalpha() for row in rows) < RUNNING * len(rows):
        return set()
    return {id(line) for column in found for line in column.lines}


def _of_page(page: Page) -> _Column | None:
    upright = [line for line in page.lines if line.turned == 0]
    numbers = [(line, int(text)) for line in upright if (text := _number(line))]
    if len(numbers) < LEAST:
        return None
    others = [line for line in upright if not _number(line)]
    by_end = _largest_column([(line.box.x1, i) for i, (line, _) in enumerate(numbers)])
    by_start = _largest_column([(line.box.x0, i) for i, (line, _) in enumerate(numbers)])
    column = sorted((numbers[i] for i in max(by_end, by_start, key=len)), key=lambda each: each[0].box.y0)
    lines, values = [line for line, _ in column], [value for _, value in column]
    step = _step(values) if len(column) >= LEAST else None
    if step is None:
        return None
    left, right = min(line.box.x0 for line in lines), max(line.box.x1 for line in lines)
    if any(line.box.x0 < right for line in others) and any(line.box.x1 > left for line in others):
        return None
    return _Column(lines, step * (len(lines) - 1) + 1, _rows(others, lines[0].box, lines[-1].box))


def _number(line: Line) -> str:
    text = "".join(span.text for span in line.spans).strip()
    return text if text.isascii() and text.isdigit() and len(text) <= 5 else ""


def _largest_column(edges: list[tuple[float, int]]) -> list[int]:
    """Indices of the most edges that lie within ALIGNED of one another."""
    edges.sort()
    best, start = (0, 0), 0
    for end in range(len(edges)):
        while edges[end][0] - edges[start][0] > ALIGNED:
            start += 1
        if end + 1 - start > best[1] - best[0]:
            best = (start, end + 1)
    return [i for _, i in edges[best[0] : best[1]]]


def _step(values: list[int]) -> int | None:
    """How many lines each number counts, or None where they count none."""
    steps = Counter(after - before for before, after in pairwise(values))
    return next((step for step in (1, 5, 10) if steps[step] >= REGULAR * steps.total()), None)


def _rows(lines: list[Line], first: Box, last: Box) -> list[str]:
    """Text of the lines between two numbers, those with the same baseline together."""
    rows: list[tuple[float, str]] = []
    for line in sorted(lines, key=lambda line: line.box.y1):
        text = "".join(span.text for span in line.spans).strip()
        if not text or not first.y0 <= (line.box.y0 + line.box.y1) / 2 <= last.y1:
            continue
        if rows and line.box.y1 - rows[-1][0] < line.box.height / 2:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {text}")
        else:
            rows.append((line.box.y1, text))
    return [text for _, text in rows]
