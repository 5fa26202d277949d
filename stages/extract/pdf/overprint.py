"""Text that is drawn twice in one place, to look bold or to cast a shadow, is there once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from stages.extract.pdf.content import Line

OFFSET = 0.1
"""Of the size: copies are shifted by less, and the narrowest letter is wider."""
MOST_COMPARED = 4
"""Lines that begin in one place and are looked at: the last ones."""


def without_overprints(lines: Iterable[Line]) -> list[Line]:
    """The lines, but for those that an other one of their size repeats in their place, or begins with."""
    kept: list[Line | None] = []
    beginning: dict[tuple[int, int, bool], list[tuple[int, str]]] = {}
    for line in lines:
        text = "".join([span.text for span in line.spans]).strip()
        first = line.spans[0]
        cell = max(1.0, OFFSET * first.size)
        column, row = round(line.box.x0 / cell), round(line.box.y0 / cell)
        covered = False
        for x, y in product((column - 1, column, column + 1), (row - 1, row, row + 1)):
            for at, other in beginning.get((x, y, first.visible), [])[-MOST_COMPARED:]:
                before = kept[at]
                if before is None or not _in_one_place(before, line):
                    continue
                if other.startswith(text):
                    covered = True
                elif text.startswith(other):
                    kept[at] = None
        if not covered:
            beginning.setdefault((column, row, first.visible), []).append((len(kept), text))
            kept.append(line)
    return [line for line in kept if line is not None]


def _in_one_place(one: Line, other: Line) -> bool:
    size = one.spans[0].size
    return (
        one.turned == other.turned
        and abs(size - other.spans[0].size) <= 0.01 * size
        and abs(one.box.x0 - other.box.x0) <= OFFSET * size
        and abs(one.box.y0 - other.box.y0) <= OFFSET * size
    )
