"""Line numbers in the margin of manuscripts, bills and judgements: numbers that count the lines beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from stages.extract.pdf.content import Line, Page

LEAST = 8
"""Numbers on a page."""
ALIGNED = 3.0
"""Points by which their right (or left) edges differ."""
REGULAR = 0.8
"""Share of the numbers that are the one above plus the usual step."""
LEAST_PAGES = 2
"""Pages that have them: one page's may be the first column of a list."""


def line_numbers(pages: Sequence[Page]) -> set[int]:
    """ids of the lines that number others."""
    found = [_of_page(page) for page in pages]
    if sum(bool(lines) for lines in found) < LEAST_PAGES:
        return set()
    return {id(line) for lines in found for line in lines}


def _of_page(page: Page) -> list[Line]:
    upright = [line for line in page.lines if line.turned == 0]
    numbers = [(line, int(text)) for line in upright if (text := _number(line))]
    if len(numbers) < LEAST:
        return []
    others = [line for line in upright if not _number(line)]
    by_end = _largest_column([(line.box.x1, i) for i, (line, _) in enumerate(numbers)])
    by_start = _largest_column([(line.box.x0, i) for i, (line, _) in enumerate(numbers)])
    column = [numbers[i] for i in max(by_end, by_start, key=len)]
    if len(column) < LEAST or not _counts(column):
        return []
    left, right = min(line.box.x0 for line, _ in column), max(line.box.x1 for line, _ in column)
    if all(line.box.x0 >= right for line in others) or all(line.box.x1 <= left for line in others):
        return [line for line, _ in column]
    return []


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


def _counts(numbers: list[tuple[Line, int]]) -> bool:
    ordered = [value for _, value in sorted(numbers, key=lambda each: each[0].box.y0)]
    steps = Counter(after - before for before, after in pairwise(ordered))
    return any(steps[step] >= REGULAR * steps.total() for step in (1, 5, 10))
