"""Rows become paragraphs, headings, items, captions and notes; lines become words."""

from __future__ import annotations

import pymupdf
import pytest
from drawn import Drawn
from laid_out import blocks_of, paragraphs_of, text_of

from stages.extract.pdf.content import Box, Line, Span
from stages.extract.pdf.paragraphs import paragraphs

BODY = """\
The mill stands where the brook leaves the wood and
turns a wheel of oak that was hung in the year of
the flood, and has turned it ever since."""
FLOWED = BODY.replace("\n", " ")


def kinds(drawn: Drawn) -> list[str]:
    return [block.kind for block in blocks_of(drawn)]


@pytest.mark.parametrize(
    "second, gap",
    [((72, BODY), 30), ((84, "Its stones" + BODY[8:]), 13.2)],
    ids=["white", "indent"],
)
def test_paragraphs_are_parted(second: tuple[float, str], gap: float) -> None:
    x, text = second
    first, *others = text.split("\n")
    page = Drawn().lines(72, 100, BODY).text(x, 100 + 26.4 + gap, first)
    page.lines(72, 100 + 26.4 + gap + 13.2, "\n".join(others))
    assert paragraphs_of(page) == [FLOWED, text.replace("\n", " ")]


def test_a_line_that_ends_early_ends_its_paragraph() -> None:
    page = Drawn().lines(
        72,
        100,
        "A line that goes on to the edge of the column,\nwhere it ends.\nAnother begins and is set solid.",
    )
    assert len(paragraphs_of(page)) == 2


def test_the_indented_lines_of_a_reference_are_one() -> None:
    page = Drawn()
    for i, name in enumerate(
        ("Adams, J. (1801). On the grinding of corn,", "Brown, K. (1822). On the wheels of mills")
    ):
        page.text(72, 100 + 26.4 * i, name).text(90, 113.2 + 26.4 * i, "with plates, and on the keeping of weirs.")
    assert [text[:5] for text in paragraphs_of(page)] == ["Adams", "Brown"]


def test_large_and_bold_lines_are_headings_by_rank() -> None:
    page = Drawn().text(72, 80, "A Treatise of Mills", size=22).text(72, 120, "Of water", size=16)
    page.lines(72, 150, BODY).text(72, 210, "Of weirs", font="hebo").lines(72, 230, BODY)
    assert paragraphs_of(page) == ["# A Treatise of Mills", "## Of water", FLOWED, "### Of weirs", FLOWED]


def test_the_end_of_a_paragraph_above_many_small_notes_is_no_heading() -> None:
    drawn = Drawn().text(72, 100, "and so the outer basin was measured again, and the vote put off", size=10)
    drawn.text(72, 114, "until the engineers of the harbour had spoken.", size=10)
    for note in range(20):
        drawn.text(
            72,
            200 + 11 * note,
            f"Of the harbours of the north, and of their engineers, see volume {note} of it.",
            size=8,
        )
    assert kinds(drawn)[0] == "paragraph"


def test_lists_keep_their_items_apart_and_their_numbers() -> None:
    page = Drawn().lines(72, 100, "\u2022 the wheel, which turns by water and drives\n   the stones\n\u2022 the stones")
    page.lines(72, 160, "1. Lift the gate.\n2. Wait.")
    assert paragraphs_of(page) == [
        "- the wheel, which turns by water and drives the stones",
        "- the stones",
        "1. Lift the gate.",
        "2. Wait.",
    ]


def test_text_at_the_margin_after_a_list_is_no_part_of_its_last_item() -> None:
    page = Drawn().lines(90, 100, "\u2022 oak\n\u2022 elm\n\u2022 ash").text(72, 139.6, "Other woods swell in water")
    assert paragraphs_of(page) == ["- oak", "- elm", "- ash", "Other woods swell in water"]


def test_a_list_that_is_set_in_begins_after_the_text_above_it() -> None:
    page = Drawn().text(72, 100, "Three woods are in use:").lines(90, 113.2, "1) oak\n2) elm\n3) ash")
    assert paragraphs_of(page) == ["Three woods are in use:", "1) oak", "2) elm", "3) ash"]


def test_lettered_questions_below_a_numbered_one_are_items() -> None:
    page = (
        Drawn()
        .lines(72, 100, "15. A ball is thrown.")
        .lines(90, 113.2, "a. How high does it rise?\nb. When does it land?")
    )
    assert paragraphs_of(page) == ["15. A ball is thrown.", "a. How high does it rise?", "b. When does it land?"]


def test_labels_that_end_at_one_place_are_no_column_where_the_next_line_goes_beyond() -> None:
    notes = [
        "The wheel is of oak.",
        "The race is of stone, and is dry in summer.",
        "The brook was led to it in the year of the great flood, by a ditch.",
    ]
    page = Drawn().lines(72, 100, "\n".join(f"Mill\n{note}" for note in notes))
    assert paragraphs_of(page) == [part for note in notes for part in ("Mill", note)]


