"""Ruling lines of a page: what could be the lines of a table, out of all that the page draws.

Lines, outlines of rectangles and borders between filled areas come out alike; curves, slanted lines and what is
drawn in white on white do not come out. Whether the lines make a table is for `grids` and `tables` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.extract.pdf.content import Box, Ruling

if TYPE_CHECKING:
    import pymupdf

MAX_PATHS = 20_000
"""Paths of a page that draws more are not looked at: that is a map or a plot. The busiest table page of the corpus
draws 900.
"""
MAX_ITEMS = 50_000
"""Straight pieces looked at, of all paths: one path may have any number of them."""
MANY_ITEMS = 16
"""Straight pieces and curves of one path: a frame with round corners has 8."""
MAX_RULINGS = 2_000
"""A page with more after joining is no table either."""
MIN_PATHS = 2
"""With fewer paths there is nothing between which cells could lie."""
THIN = 4.0
"""Points: a filled rectangle up to this thick is a line. Word's thickest table border is 6, its usual ones 0.5 to 3."""
SNAP = 2.5
"""Points: lines nearer to each other are one: double borders, and borders that each cell draws for itself."""
GAP = 3.0
"""Points: what interrupts a line: crossings, the gaps between dots and dashes."""
MIN_LENGTH = 8.0
"""Points: what is shorter once joined is a tick, a bullet or part of a glyph."""

Segment = tuple[bool, float, float, float]
"""Horizontal?, position, start, end."""


def rulings(mupdf_page: pymupdf.Page) -> list[Ruling]:
    """The horizontal and vertical lines that a page shows, pieces in a row joined; none where it draws too much or too
    little for a table. In the order top to bottom, left to right, horizontals first.

    Runs the page's content once more, and once again where it draws something: 1 to 3 ms, 30 where figures are drawn as
    outlines.
    """
    paths = sum(1 for kind, _ in mupdf_page.get_bboxlog() if kind.endswith("path"))
    if not MIN_PATHS <= paths <= MAX_PATHS:
        return []
    return join(list(_segments(mupdf_page)))


def join(segments: Sequence[Segment]) -> list[Ruling]:
    """One ruling for all segments in a row; none at all when more than MAX_RULINGS are left."""
    joined: list[Ruling] = []
    for horizontal in (True, False):
        for position, start, end in _joined(sorted(s[1:] for s in segments if s[0] is horizontal)):
            box = (start, position, end, position) if horizontal else (position, start, position, end)
            joined.append(Ruling(Box(*(round(value, 2) for value in box))))
    return joined if len(joined) <= MAX_RULINGS else []


def _joined(segments: list[tuple[float, float, float]]) -> Iterator[tuple[float, float, float]]:
    """Segments of one direction, sorted by position: those within SNAP of the first are on one line with it."""
    at = 0
    while at < len(segments):
        row_end = at
        while row_end < len(segments) and segments[row_end][0] - segments[at][0] <= SNAP:
            row_end += 1
        row = segments[at:row_end]
        position = sum(s[0] for s in row) / len(row)
        at = row_end
        start, end = float("inf"), float("-inf")
        for _, next_start, next_end in sorted(row, key=lambda s: s[1]):
            if next_start > end + GAP:
                if end - start >= MIN_LENGTH:
                    yield position, start, end
                start, end = next_start, next_end
            end = max(end, next_end)
        if end - start >= MIN_LENGTH:
            yield position, start, end


def _segments(mupdf_page: pymupdf.Page) -> Iterator[Segment]:
    """The straight, upright pieces of all visible paths."""
    turn = mupdf_page.rotation_matrix if mupdf_page.rotation else None
    view = mupdf_page.rect
    left = MAX_ITEMS
    for path in mupdf_page.get_cdrawings():
        if "items" not in path or not _visible(path) or _is_curve(path["items"]):
            continue
        for item in path["items"][:left]:
            box = _upright(item)
            if box is not None:
                if turn is not None:
                    box = _turned(box, turn)
                yield from _sides(box, Box(view.x0, view.y0, view.x1, view.y1), item[0] == "l")
        left -= len(path["items"])
        if left <= 0:
            return


def _is_curve(items: Sequence[Any]) -> bool:
    """Whether a path of many pieces is the outline of a glyph or of a figure: those of tables have no curves."""
    return len(items) > MANY_ITEMS and any(item[0] == "c" for item in items[:MANY_ITEMS])


def _visible(path: dict[str, Any]) -> bool:
    """Whether the path leaves ink. White fills are taken to lie on white paper."""
    stroked = "s" in path["type"] and path.get("color") is not None and path.get("stroke_opacity") != 0
    filled = "f" in path["type"] and path.get("fill") is not None and path.get("fill_opacity") != 0
    return stroked or (filled and min(path["fill"]) < 0.99)


def _upright(item: Any) -> Box | None:
    """Box of a drawing item that is a horizontal or vertical line or a rectangle."""
    if item[0] == "l":
        (x0, y0), (x1, y1) = item[1], item[2]
        return Box(x0, y0, x1, y1) if abs(x1 - x0) <= 1 or abs(y1 - y0) <= 1 else None
    if item[0] == "re":
        return Box(*item[1])
    if item[0] == "qu":
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = item[1]
        return Box(ax, ay, dx, dy) if max(abs(ax - cx), abs(ay - by), abs(bx - dx), abs(cy - dy)) <= 1 else None
    return None


def _turned(box: Box, matrix: Any) -> Box:
    """The box as the turned page shows it."""
    x0, y0, x1, y1 = box
    return Box(
        matrix.a * x0 + matrix.c * y0 + matrix.e,
        matrix.b * x0 + matrix.d * y0 + matrix.f,
        matrix.a * x1 + matrix.c * y1 + matrix.e,
        matrix.b * x1 + matrix.d * y1 + matrix.f,
    )


def _sides(box: Box, page: Box, line: bool) -> Iterator[Segment]:
    """The lines that a line or the sides of a rectangle are, cut to the page. NaN compares false and gives none."""
    x0, x1 = max(min(box.x0, box.x1), page.x0), min(max(box.x0, box.x1), page.x1)
    y0, y1 = max(min(box.y0, box.y1), page.y0), min(max(box.y0, box.y1), page.y1)
    width, height = x1 - x0, y1 - y0
    if not (width >= 0 and height >= 0) or (width > 0.9 * page.width and height > 0.9 * page.height):
        return  # outside, or the page's own background or border
    if height <= (1 if line else THIN) and height <= width:
        yield True, (y0 + y1) / 2, x0, x1
    elif width <= (1 if line else THIN):
        yield False, (x0 + x1) / 2, y0, y1
    elif not line:
        yield from ((True, y0, x0, x1), (True, y1, x0, x1), (False, x0, y0, y1), (False, x1, y0, y1))
