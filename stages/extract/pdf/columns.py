"""Gutters: the strips of white that part columns of prose, and the rows of text that they bound.

A gutter needs lines of running text on both sides, long enough and mostly filling their column. Cells of a table are no
prose: nothing parts them here, and their rows stay rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.extract.pdf.content import Box, Line, Span, around
from stages.extract.pdf.lines import OBJECT, Row, follows, make_row

MOST_EDGES = 24
"""Left edges that are tried as a column's, those of most lines first."""
MOST_GUTTERS = 32
"""The longest are kept: each line is held against each."""
LEAST_LINES = 4
"""Lines that a column has at least on either side of a gutter."""
WIDE_SPACE = 0.55
"""Of the size: a space that is as wide may be a narrow gutter."""
GUTTER_WIDTH = 0.4
"""Of the usual size: the least white between two columns."""
FILLED = 0.7
"""Of a column's width: a line of prose is longer, but for the last of its paragraph."""
PROSE_SHARE = 0.5
"""Of a column's lines that are filled."""
PROSE_CHARACTERS = 15
"""In the median line of a column of prose; a cell of a table has fewer."""
Floats = npt.NDArray[np.float64]


class Gutter(NamedTuple):
    """A strip of white that parts two columns, `x` its middle."""

    x: float
    y0: float
    y1: float

    def parts(self, one: Box, other: Box) -> bool:
        """Whether the two stand on different sides of it."""
        y = (max(one.y0, other.y0) + min(one.y1, other.y1)) / 2
        return self.y0 <= y <= self.y1 and (one.x0 < self.x) != (other.x0 < self.x)


def columns_of(lines: Sequence[Line]) -> tuple[list[Line], list[Gutter]]:
    """The gutters of a page, and its lines, parted where MuPDF has joined two columns to one line."""
    gutters = find_gutters(lines)
    parted = [piece for line in lines for piece in _parted(line, gutters)]
    if len(parted) > len(lines) and (found := find_gutters(parted)):
        return parted, found
    return list(lines), gutters


def _parted(line: Line, gutters: Sequence[Gutter]) -> list[Line]:
    """A line parted at those of its wide spaces that lie over a gutter; at all of them where none is known."""
    if len(line.spans) < 3:
        return [line]
    blanks = [i for i in range(1, len(line.spans) - 1) if _is_wide(line.spans[i])]
    if gutters:
        blanks = [i for i in blanks if any(line.spans[i].box.x0 - 1 <= g.x <= line.spans[i].box.x1 for g in gutters)]
    if not blanks:
        return [line]
    pieces = []
    for start, end in zip([0, *(i + 1 for i in blanks)], [*blanks, len(line.spans)]):
        spans = line.spans[start:end]
        if spans:
            pieces.append(Line(spans, around(span.box for span in spans), line.turned))
    return pieces


def _is_wide(span: Span) -> bool:
    return span.text == " " and span.box.width > WIDE_SPACE * span.size


def rows(lines: Sequence[Line], gutters: Sequence[Gutter] = ()) -> list[Row]:
    """Rows in the order of `lines`: neighbours that stand side by side joined, unless a gutter parts them."""
    found: list[Row] = []
    pieces: list[Line] = []
    for line in lines:
        if pieces and not (
            OBJECT not in (pieces[-1].spans[0].text[:1], line.spans[0].text[:1])
            and follows(pieces[-1].box, line.box)
            and not any(g.parts(pieces[-1].box, line.box) for g in gutters)
        ):
            row = make_row(pieces)
            if row is not None:
                found.append(row)
            pieces = []
        pieces.append(line)
    row = make_row(pieces) if pieces else None
    return [*found, row] if row is not None else found


def find_gutters(lines: Sequence[Line]) -> list[Gutter]:
    """Strips of white with prose on both sides."""
    inked = [(line, sum(len(s.text) for s in line.spans)) for line in lines]
    inked = [(line, n) for line, n in inked if n > 1]
    if len(inked) < 2 * LEAST_LINES:
        return []
    boxes = np.array([line.box for line, _ in inked])
    characters = np.array([n for _, n in inked])
    size = float(np.median(boxes[:, 3] - boxes[:, 1]))
    edges, counts = np.unique(np.round(boxes[:, 0]), return_counts=True)
    often = np.argsort(-counts, kind="stable")[:MOST_EDGES]
    gutters: list[Gutter] = []
    for edge in np.sort(edges[often][counts[often] >= LEAST_LINES]):
        gutters += _beside(float(edge), boxes, characters, size)
    return sorted(gutters, key=lambda gutter: (gutter.y0 - gutter.y1, gutter.x))[:MOST_GUTTERS]


def _beside(edge: float, boxes: Floats, characters: npt.NDArray[np.int_], size: float) -> list[Gutter]:
    """Gutters whose right side is `edge`: the stretches that no line crosses and that have prose on both sides."""
    width = max(2.0, GUTTER_WIDTH * size)
    right_of = boxes[:, 0] >= edge - 1
    left_of = boxes[:, 2] <= edge - width
    crossing = boxes[~right_of & ~left_of]
    crossing = crossing[np.argsort(crossing[:, 1], kind="stable")]
    tops = np.append(crossing[:, 1], np.inf)
    bottoms = np.concatenate([[-np.inf], np.maximum.accumulate(crossing[:, 3])]) if len(crossing) else [-np.inf]
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    gutters = []
    for top, bottom in zip(bottoms, tops):
        if bottom - top < (LEAST_LINES - 1) * size:
            continue
        within = (middle > top) & (middle < bottom)
        right = within & right_of & (boxes[:, 0] <= edge + 1)
        if np.count_nonzero(right) < LEAST_LINES:
            continue
        left = within & left_of
        if np.count_nonzero(left) < LEAST_LINES:
            continue
        y0 = max(boxes[left, 1].min(), boxes[right, 1].min())
        y1 = min(boxes[left, 3].max(), boxes[right, 3].max())
        if y1 <= y0:
            continue
        # the column on the left is the one whose lines end nearest to the gutter
        reach = np.quantile(boxes[left, 2], 0.9)
        near = left & (boxes[:, 2] > reach - (edge - boxes[left, 0].min()) / 3)
        if _is_prose(boxes[near], characters[near]) and _is_prose(boxes[right], characters[right]):
            low = float(max(top, min(boxes[left, 1].min(), boxes[right, 1].min())))
            high = float(min(bottom, max(boxes[left, 3].max(), boxes[right, 3].max())))
            gutters.append(Gutter(edge - width / 2, low, high))
    return gutters


def _is_prose(boxes: Floats, characters: npt.NDArray[np.int_]) -> bool:
    """Whether lines look like those of a column of running text: long enough, and most reach the column's end."""
    if len(boxes) < LEAST_LINES or np.median(characters) < PROSE_CHARACTERS:
        return False
    widths = boxes[:, 2] - boxes[:, 0]
    return bool(np.mean(widths >= FILLED * np.quantile(widths, 0.9)) >= PROSE_SHARE)
