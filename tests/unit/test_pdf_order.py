"""Lines come in the order they are read, whatever the order they are drawn in."""

from __future__ import annotations

import random

import pytest
from drawn import Drawn
from laid_out import blocks_of, paragraphs_of, text_of

from stages.extract.pdf.content import Box, Line, Page, Span
from stages.extract.pdf.layout import lay_out
from stages.extract.pdf.order import reading_order

WORDS = (
    "amber",
    "barley",
    "copper",
    "dusk",
    "ember",
    "fennel",
    "garnet",
    "hazel",
    "indigo",
    "juniper",
    "kelp",
    "zinnia",
)


def prose(name: str, lines: int, letters: int = 34) -> list[str]:
    """Lines of about equal length, in one sentence; each word has the column's name, so that order can be told."""
    words = iter(f"{name}{i}{WORDS[i % len(WORDS)]}" for i in range(10_000))
    rows = []
    for _ in range(lines):
        row = next(words)
        while len(row) < letters - 9:
            row += " " + next(words)
        rows.append(row)
    rows[-1] += "."
    return rows


Place = tuple[float, float, str]


def column(name: str, x: float, y: float, lines: int, letters: int = 34) -> list[Place]:
    return [(x, y + 12 * i, row) for i, row in enumerate(prose(name, lines, letters))]


def drawn(places: list[Place]) -> Drawn:
    page = Drawn()
    for x, y, row in places:
        page.text(x, y, row, size=8)
    return page


def words_in_order(text: str, *columns: list[Place]) -> bool:
    wanted = " ".join(row for each in columns for _, _, row in each).split()
    found = [word for word in text.split() if word in set(wanted)]
    return found == wanted


LEFT, MIDDLE, RIGHT = column("l", 40, 100, 20), column("m", 215, 100, 20), column("r", 390, 100, 20)


def across(*columns: list[Place]) -> list[Place]:
    """Drawn line by line across all columns."""
    return sorted((place for each in columns for place in each), key=lambda place: (place[1], place[0]))


def shuffled(*columns: list[Place]) -> list[Place]:
    """Drawn one column after the other, the last one first."""
    return [place for each in reversed(columns) for place in each]


@pytest.mark.parametrize("order", [across, shuffled])
@pytest.mark.parametrize("columns", [(LEFT, RIGHT), (LEFT, MIDDLE, RIGHT)], ids=["two", "three"])
def test_columns_are_read_one_after_the_other(order, columns) -> None:  # type: ignore[no-untyped-def]
    assert words_in_order(text_of(drawn(order(*columns))), *columns)


@pytest.mark.parametrize("order", [across, shuffled])
def test_a_title_over_columns_comes_first_and_what_spans_them_between(order) -> None:  # type: ignore[no-untyped-def]
    title = column("t", 40, 60, 2, 110)
    below = column("b", 40, 370, 3, 110)
    lower_left, lower_right = column("x", 40, 430, 12), column("y", 215, 430, 12)
    columns = (title, LEFT, MIDDLE, below, lower_left, lower_right)
    assert words_in_order(text_of(drawn(order(*columns))), *columns)


def test_columns_that_mupdf_joins_over_a_narrow_gutter_are_parted() -> None:
    left = [(40.0, 100 + 12 * i, f"left{i} words of a line") for i in range(20)]
    right = [(124.5, y, row.replace("left", "right")) for _, y, row in left]
    assert words_in_order(text_of(drawn(across(left, right))), left, right)


def test_cells_of_a_table_stay_in_rows() -> None:
    rows = [
        ("Amsterdam", "north", "421"),
        ("Berlin", "east", "377"),
        ("Chania", "south", "108"),
        ("Dublin", "w", "5"),
    ] * 3
    page = Drawn()
    for i, row in enumerate(rows):
        for x, cell in zip((60, 250, 420), row):
            page.text(x, 100 + 14 * i, cell)
    assert text_of(page).split()[:6] == ["Amsterdam", "north", "421", "Berlin", "east", "377"]


