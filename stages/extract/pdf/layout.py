"""The `fast` layout of one page: its lines in reading order, as blocks, with the tables where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stages.extract.pdf.content import Block, Line, Page, Span, Table, commonest_size
from stages.extract.pdf.initials import with_bullets_joined, with_initials_joined
from stages.extract.pdf.lines import OBJECT, Row, turn
from stages.extract.pdf.order import reading_order
from stages.extract.pdf.paragraphs import blocks_of, usual
from stages.extract.pdf.tables import markdown


def lay_out(page: Page, tables: Sequence[Table] = ()) -> list[Block]:
    """The page's blocks in reading order. All of its lines count: the caller has taken out what is hidden, or what is
    seen where the hidden text is what he wants. Text turned another way than most of the page comes after the rest.
    Nothing is a heading, code or a note for its size or font where the page's are not the author's.
    """
    directions: dict[int, list[Line]] = {}
    every = _with_stand_ins(page.lines, tables)
    for line in every if page.styled else _unstyled(list(every)):
        directions.setdefault(line.turned, []).append(line)
    main = max(directions, key=lambda turned: (_characters(directions[turned]), -turned), default=0)
    blocks: list[Block] = []
    for turned in sorted(directions, key=lambda each: (each != main, each)):
        lines = with_initials_joined([turn(line, turned) for line in directions[turned]])
        rows = reading_order(with_bullets_joined(lines))
        found = _blocks(rows, tables)
        if turned != main:  # labels of axes and stamps are set large, and head nothing
            found = [replace(block, kind="paragraph") if block.kind == "heading" else block for block in found]
        blocks += found
    return blocks if page.styled else [replace(block, size=0.0) for block in blocks]


def _with_stand_ins(lines: Sequence[Line], tables: Sequence[Table]) -> Iterator[Line]:
    """The lines of no table, and for each table one in the place of its first: an object replacement character and
    the table's number.
    """
    table_of = {id(line): at for at, table in enumerate(tables) for line in table.lines}
    met: set[int] = set()
    for line in lines:
        at = table_of.get(id(line))
        if at is None:
            yield line
        elif at not in met:
            met.add(at)
            box = tables[at].box
            yield Line([Span(f"{OBJECT}{at}", box, box.y1, line.spans[0].size, "")], box, line.turned)


def _unstyled(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines, all in the size that most of their characters have, and in no font."""
    size = commonest_size((span.size, len(span.text)) for line in lines for span in line.spans)
    for line in lines:
        spans = [replace(span, size=size, bold=False, italic=False, mono=False) for span in line.spans]
        yield replace(line, spans=spans)


def _blocks(rows: Sequence[Row], tables: Sequence[Table]) -> list[Block]:
    size = usual([row for row in rows if row.text[0] != OBJECT])
    blocks: list[Block] = []
    between: list[Row] = []
    for row in rows:
        if row.text[0] != OBJECT:
            between.append(row)
            continue
        blocks += blocks_of(between, size)
        between = []
        table = tables[int(row.text[1:])]
        blocks.append(Block("table", markdown(table), table.box))
    return blocks + blocks_of(between, size)


def _characters(lines: Sequence[Line]) -> int:
    return sum(len(span.text) for line in lines for span in line.spans)
