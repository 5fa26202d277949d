"""Tables: each form on a page drawn for it, what only looks like one, and that no character is ever lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pymupdf
import pytest
from drawn import Drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.extract.pdf.content import Box, Line, Page, Ruling, Span, Table
from stages.extract.pdf.grids import find_grids
from stages.extract.pdf.reading import read_page
from stages.extract.pdf.rulings import MAX_PATHS, rulings
from stages.extract.pdf.tables import find_tables, markdown

ROWS = [["Country", "Cases", "Share"], ["Austria", "12", "3.5"], ["Belgium", "7", "2.0"], ["Cyprus", "110", "31.9"]]
XS, TOP, HEIGHT = [60, 180, 260, 340], 100, 20
PROSE = [f"word{chr(97 + n)}" for n in range(22)]


def found(drawn: Drawn) -> tuple[Page, list[Table]]:
    """The first page and its tables; fails where a visible character is lost or doubled on the way."""
    document = drawn.document()
    page = read_page(document[0], 0)
    before = characters(page.lines)
    tables = find_tables(document[0], page)
    taken = {id(line) for table in tables for line in table.lines}
    after = characters([line for line in page.lines if id(line) not in taken])
    assert after + sum((Counter("".join(map("".join, t.rows)).replace(" ", "")) for t in tables), Counter()) == before
    return page, tables


def characters(lines: list[Line]) -> Counter[str]:
    return Counter("".join(span.text for line in lines for span in line.spans).replace(" ", ""))


def cells(drawn: Drawn, rows: list[list[str]] = ROWS, xs: list[float] | None = None) -> Drawn:
    for r, row in enumerate(rows):
        for x, text in zip(xs or XS, row, strict=False):
            drawn.text(x + 4, TOP + HEIGHT * r + 14, text, 10)
    return drawn


def grid(drawn: Drawn, rows: int = 4) -> Drawn:
    for r in range(rows + 1):
        drawn.rule(XS[0], TOP + HEIGHT * r, XS[-1], TOP + HEIGHT * r)
    for x in XS:
        drawn.rule(x, TOP, x, TOP + HEIGHT * rows)
    return drawn


def boxes(drawn: Drawn) -> Drawn:
    """Every cell filled, with white between."""
    for r in range(4):
        for left, right in pairwise(XS):
            drawn.filled(left + 1, TOP + HEIGHT * r + 1, right - 1, TOP + HEIGHT * (r + 1) - 1)
    return drawn


def stripes(drawn: Drawn) -> Drawn:
    """Every other row filled."""
    for r in (0, 2):
        drawn.filled(XS[0], TOP + HEIGHT * r, XS[-1], TOP + HEIGHT * (r + 1))
    return drawn


def booktabs(drawn: Drawn) -> Drawn:
    for r in (0, 1, 4):
        drawn.rule(XS[0], TOP + HEIGHT * r, XS[-1], TOP + HEIGHT * r)
    return drawn


def open_sides(drawn: Drawn) -> Drawn:
    for r in range(5):
        drawn.rule(XS[0], TOP + HEIGHT * r, XS[-1], TOP + HEIGHT * r)
    for x in XS[1:-1]:
        drawn.rule(x, TOP, x, TOP + HEIGHT * 4)
    return drawn


def dotted(drawn: Drawn) -> Drawn:
    """Lines of small squares, as word processors print dotted borders."""
    for r in range(5):
        for x in range(XS[0], XS[-1], 3):
            drawn.filled(x, TOP + HEIGHT * r, x + 1, TOP + HEIGHT * r + 1, 0)
    for left in XS:
        drawn.rule(left, TOP, left, TOP + HEIGHT * 4)
    return drawn


@pytest.mark.parametrize("draw", [grid, boxes, stripes, booktabs, open_sides, dotted])
def test_a_ruled_table_is_found_however_its_lines_are_drawn(draw: Callable[[Drawn], Drawn]) -> None:
    page, tables = found(cells(draw(Drawn().text(60, 60, "A sentence stands above the table."))))
    assert [table.rows for table in tables] == [ROWS]
    assert tables[0].ruled
    assert len(page.lines) - len(tables[0].lines) == 1


def test_columns_of_numbers_without_lines_are_rows() -> None:
    _, tables = found(cells(Drawn()))
    assert [(table.rows, table.ruled) for table in tables] == [(ROWS, False)]
    assert markdown(tables[0]).splitlines()[:2] == ["Country | Cases | Share", "Austria | 12 | 3.5"]


def test_a_page_on_its_side_has_its_tables() -> None:
    document = cells(grid(Drawn())).document()
    document[0].set_rotation(90)
    page = read_page(document[0], 0)
    assert [table.rows for table in find_tables(document[0], page)] == [ROWS]


def test_a_table_written_sideways_on_an_upright_page_is_read_from_its_own_top() -> None:
    drawn = Drawn()
    for r, row in enumerate(ROWS):
        for x, text in zip(XS, row, strict=False):  # upwards: what was right is up
            drawn.text(100 + HEIGHT * r + 14, 700 - x - 4, text, 10, rotate=90)
    for r in range(5):
        drawn.rule(100 + HEIGHT * r, 700 - XS[0], 100 + HEIGHT * r, 700 - XS[-1])
    for x in XS:
        drawn.rule(100, 700 - x, 100 + HEIGHT * 4, 700 - x)
    assert [table.rows for table in found(drawn)[1]] == [ROWS]


def test_a_cell_over_several_columns_says_its_text_once() -> None:
    drawn = Drawn()
    for r in range(4):
        drawn.rule(XS[0], TOP + HEIGHT * r, XS[-1], TOP + HEIGHT * r)
    drawn.rule(XS[0], TOP, XS[0], TOP + 60).rule(XS[-1], TOP, XS[-1], TOP + 60).rule(XS[1], TOP, XS[1], TOP + 60)
    drawn.rule(XS[2], TOP + HEIGHT, XS[2], TOP + 60)
    drawn.text(210, TOP + 14, "Both sexes", 10)
    _, tables = found(cells(drawn, [["Age"], ["20-29", "12", "13"], ["30-39", "7", "8"]]))
    assert tables[0].rows == [["Age", "Both sexes", ""], ["20-29", "12", "13"], ["30-39", "7", "8"]]


def test_a_cell_over_several_rows_says_its_text_once() -> None:
    drawn = Drawn()
    for y, start in ((0, 0), (1, 1), (2, 0), (3, 1), (4, 0)):
        drawn.rule(XS[start], TOP + HEIGHT * y, XS[-1], TOP + HEIGHT * y)
    for x in XS:
        drawn.rule(x, TOP, x, TOP + 80)
    drawn.text(64, TOP + 24, "North", 10).text(64, TOP + 64, "South", 10)
    _, tables = found(cells(drawn, [["", str(r), str(r * 7)] for r in range(1, 5)]))
    assert tables[0].rows == [["North", "1", "7"], ["", "2", "14"], ["South", "3", "21"], ["", "4", "28"]]


def test_lines_of_a_cell_are_one_cell_and_rows_that_no_line_parts_are_rows() -> None:
    drawn = Drawn()
    for y in (0, 40, 140):
        drawn.rule(XS[0], TOP + y, XS[-1], TOP + y)
    for x in XS:
        drawn.rule(x, TOP, x, TOP + 140)
    for x, text in zip(XS, ("Country\nof origin", "Cases", "Share of\nall"), strict=False):
        drawn.lines(x + 4, TOP + 14, text, 10)
    for r in range(5):
        for x, text in zip(XS, (f"Land {r}", f"{r}2", f"{r}.5"), strict=False):
            drawn.text(x + 4, TOP + 54 + 18 * r, text, 10)
    rows = found(drawn)[1][0].rows
    assert rows[0] == ["Country of origin", "Cases", "Share of all"]
    assert rows[1:] == [[f"Land {r}", f"{r}2", f"{r}.5"] for r in range(5)]


def test_a_line_that_sticks_out_of_a_table_is_split() -> None:
    drawn = cells(grid(Drawn())).text(300, TOP + 34, "3.5x and a remark beside it", 10)
    page, tables = found(drawn)
    assert tables[0].rows[1][0] == "Austria"
    taken = {id(line) for line in tables[0].lines}
    outside = [" ".join(s.text for s in line.spans) for line in page.lines if id(line) not in taken]
    assert outside and all("remark" in text or "beside" in text for text in outside)


def test_two_tables_on_a_page_stay_two_and_a_caption_stays_text() -> None:
    drawn = cells(booktabs(Drawn().rule(XS[0], 70, XS[-1], 70).text(60, 90, "Table 1. Cases by country", 10)))
    for r in range(4):
        drawn.rule(60, 400 + 20 * r, 340, 400 + 20 * r)
        if r < 3:
            drawn.text(64, 414 + 20 * r, f"row {r}", 10).text(204, 414 + 20 * r, str(r), 10)
    drawn.rule(60, 400, 60, 460).rule(200, 400, 200, 460).rule(340, 400, 340, 460)
    _, tables = found(drawn)
    assert [table.rows for table in tables] == [ROWS, [[f"row {r}", str(r)] for r in range(3)]]


def two_columns(drawn: Drawn) -> Drawn:
    for n in range(30):
        drawn.text(50, 100 + 14 * n, " ".join(PROSE[(n + k) % 20] for k in range(9)), 10)
        drawn.text(310, 100 + 14 * n, " ".join(PROSE[(n + k + 5) % 20] for k in range(9)), 10)
    return drawn


def framed(drawn: Drawn) -> Drawn:
    for box in ((40, 80, 300, 540), (300, 80, 560, 540)):
        x0, y0, x1, y1 = box
        drawn.rule(x0, y0, x1, y0).rule(x0, y1, x1, y1).rule(x0, y0, x0, y1).rule(x1, y0, x1, y1)
    return drawn


def chart(drawn: Drawn) -> Drawn:
    for n in range(6):
        drawn.rule(100, 100 + 40 * n, 500, 100 + 40 * n).text(80, 104 + 40 * n, str(50 - 10 * n), 8)
        drawn.text(120 + 70 * n, 312, str(2000 + n), 8)
    return drawn.rule(100, 100, 100, 300)


def contents(drawn: Drawn) -> Drawn:
    for n in range(12):
        drawn.text(60, 100 + 16 * n, f"{n} A chapter " + ". " * 40, 10).text(500, 100 + 16 * n, str(n * 9), 10)
    return drawn.rule(60, 80, 520, 80).rule(60, 300, 520, 300)


def code(drawn: Drawn) -> Drawn:
    for n in range(6):
        drawn.text(70, 120 + 14 * n, f"{n}  name_{n} =    {n * 7}", 10, "cour")
    return drawn.filled(60, 100, 500, 210, 0.95)


def references(drawn: Drawn) -> Drawn:
    for n in range(20):
        drawn.text(60, 100 + 14 * n, f"[{n}]", 10).text(90, 100 + 14 * n, " ".join(PROSE[:12]), 10)
    return drawn


@pytest.mark.parametrize(
    "draw",
    [two_columns, lambda d: framed(two_columns(d)), chart, contents, code, references, lambda d: d.text(60, 60, "x")],
    ids=["columns", "framed columns", "chart", "contents", "code", "references", "one word"],
)
def test_what_only_looks_like_a_table_is_none(draw: Callable[[Drawn], Drawn]) -> None:
    assert found(draw(Drawn()))[1] == []


def test_markdown_escapes_and_keeps_to_a_line() -> None:
    table = Table(Box(0, 0, 1, 1), [["a|b", "c\nd"], ["", "e"]], [])
    assert markdown(table) == "| a\\|b | c d |\n| --- | --- |\n|  | e |"


def test_a_plot_of_many_paths_is_passed_by() -> None:
    document = pymupdf.open()
    page = document.new_page()
    page.insert_text((10, 10), "x")
    paths = "".join(f"{n % 500} 10 m {n % 500} 100 l S\n" for n in range(MAX_PATHS + 1))
    document.update_stream(page.get_contents()[0], paths.encode())
    assert rulings(page) == []


def test_lines_without_end_or_number_draw_nothing() -> None:
    document = pymupdf.open()
    page = document.new_page(width=200, height=200)
    page.insert_text((10, 10), "x")
    huge = f"{'9' * 40} 0 m -{'9' * 40} 0 l S 50 50 m 1e999 50 l S 20 30 m 180 30 l S 20 60 m 180 60 l S"
    document.update_stream(page.get_contents()[0], huge.encode())
    assert all(0 <= value <= 200 for ruling in rulings(page) for value in ruling.box)


def test_a_raster_of_lines_is_answered_at_once() -> None:
    lines = [Ruling(Box(0, n / 10, 600, n / 10)) for n in range(0, 10_000, 10)]
    lines += [Ruling(Box(n / 10, 0, n / 10, 1000)) for n in range(0, 10_000, 10)]
    start = time.process_time()
    find_grids(lines)
    assert time.process_time() - start < 5


def test_frames_within_frames_around_thousands_of_words_are_answered_soon() -> None:
    lines = []
    for n in range(4_900):
        box = Box(300, n / 10, 400, n / 10 + 8)
        lines.append(Line([Span("12 13 abc", box, box.y1, 8, "f")], box))
    drawn = [Ruling(Box(n / 10, y, 600 - n / 10, y)) for n in range(0, 1_980, 2) for y in (n / 10, 800 - n / 10)]
    start = time.process_time()
    find_tables(None, Page(0, 600, 900, lines, [], drawn))
    assert time.process_time() - start < 10


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """Cells, with or without lines around them, some missing, some too long; and words and lines anywhere between."""
    places = [
        (60.0 + 90 * c, 100.0 + 20 * r) for r in range(draw(st.integers(2, 6))) for c in range(draw(st.integers(2, 5)))
    ]
    anywhere = st.tuples(st.integers(-5, 60), st.integers(-5, 60)).map(lambda at: (at[0] * 10.0, at[1] * 10.0))
    places += draw(st.lists(anywhere, max_size=6))
    lines = []
    for x, y in places:
        text = draw(
            st.sampled_from(["", "12", "7 13", "a  b", "x y z", "…", "٣ ٤", "words that run on and on over it"])
        )
        box = Box(x, y, x + max(1, len(text)) * draw(st.sampled_from([5, 5, 5, 0, 20])), y + 10)
        turned = draw(st.sampled_from([0] * 12 + [90, 37]))
        lines += [Line([Span(text, box, y + 8, 10, "f")], box, turned)] if text else []
    drawn = [Ruling(Box(55, y, 510, y)) for y in range(95, 240, 20)] if draw(st.booleans()) else []
    drawn += [Ruling(Box(x, 95, x, 215)) for x in range(55, 520, 90)] if draw(st.booleans()) else []
    gone = draw(st.sets(st.integers(0, len(drawn)), max_size=4))
    drawn += [Ruling(Box(x, y, x + 200, y)) for x, y in draw(st.lists(anywhere, max_size=4))]
    return Page(0, 600, 600, lines, [], [ruling for at, ruling in enumerate(drawn) if at not in gone])


@settings(max_examples=300, deadline=None)
@given(pages())
def test_every_character_is_in_one_place_afterwards(page: Page) -> None:
    before = characters(page.lines)
    tables = find_tables(None, page)
    taken = [id(line) for table in tables for line in table.lines]
    assert len(taken) == len(set(taken))
    assert {id(line) for line in page.lines} >= set(taken)
    rest = characters([line for line in page.lines if id(line) not in set(taken)])
    assert rest + Counter("".join("".join(map("".join, t.rows)) for t in tables).replace(" ", "")) == before


def test_spans_that_touch_are_one_word_unless_a_space_is_drawn_between_them() -> None:
    """`execute` in one font, a space at its end, `command` in another right behind it; `10` and its footnote mark."""
    drawn = Drawn()
    for y in (100, 120, 140):
        drawn.rule(100, y, 300, y)
    for x in (100, 200, 300):
        drawn.rule(x, 100, x, 140)
    drawn.text(104, 114, "execute ", 10, "cour").text(104 + 8 * 6, 114, "it", 10, "cobo").text(204, 114, "10", 10)
    drawn.text(204 + pymupdf.get_text_length("10", fontsize=10), 111, "a", 6)
    drawn.text(104, 134, "leave", 10, "cour").text(204, 134, "20", 10)
    _, (table,) = found(drawn)
    assert table.rows == [["execute it", "10a"], ["leave", "20"]]
