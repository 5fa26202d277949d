"""Furniture: what stands on page after page beside the text, and is no part of it.

Running heads and feet, page numbers, stamps in the margin, watermarks and line numbers. All but the last are known by
coming back: the same text but for its digits, at the same height, on a quarter of the pages of one parity. Nothing here
knows a phrase ("Downloaded from", "Page 3 of 7") of any language.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

from stages.extract.pdf.content import Line, Page, commonest_size
from stages.extract.pdf.linenumbers import line_numbers
from stages.extract.pdf.numerals import page_number
from stages.extract.pdf.recurring import SAME_PLACE, folded, often, text_of
from stages.extract.pdf.stamps import stamps

ZONE = 1 / 6
"""Of the page's height, above and below: heads and feet stand there."""
OUTERMOST = 4
"""Rows at either edge that may be furniture."""
SAME_SIZE = 1.12
"""Ratio: a title is larger than the running head that repeats it."""
COUNTING = 0.6
"""Share of a lone number's recurrences that count pages."""
SLOT_SHARE = 0.4
"""Of the pages of one parity: a height at which that many have a text that comes back at all is where heads are, though
each is a chapter's and on few pages; one that comes only once, of a short chapter, is known by its place."""
LARGEST_HEAD = 1.25
"""Times the usual size of the document: such heads are no larger, while slides have titles that come back."""
MOST = 0.5
"""Share of a document's characters: where more comes back, as on labels and forms, it is what the document says."""
LONGEST_HEAD = 120
"""Characters of such a head."""
SAME_COLUMN = 2.0
"""Points by which the starts of what stands in one column of a table differ."""


_DIGITS = re.compile(r"\d{1,9}")


@dataclass(slots=True)
class _Piece:
    """One line of one page that may be furniture."""

    page: int
    line: Line
    text: str
    top: bool
    key: str
    rank: int
    """How many rows are nearer to the edge."""

    @property
    def y(self) -> float:
        return (self.line.box.y0 + self.line.box.y1) / 2


def without_furniture(pages: list[Page]) -> tuple[list[Page], list[list[Line]]]:
    """The pages without their furniture, and for each page the lines taken away."""
    taken = line_numbers(pages) | stamps(pages)
    pieces = [piece for at, page in enumerate(pages) for piece in _marginal(at, page, taken)]
    largest = LARGEST_HEAD * _usual_size(pages)
    taken |= _at_the_edge(pieces, len(pages), largest)
    taken -= _titles([piece for piece in pieces if id(piece.line) in taken], largest)
    characters = [(id(line) in taken, len(text_of(line))) for page in pages for line in page.lines]
    if sum(n for gone, n in characters if gone) > MOST * sum(n for _, n in characters):
        return pages, [[] for _ in pages]
    return (
        [replace(page, lines=[line for line in page.lines if id(line) not in taken]) for page in pages],
        [[line for line in page.lines if id(line) in taken] for page in pages],
    )


def _titles(pieces: Sequence[_Piece], largest: float) -> set[int]:
    """ids of lines, among those that come back, that are larger than a head and come for the first time."""
    first: dict[tuple[bool, str], _Piece] = {}
    for piece in pieces:
        if max(span.size for span in piece.line.spans) > largest:
            words = any(map(str.isalpha, piece.key))
            first.setdefault((piece.top, piece.text if words else piece.key), piece)
    return {id(piece.line) for piece in first.values()}


def _marginal(at: int, page: Page, taken: set[int]) -> Iterable[_Piece]:
    """The upright lines of the outermost rows."""
    lines = [line for line in page.lines if line.turned == 0 and id(line) not in taken and text_of(line)]
    for top in (True, False):
        edge = page.height * (ZONE if top else 1 - ZONE)
        near = [line for line in lines if (line.box.y1 <= edge if top else line.box.y0 >= edge)]
        near.sort(key=lambda line: (line.box.y0 if top else -line.box.y1, line.box.x0))
        rank, row = -1, None
        for line in near:
            if row is None or row.overlap_y(line.box) < 0.5 * min(row.height, line.box.height):
                rank, row = rank + 1, line.box
                if rank >= OUTERMOST:
                    break
            text = text_of(line)
            yield _Piece(at, line, text, top, folded(text), rank)


def _usual_size(pages: Sequence[Page]) -> float:
    """The size of most characters."""
    spans = (span for page in pages for line in page.lines for span in line.spans)
    return commonest_size((round(span.size * 2) / 2, len(span.text)) for span in spans)


def _recurring(pieces: Sequence[_Piece], pages: int) -> tuple[set[int], set[int]]:
    """Indices of pieces whose text comes back at its height: on enough pages to be furniture, and at all."""
    groups: defaultdict[tuple[bool, str], list[int]] = defaultdict(list)
    for i, piece in enumerate(pieces):
        groups[piece.top, piece.key].append(i)
    enough: set[int] = set()
    at_all: set[int] = set()
    for (_, key), members in groups.items():
        for alike in _same_place(members, pieces):
            on = {pieces[i].page for i in alike}
            if len(on) < 2 or not (_same_words(key, alike, pieces) or _counts(alike, pieces)):
                continue
            at_all.update(alike)
            if often(on, pages):
                enough.update(alike)
    return enough, at_all


def _same_place(members: Sequence[int], pieces: Sequence[_Piece]) -> Iterable[list[int]]:
    """Members parted by height, and freed of those in another size."""
    ordered = sorted(members, key=lambda i: (pieces[i].y, i))
    cluster: list[int] = []
    for i in ordered:
        if cluster and pieces[i].y - pieces[cluster[-1]].y > SAME_PLACE:
            yield _same_size(cluster, pieces)
            cluster = []
        cluster.append(i)
    if cluster:
        yield _same_size(cluster, pieces)