def test_the_stream_wins_where_places_prove_nothing() -> None:
    """A sidebar drawn last, beside the text and no column of it, stays last."""
    text = column("a", 200, 100, 30, 60)
    side = [(40.0, 300.0, "See also"), (40.0, 312.0, "the annex")]
    assert words_in_order(text_of(drawn(text + side)), text, side)


def test_an_order_in_which_sentences_go_on_is_kept() -> None:
    """A caption drawn after the text that it stands above is not put into the sentence that goes on below it."""
    before, after = column("a", 40, 100, 6), column("a2", 40, 300, 6)
    before[-1] = (*before[-1][:2], before[-1][2].rstrip("."))
    caption = [(40.0, 220.0, "Figure 1. The mill beside the weir, seen from the north.")]
    text = text_of(drawn(before + after + caption))
    assert words_in_order(text, before, after, caption)


def test_overlapping_lines_are_all_there() -> None:
    random.seed(4)
    lines = []
    for i in range(300):
        x, y = random.uniform(0, 500), random.uniform(0, 700)
        box = Box(x, y, x + random.uniform(1, 300), y + random.uniform(1, 100))
        lines.append(Line([Span(f"word{i}", box, box.y1, 10, "f")], box))
    found = " ".join(row.text for row in reading_order(lines)).split()
    assert sorted(found) == sorted(f"word{i}" for i in range(300))


def test_a_hundred_thousand_pieces_are_ordered_in_time() -> None:
    lines = []
    for i in range(100_000):
        box = Box(i % 317, i % 211, i % 317 + 40, i % 211 + 10)
        lines.append(Line([Span(f"w{i}", box, box.y1 - 2, 10, "f")], box))
    assert sum(len(row.text.split()) for row in reading_order(lines)) == 100_000


def test_sideways_text_comes_after_the_page_and_in_its_own_order() -> None:
    page = Drawn().text(30, 700, "arXiv 1234.5678v1", size=16, rotate=90)
    page.text(560, 700, "first sideways line", rotate=90).text(575, 700, "second sideways line", rotate=90)
    page.lines(100, 100, "Upright text of the page that is read first,\nas most of the page is upright.")
    assert paragraphs_of(page) == [
        "Upright text of the page that is read first, as most of the page is upright.",
        "arXiv 1234.5678v1",
        "first sideways line second sideways line",
    ]


@pytest.mark.parametrize(
    "rotate, places", [(90, [(100, 700), (113, 700)]), (270, [(500, 100), (487, 100)]), (180, [(500, 700), (500, 687)])]
)
def test_a_page_that_is_all_turned_is_read_like_any_other(rotate: int, places: list[tuple[float, float]]) -> None:
    page = Drawn()
    for (x, y), line in zip(places, ("The first line of a turned page", "is followed by the second.")):
        page.text(x, y, line, rotate=rotate)
    assert text_of(page) == "The first line of a turned page is followed by the second."


def test_vertical_writing_reads_from_right_to_left() -> None:
    def line(x: float, text: str) -> Line:
        box = Box(x, 100, x + 12, 100 + 12 * len(text))
        return Line([Span(text, box, x + 6, 12, "f")], box, 90)

    page = Page(
        0, 595, 842, [line(480, "いつれの御時にか"), line(462, "女御更衣あまたさぶ"), line(444, "らひ給ひける中に")]
    )
    assert [block.text for block in lay_out(page)] == ["いつれの御時にか女御更衣あまたさぶらひ給ひける中に"]


def test_the_label_of_an_axis_is_no_heading() -> None:
    page = Drawn().lines(72, 100, "The rate has fallen since the year\nin which the mill was closed.")
    page.text(60, 500, "Cases per 100,000", 16, "hebo", rotate=90)
    assert [block.kind for block in blocks_of(page)] == ["paragraph", "paragraph"]