def test_bullets_drawn_after_the_text_begin_their_items() -> None:
    page = Drawn().text(90, 100, "the wheel").text(90, 114, "the stones")
    page.text(72, 100, "\u2022").text(72, 114, "\u2022")
    assert paragraphs_of(page) == ["- the wheel", "- the stones"]


def test_lines_of_a_table_of_contents_stay_lines() -> None:
    page = Drawn().lines(72, 100, f"1 Of water {'. ' * 30}7\n2 Of weirs {'.' * 40} 12")
    assert paragraphs_of(page) == ["1 Of water ... 7", "2 Of weirs ... 12"]


def test_a_caption_and_a_note_are_told_from_text() -> None:
    page = Drawn().lines(72, 100, BODY).text(72, 200, "Figure 3. The wheel.", size=9)
    page.text(72, 700, "1 Measured at the weir.", size=8)
    assert kinds(page) == ["paragraph", "caption", "note"]


def test_code_keeps_its_lines() -> None:
    page = Drawn().lines(72, 60, BODY).lines(72, 100, "for each in wheels:\nturn(each)", font="cour")
    assert paragraphs_of(page)[1] == "for each in wheels:\nturn(each)"


def test_an_initial_joins_its_word_and_its_lines_stay_together() -> None:
    page = Drawn().text(72, 126, "T", size=36)
    page.lines(97, 100, "he mill stands where the brook\nMeadows leave the wood and\nturns a wheel of oak")
    page.lines(72, 139.6, "Oak was hung in the year of the flood,\nand has turned ever since.")
    assert text_of(page).startswith(
        "The mill stands where the brook Meadows leave the wood and turns a wheel of oak Oak was hung"
    )


@pytest.mark.parametrize(
    "first, second, wanted",
    [
        ("It was built by the mil-", "ler himself.", "It was built by the miller himself."),
        ("It was a well-", "known mill.", "It was a well-known mill."),
        ("It is seen at pages 12-", "14 of the book.", "It is seen at pages 12-14 of the book."),
        ("It is called Water-", "Mill by all.", "It is called Water-Mill by all."),
        ("It lies near the brook -", "and the wood.", "It lies near the brook - and the wood."),
    ],
    ids=["syllable", "compound", "numbers", "capital", "dash"],
)
def test_hyphens_at_the_ends_of_lines(first: str, second: str, wanted: str) -> None:
    page = Drawn().lines(72, 60, "He was well-known here.").lines(72, 100, f"{first}\n{second}")
    assert paragraphs_of(page)[-1] == wanted


@pytest.mark.parametrize(
    "before, mark, after, wanted",
    [
        ("10", "-3", " metres", "10\u207b\u00b3 metres"),
        ("as was shown.", "12", "", "as was shown.\u00b9\u00b2"),
        ("24 m", "2", " of floor", "24 m\u00b2 of floor"),
        ("Miller", "a,b", "", "Miller^a,b"),
        ("the 1", "st", " wheel", "the 1st wheel"),
    ],
)
def test_superscripts_are_not_taken_for_the_line(before: str, mark: str, after: str, wanted: str) -> None:
    page, x = Drawn(), 72.0
    for text, y, size in ((before, 100, 11), (mark, 96, 7), (after, 100, 11)):
        page.text(x, y, text, size=size)
        x += pymupdf.get_text_length(text, fontsize=size)
    assert text_of(page) == wanted


@pytest.mark.parametrize(
    "font, first, second, wanted",
    [
        ("japan", "これは水車小屋の", "話である。", "これは水車小屋の話である。"),
        ("china-s", "这是一座水磨坊", "的故事。", "这是一座水磨坊的故事。"),
        ("china-s", "水磨坊 Mill", "House 的故事", "水磨坊 Mill House 的故事"),
    ],
)
def test_lines_of_scripts_without_spaces_join_without(font: str, first: str, second: str, wanted: str) -> None:
    assert text_of(Drawn().lines(72, 100, f"{first}\n{second}", font=font)) == wanted


def test_a_label_in_a_script_without_spaces_stands_alone() -> None:
    label, text = "注意", "水車小屋は小川が森を出る所にあり樫の水車を回し続けている"
    page = Drawn().lines(72, 100, f"{label}\n{text}", font="japan")
    assert paragraphs_of(page) == [label, text]


def test_hangul_joins_with_a_space() -> None:
    assert (
        text_of(Drawn().lines(72, 100, "물레방아는 강가에 있고\n오래되었다.", font="korea"))
        == "물레방아는 강가에 있고 오래되었다."
    )


def test_letter_spaced_words_are_words() -> None:
    page, x = Drawn(), 72.0
    for letter in "WATER MILL":
        page.text(x, 100, letter)
        x += pymupdf.get_text_length(letter, fontsize=11) + 3
    assert text_of(page).removeprefix("# ") == "WATER MILL"


