"""From rows in reading order to blocks: where a paragraph ends, and what is a heading, an item, a caption or a note.

Works on one region or on a whole page in order; where reading jumps (up, or sideways into the next column) a block ends
that may go on, and `compose` joins what belongs together. Tables are somebody else's.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from stages.extract.pdf.columns import rows as rows_of
from stages.extract.pdf.content import Block, Kind, Line, around, commonest_size
from stages.extract.pdf.initials import BULLETS
from stages.extract.pdf.lines import UNSPACED, Row, ends_sentence, join

SAME_SIZE = 0.07
"""Relative: sizes that differ by less are the same."""
WIDER_GAP = 1.3
"""Times the usual distance of two lines in a region: a wider one parts paragraphs."""
INDENT = 0.7
"""Of the size: a first line that is set in by more begins a paragraph."""
DEEPEST_INDENT = 5.0
"""Of the size: what is set in by more is no first line but another column."""
HALF_EMPTY = 0.45
"""Of the region's width: a line without a full stop ends a paragraph only where as much is left of it."""
WIDEST_MARK = 3.0
"""Of the size: the widest bullet or number of an item."""
LEAST_PARTED = 3
"""Rows with a gap in common that stay rows: what no table was made of, labels and values, a letterhead."""
MOST_ROWS = 500
"""Lines of a paragraph, code too; longer ones are parted, as joining takes time by the square."""
HEADING_CHARACTERS = 200
"""The longest heading."""
HEADING_ROWS = 4
"""The most lines of a heading."""
SENTENCE_CHARACTERS = 60
"""A longer text that begins amid a sentence or ends one is no heading: the type around it is small."""
TITLE = 1.3
"""Times the usual size of the page, from which on it is one all the same."""
EDGE_ROWS = 3
"""Rows that end at one place show the edge of a column."""
SAME_EDGE = 1.0
"""Points between the ends of justified lines, at most."""
LARGER = 1.08
"""Times the usual size of the page: a heading's least."""

_BULLET = re.compile(rf"^[{re.escape(BULLETS)}–—-]\s+(?=\S)")
_NUMBERED = re.compile(r"^(?:\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\(?[ivxIVX]{1,5}[.)]|\[\d{1,3}\])\s+\S")
_LETTERED = re.compile(r"^\(?[a-z][.)]\s+\S")
_LEADER = re.compile(r"\.\.\. *[\dIVXLCivxlc-]{1,7}$")
_CAPTION = re.compile(
    r"^(?:fig(?:ure|\.)|table|tab\.|scheme|box|plate|chart|abb(?:ildung|\.)|tabelle|tabella|tableau|figura|tabla|рис(?:унок|\.)|"
    r"таблица|табл\.)\s*[A-Z]?[\dIVX]+(?:\.\d+)*\s*(?:[.:|–—-]|\s+[A-Z]|$)|^[図表图]\s*\d+",
    re.IGNORECASE,
)
_NOTE = re.compile(r"^(?:\d{1,3}|[*†‡§¶#]{1,3}|[a-z])(?=[\s.)]|[^\W\d])")
_FIRST_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")  # a line may end after any letter of scripts without spaces


def paragraphs(lines: list[Line], usual_size: float | None = None) -> list[Block]:
    """Blocks of the lines of one region, in their order. Sizes are measured against `usual_size`, the page's."""
    return blocks_of(rows_of(lines), usual_size)


def blocks_of(rows: Sequence[Row], usual_size: float | None = None) -> list[Block]:
    """Blocks of rows in reading order."""
    if not rows:
        return []
    body = usual_size if usual_size is not None else usual(rows)
    blocks: list[Block] = []
    for run in _runs(rows):
        blocks += _blocks_of_run(run, body)
    return blocks


