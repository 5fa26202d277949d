"""What tables take of a page's lines: one that is partly in a table is split, so that nothing is said twice or lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from stages.extract.pdf.cells import Cells
from stages.extract.pdf.content import Line, Page, Table
from stages.extract.pdf.whitespace import joined
from stages.extract.pdf.words import Word, around, split_line, turn_back

Found = tuple[Cells, bool]
"""Cells, and whether lines were drawn around them."""


def take(page: Page, found: Sequence[Found], turned: int) -> list[Table]:
    """Tables with their lines; `page.lines` gets the parts of those that were split."""
    owners: dict[int, dict[int, list[Word]]] = defaultdict(lambda: defaultdict(list))
    for number, (cells, _) in enumerate(found):
        for row in cells:
            for cell in row:
                for word in cell:
                    owners[word.line][number].append(word)
    lines: list[list[Line]] = [[] for _ in found]
    result: list[Line] = []
    for at, line in enumerate(page.lines):
        for owner, part in _parts(line, owners.get(at, {}), page, turned):
            result.append(part)
            if owner is not None:
                lines[owner].append(part)
    page.lines[:] = result
    tables = []
    for at, (cells, drawn) in enumerate(found):
        box = turn_back(around([word for row in cells for cell in row for word in cell]), turned, page)
        tables.append(Table(box, [[joined(cell) for cell in row] for row in cells], lines[at], drawn))
    return sorted(tables, key=lambda table: (table.box.y0, table.box.x0))


def _parts(line: Line, owned: dict[int, list[Word]], page: Page, turned: int) -> list[tuple[int | None, Line]]:
    """A line, or its parts by the table that has them; None for what is in no table. Parts keep the line's order."""
    if not owned:
        return [(None, line)]
    taken = {(w.span, w.nth): number for number, words in owned.items() for w in words}
    every = [(s, n) for s, span in enumerate(line.spans) for n in range(len(span.text.split()))]
    if (-1, 0) in taken:
        return [(taken[-1, 0], line)]
    if len(owned) == 1 and len(taken) == len(every):
        return [(next(iter(owned)), line)]
    boxes = {(w.span, w.nth): w.box for words in owned.values() for w in words}
    pieces: list[tuple[int | None, list[tuple[int, int]]]] = []
    for place in every:
        number = taken.get(place)
        if not pieces or pieces[-1][0] != number:
            pieces.append((number, []))
        pieces[-1][1].append(place)
    return [(number, split_line(line, places, boxes, page, turned)) for number, places in pieces]
