"""What comes back on page after page is taken away, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest
from drawn import Drawn
from laid_out import pages_of, text_of

from stages.extract.pdf.content import Box, Line, Page, Span
from stages.extract.pdf.furniture import without_furniture
from stages.extract.pdf.linenumbers import line_numbers
from stages.extract.pdf.numerals import page_number


def taken(drawn: Drawn) -> list[list[str]]:
    _, lines = without_furniture(pages_of(drawn))
    return [["".join(span.text for span in line.spans) for line in each] for each in lines]


def book(pages: int, decorate: Callable[[Drawn, int], object]) -> Drawn:
    """Pages of text that differs, decorated."""
    drawn = Drawn()
    for number in range(pages):
        if number:
            drawn.page()
        for line in range(20):
            word = "".join(chr(97 + (number * 7 + line * 3 + i * 5) % 26) for i in range(9))
            drawn.text(72, 120 + 30 * line, f"The {word} of {word[::-1]} was seen there.")
        decorate(drawn, number)
    return drawn


def test_odd_and_even_heads_and_page_numbers_go() -> None:
    heads = ("A Treatise of Mills", "Chapter the First")
    drawn = book(8, lambda page, n: page.text(72, 50, heads[n % 2]).text(290 + n % 2 * 200, 800, str(n + 1)))
    assert taken(drawn) == [[heads[n % 2], str(n + 1)] for n in range(8)]


def test_heads_that_change_with_the_chapter_go_by_their_place() -> None:
    """None is on a quarter of the pages; one that comes once, of a chapter of one page, stands where others stand."""
    names = ("Water", "Weirs", "Wheels", "Stones", "Oak", "Iron")
    chapters = [f"Of {name}" for name in names for _ in range(3)]
    chapters[7] = "Of Axles"
    assert taken(book(18, lambda page, n: page.text(72, 50, chapters[n]))) == [[each] for each in chapters]


def test_a_line_of_text_stays_where_only_the_pages_opposite_have_heads() -> None:
    words = ("oak", "elm", "ash", "slate", "iron", "reed", "lime", "clay", "straw", "sand")
    drawn = book(10, lambda page, n: page.text(72, 50, f"Of mills of {words[n]}" if n % 2 else "A Treatise of Mills"))
    assert taken(drawn) == [[] if n % 2 else ["A Treatise of Mills"] for n in range(10)]


def test_the_titles_of_slides_stay_though_they_come_back() -> None:
    titles = [f"Of {name}" for name in ("Water", "Weirs", "Wheels", "Stones", "Oak", "Iron") for _ in range(3)]
    assert taken(book(18, lambda page, n: page.text(72, 60, titles[n], size=18))) == [[]] * 18


@pytest.mark.parametrize("form", ["{0}", "- {0} -", "Page {0} of 6", "{0} | P a g e", "[{0}]", "{0}/6"])
def test_page_numbers_in_many_forms(form: str) -> None:
    drawn = book(6, lambda page, n: page.text(290, 800, form.format(n + 1)))
    assert taken(drawn) == [[form.format(n + 1)] for n in range(6)]


def test_roman_numbers_before_arabic_ones() -> None:
    numbers = ["i", "ii", "iii", "iv", "1", "2", "3", "4"]
    assert taken(book(8, lambda page, n: page.text(290, 800, numbers[n]))) == [[each] for each in numbers]


@pytest.mark.parametrize(
    "text, number",
    [("7", 7), ("– 12 –", 12), ("xiv", 14), ("IV", 4), ("iiii", None), ("mix", None), ("7a", None), ("", None)],
)
def test_what_is_a_page_number(text: str, number: int | None) -> None:
    assert page_number(text) == number


def test_numbers_that_do_not_count_pages_stay() -> None:
    values = ["17", "4", "902", "33", "81", "6"]
    assert taken(book(6, lambda page, n: page.text(290, 800, values[n]))) == [[]] * 6


def test_records_that_only_their_numbers_tell_apart_stay() -> None:
    def invoice(page: Drawn, n: int) -> None:
        page.text(72, 50, "Mill & Sons").text(72, 64, f"Total due {7919 * n % 997}.50 EUR")

    assert taken(book(6, invoice)) == [["Mill & Sons"]] * 6
    assert taken(book(12, lambda page, n: page.text(72, 60, f"Day {n + 1}", size=18))) == [[]] * 12


def test_a_number_that_counts_pages_may_be_any_of_a_head() -> None:
    heads = [f"Journal of Mills 12 (2019) {345 + n}" for n in range(6)]
    assert taken(book(6, lambda page, n: page.text(72, 50, heads[n]))) == [[head] for head in heads]


def test_two_pages_are_enough_for_what_is_the_same() -> None:
    drawn = book(2, lambda page, n: page.text(72, 50, f"Mill Papers, 1801, page {n + 1}"))
    assert taken(drawn) == [["Mill Papers, 1801, page 1"], ["Mill Papers, 1801, page 2"]]


def test_one_page_has_no_furniture() -> None:
    assert taken(book(1, lambda page, n: page.text(72, 50, "A head").text(290, 800, "1"))) == [[]]


def test_the_title_that_later_heads_repeat_stays() -> None:
    drawn = book(6, lambda page, n: page.text(72, 50, "A Treatise of Mills", size=9 if n else 24))
    assert taken(drawn) == [[]] + [["A Treatise of Mills"]] * 5


def test_text_that_comes_back_in_the_middle_of_pages_stays() -> None:
    drawn = book(6, lambda page, n: page.text(320, 400, "Item Weight Price"))
    assert taken(drawn) == [[]] * 6


def test_a_table_heading_at_the_top_of_every_page_stays() -> None:
    def table(page: Drawn, n: int) -> None:
        for row, name in enumerate(["Item", *(f"{chr(97 + n)}{chr(97 + i)}corn" for i in range(3))]):
            page.text(72, 60 + 13 * row, name).text(200, 60 + 13 * row, f"{'Price' if not row else row * 7 + n}")

    assert taken(book(5, table)) == [[]] * 5


def test_a_stamp_in_the_margin_goes_and_a_single_one_stays() -> None:
    everywhere = book(4, lambda page, n: page.text(20, 600, "Downloaded from the mill on 7 May 1801", rotate=90))
    once = book(4, lambda page, n: page.text(20, 600, "arXiv:1234.5678", rotate=90) if n == 0 else None)
    assert taken(everywhere) == [["Downloaded from the mill on 7 May 1801"]] * 4
    assert taken(once) == [[]] * 4


def test_a_watermark_goes() -> None:
    assert taken(book(5, lambda page, n: page.text(100, 500, "DRAFT", size=80))) == [["DRAFT"]] * 5


def line_numbers_of(drawn: Drawn) -> list[list[str]]:
    pages = pages_of(drawn)
    taken = line_numbers(pages)
    return [["".join(span.text for span in line.spans) for line in page.lines if id(line) in taken] for page in pages]


SENTENCE = "The mill by the brook was built of oak and slate,\nwith stones that the weir had held for a hundred years\n"


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("anew", [True, False])
def test_line_numbers_go(step: int, anew: bool) -> None:
    drawn, expected = Drawn(), list[list[str]]()
    for n in range(3):
        page = drawn.page() if n else drawn
        page.lines(72, 120, SENTENCE * 24, 11)
        first = 1 if anew else 48 * n + 1
        expected.append([])
        for line in range(48):
            if (first + line) % step == 0:
                page.text(40, 120 + 13.2 * line, str(first + line))
                expected[-1].append(str(first + line))
    assert line_numbers_of(drawn) == expected


@pytest.mark.parametrize(
    "row, pitch",
    [
        ("Which of the stones was laid first?", 30),  # questions of one row
        ("The mill by the brook was built of oak\nwith stones that the weir had held.", 30),  # verses
        ("wheel", 13.2),
        ("Stones of slate for the mill by the brook", 13.2),  # titles
    ],
)
def test_numbers_of_what_is_no_line_stay(row: str, pitch: float) -> None:
    drawn = Drawn()
    for n in range(3):
        page = drawn.page() if n else drawn
        for i in range(20):
            page.text(40, 120 + pitch * i, str(n * 20 + i + 1)).lines(72, 120 + pitch * i, row)
    assert line_numbers_of(drawn) == [[]] * 3


def test_twenty_thousand_numbers_are_looked_at_in_time() -> None:
    """Taking time by the square of their number, it took 7 seconds."""
    lines = [
        Line([Span(str(n * n % 99_991), box, y, 1, "")], box)
        for n in range(20_000)
        for y in [n / 25]
        for box in [Box(50, y - 1, 60, y)]
    ]
    start = process_time()
    assert line_numbers([Page(0, 595, 842, lines)] * 2) == set()
    assert process_time() - start < 2


def test_the_text_is_what_is_left() -> None:
    drawn = Drawn()
    for n, part in enumerate(("This sentence goes on", "over the end of its page.")):
        if n:
            drawn.page()
        drawn.text(72, 50, "A Treatise of Mills").text(290, 800, str(n + 1)).text(72, 400, part)
    assert text_of(drawn) == "This sentence goes on over the end of its page."


def test_a_document_that_says_the_same_on_every_page_says_it() -> None:
    page = Drawn()
    for number in range(1, 6):
        page.text(72, 60, f"Label {number} of the mill")
        page = page.page() if number < 5 else page
    assert text_of(page).split() == [word for number in range(1, 6) for word in f"Label {number} of the mill".split()]


def test_a_title_that_comes_back_on_every_page_is_said_once() -> None:
    page = Drawn()
    for number, words in enumerate(("wheel of oak", "stones of slate", "brook and weir"), 1):
        page.text(72, 60, "The mill", 18).lines(72, 200, f"Of the {words}\nthere is nothing more to say.").text(
            290, 820, str(number)
        )
        page = page.page() if number < 3 else page
    text = text_of(page)
    assert text.count("The mill") == 1 and text.startswith("# The mill")