def usual(rows: Sequence[Row]) -> float:
    """The size that most characters have."""
    return commonest_size((round(row.size * 2) / 2, len(row.text)) for row in rows)


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that go down in one column without a jump."""
    runs = [[rows[0]]]
    for above, row in pairwise(rows):
        down = row.baseline > above.baseline - 0.2 * row.size
        near = row.box.y0 - above.box.y1 < 4 * max(row.size, above.size)
        if down and near and above.box.overlap_x(row.box) > 0:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


class _Run:
    """The measures of a run of rows: its edges, and how far apart its lines are."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.left = min(row.box.x0 for row in rows)
        self.right = max(row.box.x1 for row in rows)
        steps = [b.baseline - a.baseline for a, b in pairwise(rows) if _alike(a, b) and b.baseline > a.baseline]
        self.leading = median(steps) if len(steps) >= 2 else 0.0
        ends = sorted(_end(row) for row in rows)
        self._edges = [here for here, third in zip(ends, ends[EDGE_ROWS - 1 :]) if third - here < SAME_EDGE]

    def room(self, row: Row, below: Row) -> float:
        """Space behind a row, up to the next edge that lines share and the row below keeps to; up to the run's own
        where there is none. A run may go from the width of the page into a column.
        """
        end = _end(row)
        at = bisect_left(self._edges, max(end, _end(below)) - SAME_EDGE)
        edge = self._edges[at] if at < len(self._edges) else -self.left if row.rtl else self.right
        return edge - end

    def wide_gap(self, above: Row, below: Row) -> bool:
        size = max(above.size, below.size)
        usual = self.leading if 0.9 * size <= self.leading <= 2.5 * size else 1.25 * size
        return below.baseline - above.baseline > WIDER_GAP * usual


def _blocks_of_run(run: list[Row], body: float) -> list[Block]:
    measures = _Run(run)
    blocks: list[Block] = []
    for parted, rows in _parted(run):
        if parted:
            blocks.append(_rows_block(rows))
            continue
        groups = [[rows[0]]]
        for i in range(1, len(rows)):
            after = rows[i + 1] if i + 1 < len(rows) else None
            if _parts(groups[-1], rows[i], after, measures):
                groups.append([])
            groups[-1].append(rows[i])
        blocks += [_block(group, measures, body) for group in groups]
    return blocks


def _parted(run: Sequence[Row]) -> Iterator[tuple[bool, list[Row]]]:
    """The run in pieces: rows that stay rows, as they have a gap in common, and the others."""
    together: list[list[Row]] = [[run[0]]]
    for above, row in pairwise(run):
        if _share_a_gap(above, row) and not _same_baseline(above, row):
            together[-1].append(row)
        else:
            together.append([row])
    others: list[Row] = []
    for rows in together:
        if len(rows) < LEAST_PARTED:
            others += rows
            continue
        if others:
            yield False, others
        yield True, rows
        others = []
    if others:
        yield False, others


def _share_a_gap(one: Row, other: Row) -> bool:
    width = max(one.size, other.size)
    return any(min(b, d) - max(a, c) > width for a, b in _open(one) for c, d in _open(other))


def _open(row: Row) -> tuple[tuple[float, float], ...]:
    """The gaps that may be between columns: not those within code, nor the one behind an item's bullet or number."""
    if not row.gaps or row.mono:
        return ()
    if not _BULLET.match(row.text) and not _NUMBERED.match(row.text):
        return row.gaps
    mark = WIDEST_MARK * row.size
    return tuple((a, b) for a, b in row.gaps if a > row.box.x0 + mark and b < row.box.x1 - mark)


def _rows_block(rows: Sequence[Row]) -> Block:
    return Block("table", "\n".join(row.text for row in rows), around(row.box for row in rows))


