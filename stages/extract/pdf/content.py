"""What a page shows, as plain data: lines of spans, images and ruling lines. Nothing here knows MuPDF.

Everything is in points (1/72 inch), x to the right and y downwards, as the page is seen: its rotation undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal, NamedTuple


class Box(NamedTuple):
    """A rectangle, (x0, y0) its upper left corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """0 for a box that is inside out."""
        return max(0.0, self.width) * max(0.0, self.height)

    def union(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        return self.overlap_x(other) * self.overlap_y(other)

    def overlap_x(self, other: Box) -> float:
        """Width that both cover."""
        return max(0.0, min(self.x1, other.x1) - max(self.x0, other.x0))

    def overlap_y(self, other: Box) -> float:
        """Height that both cover."""
        return max(0.0, min(self.y1, other.y1) - max(self.y0, other.y0))


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box around one or more."""
    return reduce(Box.union, boxes)


def commonest_size(pieces: Iterable[tuple[float, int]]) -> float:
    """The size that most characters have, of (size, characters); of equals the smaller, and 0 of nothing."""
    weight: Counter[float] = Counter()
    for size, characters in pieces:
        weight[size] += characters
    return max(weight, key=lambda size: (weight[size], -size), default=0.0)


@dataclass(slots=True)
class Span:
    """Characters in a row of one font, size and style."""

    text: str
    box: Box
    baseline: float
    """y of the origin of its first character; x where the text is turned by 90 or 270 degrees."""
    size: float
    font: str
    bold: bool = False
    italic: bool = False
    mono: bool = False
    superscript: bool = False
    """As MuPDF sees it, by size and baseline."""
    visible: bool = True
    """False for what is drawn and not seen: render mode 3, or wholly transparent."""


@dataclass(slots=True)
class Line:
    """Spans that the page draws in a row, in the order drawn; `turned` is the direction of writing in degrees
    clockwise, 0 for text that reads from left to right.
    """

    spans: list[Span]
    box: Box
    turned: int = 0


@dataclass(slots=True)
class Ruling:
    """A straight drawn line, or a thin filled rectangle, that is horizontal or vertical."""

    box: Box

    @property
    def horizontal(self) -> bool:
        return self.box.width >= self.box.height


@dataclass(slots=True)
class Page:
    """What one page shows. `lines` are in the order of the content stream."""

    number: int
    """From 0."""
    width: float
    height: float
    lines: list[Line]
    images: list[Box] = field(default_factory=list)
    rulings: list[Ruling] = field(default_factory=list)
    """Only of pages that draw enough of them for a table."""
    styled: bool = True
    """Whether sizes and fonts are the author's. Those of an OCR layer are guesses, and differ from line to line."""


@dataclass(slots=True)
class Table:
    """Rows of cells. `lines` are the page's lines whose text the cells have: every span of theirs is in some cell."""

    box: Box
    rows: list[list[str]]
    lines: list[Line]
    ruled: bool = True


Kind = Literal["heading", "paragraph", "item", "table", "caption", "note", "code"]


@dataclass(slots=True)
class Block:
    """A piece of running text or a table, in the order of reading. `text` is final but for what continues it: lines
    are joined. A hyphen at a line's end is a soft hyphen, which `compose` drops or makes a hyphen.
    """

    kind: Kind
    text: str
    box: Box | None = None
    """None where nobody knows, as with text that an OCR service answers."""
    size: float = 0.0
    """Points, of most of its characters; 0 where nobody knows."""
    open_start: bool = False
    """May go on from the block before it: it begins without an indent, or in mid-sentence."""
    open_end: bool = False
    """May go on in the next: its last line is full, and does not end a sentence."""