def test_text_drawn_twice_to_look_bold_is_there_once() -> None:
    page = Drawn()
    for shift in (0, 0.3, 0.6):
        page.lines(72 + shift, 100, "Drawn thrice to look bold\nand so is this line")
    assert text_of(page).removeprefix("# ") == "Drawn thrice to look bold and so is this line"


def test_doubled_letters_and_repeated_words_are_no_fake_bold() -> None:
    page, x = Drawn(), 72.0
    for letter in "ill fill":
        page.text(x, 100, letter, size=5)
        x += {"i": 1.11, "l": 1.11, "f": 1.39, " ": 1.39}[letter]
    page.lines(72, 200, "again\nagain")
    assert text_of(page).split() == ["ill", "fill", "again", "again"]


def test_right_to_left_pieces_are_put_in_order() -> None:
    from stages.extract.pdf.content import Box, Line, Span
    from stages.extract.pdf.paragraphs import paragraphs

    def piece(x0: float, x1: float, y: float, text: str) -> Line:
        box = Box(x0, y - 10, x1, y + 3)
        return Line([Span(text, box, y, 11, "f")], box)

    lines = [piece(300, 400, 100, "הטחנה עומדת"), piece(200, 297, 100, "על הנחל"), piece(250, 400, 113, "ליד היער.")]
    assert [block.text for block in paragraphs(lines)] == ["הטחנה עומדת על הנחל ליד היער."]
    assert [block.text for block in paragraphs([lines[1], lines[0], lines[2]])] == ["הטחנה עומדת על הנחל ליד היער."]


def test_lines_that_share_an_edge_are_full_though_wider_ones_stand_above() -> None:
    """A column under an abstract of the page's width, its lines justified and their first words in capitals."""
    wide = ["The abstract goes over the whole page and says all that the article will say once", "more."]
    column = ["Of the mills that stood on the", "Aire in 1820 no more than two", "Wheels are left. Both are of"]
    column.append("Oak, and neither turns.")
    rows = [(text, 540.0) for text in wide[:1]] + [(wide[1], 110.0)]
    rows += [(text, 291.0) for text in column[:3]] + [(column[3], 200.0)]
    lines = []
    for number, (text, x1) in enumerate(rows):
        box = Box(72.0, 100.0 + 14 * number, x1, 112.0 + 14 * number)
        lines.append(Line([Span(text, box, box.y1 - 3, 12.0, "Times")], box))
    assert [block.text for block in paragraphs(lines)] == [" ".join(wide), " ".join(column)]


def test_a_word_broken_at_the_end_of_a_bold_line_goes_on_in_the_next() -> None:
    page = Drawn().text(72, 100, "Satisfaction with the outcomes of the project, by coun-", font="hebo")
    page.text(72, 113, "try groups", font="hebo").text(130, 113, "(percentages of those who answered)")
    assert paragraphs_of(page) == [
        "Satisfaction with the outcomes of the project, by country groups (percentages of those who answered)"
    ]


def test_an_item_goes_on_below_its_text_also_with_a_capital() -> None:
    page = Drawn().text(72, 100, "\u2022").text(84, 100, "The award of the year went to Mary Sue Deffily and the")
    page.text(84, 113.2, "Search Program Team").text(72, 126.4, "\u2022").text(84, 126.4, "The finalist was Jessica")
    assert paragraphs_of(page) == [
        "- The award of the year went to Mary Sue Deffily and the Search Program Team",
        "- The finalist was Jessica",
    ]


def test_rows_of_words_with_a_gap_in_common_stay_rows() -> None:
    rows = [("Wheel", "oak", "made by Brown"), ("Stones", "slate", "cut by Smith"), ("Axle", "iron", "forged by Jones")]
    page = Drawn().lines(72, 100, BODY)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            page.text(72 + 90 * column, 160 + 13.2 * number, cell)
    page.lines(72, 220, BODY)
    assert paragraphs_of(page) == [FLOWED, "\n".join(map(" ".join, rows)), FLOWED]


def test_items_with_a_gap_behind_their_number_are_items() -> None:
    page = Drawn()
    for number, wood in enumerate(("oak", "elm", "ash"), 1):
        page.text(72, 100 + 13.2 * number, f"{number}.").text(106, 100 + 13.2 * number, wood)
    assert paragraphs_of(page) == ["1. oak", "2. elm", "3. ash"]


def test_two_lines_with_a_gap_are_a_paragraph() -> None:
    page = Drawn().text(72, 100, "The mill").text(150, 100, "stands where the brook leaves")
    page.text(72, 113.2, "the wood,").text(150, 113.2, "and turns a wheel of oak.")
    assert paragraphs_of(page) == ["The mill stands where the brook leaves the wood, and turns a wheel of oak."]
