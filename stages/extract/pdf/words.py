"""Words of a page's lines with their places, and lines put together again from words.

Spans say where a run of text begins and ends, tables need to know where its gaps are. Places come from MuPDF's own
words where those agree with the span, and are estimated by counting characters where they do not (a text page made by
OCR). The characters are always the span's.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from stages.extract.pdf.content import Box, Line, Page
from stages.extract.pdf.reading import TEXT_FLAGS

if TYPE_CHECKING:
    import pymupdf


_MONO = re.compile("mono|courier|consol|typewriter|cmtt", re.I)  # names of fonts that forget to say so themselves
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")  # Hebrew to Arabic Extended-A


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a span of a line, or a whole line that is turned against the others.

    `line`, `span` and `nth` say where it stands in `Page.lines`; `box` is as the reader of this word sees it.
    """

    text: str
    box: Box
    baseline: float
    size: float
    line: int
    span: int
    nth: int
    mono: bool = False
    spaced: bool = False
    """White space was drawn before it."""

    @property
    def x(self) -> float:
        return (self.box.x0 + self.box.x1) / 2

    @property
    def y(self) -> float:
        """The middle between baseline and half the height of a capital: a superscript is in its word's row."""
        return self.baseline - 0.3 * self.size


def words_of(page: Page, mupdf_page: pymupdf.Page | None, turned: int) -> list[Word]:
    """The words of all visible lines, turned so that lines written in the direction `turned` read left to right."""
    placed = _placed(page, mupdf_page, turned)
    words = []
    for at, line in enumerate(page.lines):
        if line.turned != turned:
            text = " ".join(span.text.strip() for span in line.spans if span.visible)
            box = turn(line.box, turned, page)
            if text.strip():
                words.append(Word(text, box, box.y1 - box.height / 4, max(1.0, box.height / 2), at, -1, 0))
            continue
        space_before = False
        for nth_span, span in enumerate(line.spans):
            tokens = span.text.split()
            spaced = space_before or span.text[:1].isspace()
            space_before = span.text[-1:].isspace() or (spaced and not tokens)
            if not tokens or not span.visible:
                continue
            box = turn(span.box, turned, page)
            base = box.y1 + (span.baseline - span.box.y1) if not turned else box.y1 - 0.2 * box.height
            boxes = _match(tokens, box, placed) or _spread(span.text, tokens, box)
            size = max(span.size, 1.0)
            mono = span.mono or bool(_MONO.search(span.font))
            words += [
                Word(token, each, base, size, at, nth_span, nth, mono, spaced or nth > 0)
                for nth, (token, each) in enumerate(zip(tokens, boxes, strict=True))
            ]
    return words


def turn(box: Box, turned: int, page: Page) -> Box:
    """`box` as seen by one who reads text of that direction upright."""
    if turned == 90:
        return Box(box.y0, page.width - box.x1, box.y1, page.width - box.x0)
    if turned == 180:
        return Box(page.width - box.x1, page.height - box.y1, page.width - box.x0, page.height - box.y0)
    if turned == 270:
        return Box(page.height - box.y1, box.x0, page.height - box.y0, box.x1)
    return box


def turn_back(box: Box, turned: int, page: Page) -> Box:
    """The inverse of `turn`."""
    if turned == 90:
        return Box(page.width - box.y1, box.x0, page.width - box.y0, box.x1)
    if turned == 270:
        return Box(box.y0, page.height - box.x1, box.y1, page.height - box.x0)
    return turn(box, turned, page)


def split_line(
    line: Line, places: Sequence[tuple[int, int]], boxes: Mapping[tuple[int, int], Box], page: Page, turned: int
) -> Line:
    """A line of just the words of `line` at `places`, (span, nth) in order; words of one span stay one span. `boxes`
    has the places of some of them as `turned` sees them; the rest is estimated.
    """
    spans = []
    for nth, group in groupby(places, key=lambda place: place[0]):
        span = line.spans[nth]
        members = list(group)
        tokens = span.text.split()
        guess = _spread(span.text, tokens, turn(span.box, turned, page))
        box = around_boxes([boxes.get(place, guess[place[1]]) for place in members])
        spans.append(replace(span, text=" ".join(tokens[n] for _, n in members), box=turn_back(box, turned, page)))
    box = around_boxes([span.box for span in spans])
    return Line(spans, box, line.turned)


def around(words: Sequence[Word]) -> Box:
    """The smallest box around words."""
    return around_boxes([word.box for word in words])


def around_boxes(boxes: Sequence[Box]) -> Box:
    return Box(min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes))


Placed = dict[int, list[Box]]
"""Words as MuPDF places them, by whole points of the middle of their height, each list from left to right."""


def _placed(page: Page, mupdf_page: pymupdf.Page | None, turned: int) -> Placed:
    placed: Placed = defaultdict(list)
    if mupdf_page is None:
        return placed
    matrix = mupdf_page.rotation_matrix if mupdf_page.rotation else None
    for x0, y0, x1, y1, *_ in mupdf_page.get_text("words", flags=TEXT_FLAGS):
        box = Box(x0, y0, x1, y1)
        if matrix is not None:
            corners = [
                (matrix.a * x + matrix.c * y + matrix.e, matrix.b * x + matrix.d * y + matrix.f)
                for x, y in ((x0, y0), (x1, y1))
            ]
            (ax, ay), (bx, by) = corners
            box = Box(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
        box = turn(box, turned, page)
        placed[int((box.y0 + box.y1) / 2)].append(box)
    for row in placed.values():
        row.sort()
    return placed


def _match(tokens: list[str], box: Box, placed: Placed) -> list[Box] | None:
    """MuPDF's places of a span's words; None where their number differs."""
    if len(tokens) == 1:
        return [box]
    middle = int((box.y0 + box.y1) / 2)
    found: list[Box] = []
    for y in range(middle - 2, middle + 3):
        row = placed.get(y, [])
        at = bisect_left(row, (box.x1 - 0.1,))
        while at and row[at - 1].x1 > box.x0 + 0.1 and len(found) <= len(tokens):
            at -= 1
            found.append(row[at])
    if len(found) != len(tokens):
        return None
    found.sort(reverse=bool(_RIGHT_TO_LEFT.search(tokens[0])))
    return [Box(max(each.x0, box.x0), box.y0, min(each.x1, box.x1), box.y1) for each in found]


def _spread(text: str, tokens: list[str], box: Box) -> list[Box]:
    """Places of a span's words if all its characters were of one width."""
    step = box.width / max(1, len(text))
    boxes, at = [], 0
    for token in tokens:
        at = text.index(token, at)
        boxes.append(Box(box.x0 + at * step, box.y0, box.x0 + (at + len(token)) * step, box.y1))
        at += len(token)
    return boxes