def _parts(group: list[Row], row: Row, after: Row | None, run: _Run) -> bool:
    """Whether `row` begins a block."""
    above = group[-1]
    if len(group) >= MOST_ROWS or run.wide_gap(above, row):
        return True
    if above.text[-1] in "-\u00ad" and _lower(row.text) and _same_size(above, row):
        return False
    if not _alike(above, row) and not _same_baseline(above, row):
        return True
    if _same_baseline(above, row):
        return False
    if above.mono and row.mono:
        return False
    if _BULLET.match(row.text) or _LEADER.search(above.text):
        return True
    if _CAPTION.match(row.text) and ends_sentence(above.text):
        return True
    start = -row.box.x1 if row.rtl else row.box.x0
    before = -above.box.x1 if row.rtl else above.box.x0
    first = -group[0].box.x1 if row.rtl else group[0].box.x0
    indent = start - before
    item = _BULLET.match(group[0].text) or _NUMBERED.match(group[0].text)
    if _NUMBERED.match(row.text):
        ended, level = ends_sentence(above.text), start <= first + 0.3 * row.size
        if level and (ended or _NUMBERED.match(group[0].text)):
            return True
        if ended and (_LETTERED.match(row.text) if item else indent > INDENT * row.size):
            return True
    hanging = len(group) > 1 and before > first + INDENT * row.size
    if indent < -INDENT * row.size and hanging and start <= first + 0.3 * row.size:
        return True
    if start < first - INDENT * row.size and _BULLET.match(group[0].text) and not _lower(row.text):
        return True  # text after the last item of a list, at the margin again
    if INDENT * row.size < indent < DEEPEST_INDENT * row.size and not (item and len(group) == 1):
        first_line = after is not None and not _alike(row, after)
        next_start = None if after is None else (-after.box.x1 if row.rtl else after.box.x0)
        if next_start is None or first_line or next_start < start - 0.5 * row.size:
            return ends_sentence(above.text) or not _lower(row.text)
    return _breaks_early(above, row, run)


def _breaks_early(above: Row, row: Row, run: _Run) -> bool:
    """Whether the line above ended though the next word would have fitted."""
    if _lower(row.text) or above.text[-1] in "-\u00ad,":
        return False
    word = _FIRST_WORD.match(row.text)
    width = row.box.width * (len(word.group()) if word else 1) / len(row.text)
    room = run.room(above, row)
    if ends_sentence(above.text):
        return room > width + row.size
    return room > max(width, HALF_EMPTY * (run.right - run.left))


def _block(group: list[Row], run: _Run, body: float) -> Block:
    first, last = group[0], group[-1]
    size = usual(group)
    kind = _kind(group, size, body)
    if kind == "code":
        text = "\n".join(row.text for row in group)
    else:
        text = ""
        for row in group:
            text = join(text, row.text)
    if kind == "item":
        text = _BULLET.sub("- ", text)
    full = (last.box.x0 <= run.left + 2 * last.size) if last.rtl else (last.box.x1 >= run.right - 2 * last.size)
    ends = ends_sentence(last.text) or _LEADER.search(last.text) is not None
    return Block(
        kind,
        text,
        around(row.box for row in group),
        size,
        open_start=kind == "paragraph" and (_lower(first.text) or (first.box.x0 - run.left) < INDENT * size),
        open_end=kind in ("paragraph", "item") and not ends and (full or text[-1] in "-\u00ad,"),
    )


def _kind(group: list[Row], size: float, body: float) -> Kind:
    text = group[0].text
    if _CAPTION.match(text):
        return "caption"
    if _BULLET.match(text) or (_NUMBERED.match(text) and size <= LARGER * body and not group[0].bold):
        return "item"
    length = sum(len(row.text) for row in group)
    words = sum(map(str.isalpha, text)) >= 2 and not (size < TITLE * body and _is_sentence(group, length))
    if words and len(group) <= HEADING_ROWS and length <= HEADING_CHARACTERS:
        bold = all(row.bold for row in group)
        if size >= LARGER * body or (bold and size >= 0.93 * body and group[-1].text[-1] not in ".,;:-"):
            return "heading"
    if all(row.mono for row in group) and len(group) > 1:
        return "code"
    if size < 0.93 * body and _NOTE.match(text):
        return "note"
    return "paragraph"


def _is_sentence(group: list[Row], length: int) -> bool:
    return length > SENTENCE_CHARACTERS and (_lower(group[0].text) or ends_sentence(group[-1].text))


def _alike(one: Row, other: Row) -> bool:
    """Whether two rows may be of one block."""
    same_font = (one.bold, one.mono) == (other.bold, other.mono) or min(len(one.text), len(other.text)) < 4
    return same_font and _same_size(one, other)


def _end(row: Row) -> float:
    """Where a row ends, growing in the direction of reading."""
    return -row.box.x0 if row.rtl else row.box.x1


def _same_size(one: Row, other: Row) -> bool:
    return abs(one.size - other.size) <= SAME_SIZE * max(one.size, other.size)


def _same_baseline(one: Row, other: Row) -> bool:
    return abs(one.baseline - other.baseline) < 0.3 * min(one.size, other.size)


def _lower(text: str) -> bool:
    return text[:1].islower()