def _same_size(members: Sequence[int], pieces: Sequence[_Piece]) -> list[int]:
    sizes = {i: max(span.size for span in pieces[i].line.spans) for i in members}
    usual = median(sizes.values())
    return [i for i in members if sizes[i] <= SAME_SIZE * usual]


def _same_words(key: str, members: Sequence[int], pieces: Sequence[_Piece]) -> bool:
    """Whether what comes back is words, with the numbers among them: `Total due 120` on one page and `Total due 95` on
    the next are two things.
    """
    if not any(map(str.isalpha, key)):
        return False
    texts = Counter(pieces[i].text.casefold() for i in members)
    return sum(n for n in texts.values() if n >= 2) >= COUNTING * len(members)


def _counts(members: Sequence[int], pieces: Sequence[_Piece]) -> bool:
    """Whether one of the numbers, the first or the second or …, grows as pages do."""
    offsets: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for i in members:
        alone = page_number(pieces[i].text)
        numbers = map(int, _DIGITS.findall(pieces[i].text)) if alone is None else [alone]
        for place, number in enumerate(numbers):
            offsets[place][number - pieces[i].page] += 1
    # front matter counts by itself, so there may be several starts; a number that stands alone counts nothing
    enough = max(2, COUNTING * len(members))
    return any(sum(n for n in starts.values() if n >= 2) >= enough for starts in offsets.values())


Rows = dict[tuple[int, bool, int], list[int]]
"""Indices of the pieces of a row, by page, edge (True: top) and rank."""
Slots = dict[tuple[bool, int], list[tuple[float, float]]]
"""Heights where heads are, and their sizes, at the top (True) or at the bottom of even (0) or odd (1) pages."""


def _at_the_edge(pieces: Sequence[_Piece], pages: int, largest: float) -> set[int]:
    """ids of lines in rows that are furniture as a whole: recurring for the most part, or, up to the size `largest`, at
    a height where heads are; with nothing but furniture between them and the edge, and no heading of a table.
    """
    rows: Rows = {}
    for i, piece in enumerate(pieces):
        rows.setdefault((piece.page, piece.top, piece.rank), []).append(i)
    enough, at_all = _recurring(pieces, pages)
    heads = {place for place, row in rows.items() if _share(row, pieces, enough) >= 0.5}
    again = {place for place, row in rows.items() if _share(row, pieces, at_all) >= 0.5}
    slots = _slots(
        [row for row in map(rows.get, sorted(again)) if row and _size(row, pieces) <= largest], pieces, pages
    )
    taken: set[int] = set()
    for at, top in product(range(pages), (True, False)):
        depth = 0
        while row := rows.get((at, top, depth)):
            place = (at, top, depth)
            if place not in heads and not ((at > 0 or place in again) and _in_slot(row, pieces, slots)):
                break
            depth += 1
        while depth and _heads_a_table(rows[at, top, depth - 1], rows.get((at, top, depth)), pieces):
            depth -= 1
        taken.update(id(pieces[i].line) for rank in range(depth) for i in rows[at, top, rank])
    return taken


def _share(row: Sequence[int], pieces: Sequence[_Piece], recurring: set[int]) -> float:
    """How much of a row's text recurs."""
    return sum(len(pieces[i].text) for i in row if i in recurring) / sum(len(pieces[i].text) for i in row)


def _size(row: Sequence[int], pieces: Sequence[_Piece]) -> float:
    return max(span.size for i in row for span in pieces[i].line.spans)


def _slots(heads: Sequence[Sequence[int]], pieces: Sequence[_Piece], pages: int) -> Slots:
    """Where enough pages have a recurring row."""
    slots: Slots = defaultdict(list)
    for top in (True, False):
        ordered = sorted((row for row in heads if pieces[row[0]].top == top), key=lambda row: (pieces[row[0]].y, row))
        start = 0
        for end in range(1, len(ordered) + 1):
            first = pieces[ordered[start][0]].y
            if end < len(ordered) and pieces[ordered[end][0]].y - first <= SAME_PLACE:
                continue
            cluster = ordered[start:end]
            on = {pieces[row[0]].page for row in cluster}
            for parity in _filled(on, pages):
                height = median(pieces[row[0]].y for row in cluster)
                slots[top, parity].append((height, median(_size(row, pieces) for row in cluster)))
            start = end
    return slots


def _filled(on: set[int], pages: int) -> list[int]:
    """The parities of which enough pages are among `on`."""
    odd = sum(page % 2 for page in on)
    shares = (len(on) - odd) / ((pages + 1) // 2), odd / max(1, pages // 2)
    return [parity for parity, share in enumerate(shares) if len(on) >= 3 and share >= SLOT_SHARE]


def _in_slot(row: Sequence[int], pieces: Sequence[_Piece], slots: Slots) -> bool:
    """Whether a row stands where heads are, and may be one."""
    first = pieces[row[0]]
    if first.rank > 1 or sum(len(pieces[i].text) for i in row) > LONGEST_HEAD:
        return False
    size = _size(row, pieces)
    return any(
        abs(first.y - y) <= SAME_PLACE / 2 and usual / SAME_SIZE <= size <= SAME_SIZE * usual
        for y, usual in slots.get((first.top, first.page % 2), ())
    )


def _heads_a_table(row: Sequence[int], text: Sequence[int] | None, pieces: Sequence[_Piece]) -> bool:
    """Whether two pieces of a row stand above two of the text's next row, as a table's heading above its columns."""
    starts = [pieces[i].line.box.x0 for i in text or ()]
    above = [i for i in row if any(abs(pieces[i].line.box.x0 - x) <= SAME_COLUMN for x in starts)]
    return len(above) >= 2
