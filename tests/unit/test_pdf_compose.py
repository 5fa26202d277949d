"""Blocks become one text whose pages can be cut out of it again."""

from __future__ import annotations

from dataclasses import replace

from drawn import Drawn
from hypothesis import given
from hypothesis import strategies as st
from laid_out import composed

from stages.extract.pdf.compose import compose
from stages.extract.pdf.content import Block
from stages.extract.pdf.hyphens import Hyphens

OPEN = Block("paragraph", "The wheel turns", size=10, open_end=True)
REST = Block("paragraph", "by water.", size=10, open_start=True)
NOTE = Block("note", "1 Since the flood.", size=8)
TABLE = Block("table", "| a | b |")
CAPTION = Block("caption", "Figure 1. The wheel.", size=9)


def parts(text: str, ends: list[int]) -> list[str]:
    return [text[start:end] for start, end in zip([0, *ends], ends)]


def test_a_paragraph_goes_on_over_the_end_of_its_page() -> None:
    text, ends = compose([[OPEN], [REST]])
    assert text == "The wheel turns by water."
    assert parts(text, ends) == ["The wheel turns", " by water."]


def test_what_stands_between_goes_to_its_own_page() -> None:
    """A note before the paragraph that leaves its page, a figure of the next page after it."""
    text, ends = compose([[OPEN, NOTE], [CAPTION, TABLE, REST]])
    assert parts(text, ends) == [
        "1 Since the flood.\n\nThe wheel turns",
        " by water.\n\nFigure 1. The wheel.\n\n| a | b |",
    ]


def test_a_paragraph_over_three_pages_is_joined_as_far_as_pages_stay_in_order() -> None:
    middle = replace(REST, text="and grinds", open_end=True)
    assert compose([[OPEN], [middle], [REST]])[0] == "The wheel turns and grinds by water."
    text, ends = compose([[OPEN], [CAPTION, middle], [REST]])
    assert parts(text, ends) == ["The wheel turns", " and grinds\n\nFigure 1. The wheel.", "\n\nby water."]


def test_a_word_broken_by_the_end_of_a_page_is_one() -> None:
    text, ends = compose([[replace(OPEN, text="It is a water-")], [replace(REST, text="wheel.")]])
    assert parts(text, ends) == ["It is a water", "wheel."]
    known = Block("paragraph", "A water-wheel.", size=10)
    text, ends = compose([[known, replace(OPEN, text="It is a water-")], [replace(REST, text="wheel.")]])
    assert parts(text, ends) == ["A water-wheel.\n\nIt is a water-", "wheel."]


def test_what_is_in_another_size_or_begins_a_sentence_after_one_is_no_continuation() -> None:
    closed = replace(OPEN, open_end=False)
    assert compose([[closed], [REST]])[0] == "The wheel turns\n\nby water."
    assert compose([[OPEN], [replace(REST, size=14)]])[0] == "The wheel turns\n\nby water."
    assert compose([[OPEN], [replace(REST, open_start=False)]])[0] == "The wheel turns\n\nby water."


def test_pages_without_text_end_where_the_one_before_ends() -> None:
    assert compose([[], [REST], [], [replace(REST, text=" ")]]) == ("by water.", [0, 9, 9, 9])
    assert compose([]) == ("", [])


def test_a_paragraph_goes_on_in_the_next_column_around_a_figure() -> None:
    page = Drawn()
    page.lines(
        60,
        100,
        "The mill stands where the brook leaves the wood and\nturns a wheel of oak that was hung in the year of the",
    )
    page.text(60, 500, "Figure 1. The wheel, seen from the weir.", size=9)
    page.lines(330, 100, "flood, and it has turned ever since, day\nand night.")
    text, _ = composed(page)
    assert "in the year of the flood, and it has turned" in text
    assert text.endswith("Figure 1. The wheel, seen from the weir.")


WORDS = st.sampled_from(["mill", "wheel-", "Weir", "stone.", "water\u00adfall", "a-", "\u00ad", "水", ""])
BLOCKS = st.builds(
    Block,
    st.sampled_from(["heading", "paragraph", "item", "table", "caption", "note", "code"]),
    st.lists(WORDS, max_size=4).map(" ".join),
    size=st.sampled_from([0.0, 9.0, 10.0]),
    open_start=st.booleans(),
    open_end=st.booleans(),
)


@given(st.lists(st.lists(BLOCKS, max_size=6), max_size=6))
def test_pages_put_together_are_the_text(pages: list[list[Block]]) -> None:
    text, ends = compose(pages)
    assert len(ends) == len(pages)
    assert ends == sorted(ends)
    assert "".join(parts(text, ends)) == text
    for page, part in zip(pages, parts(text, ends)):
        letters = sorted(c for block in page for c in block.text if c.isalnum())
        assert sorted(c for c in part if c.isalnum()) == letters


def test_hyphens_are_resolved_by_the_words_of_the_document() -> None:
    hyphens = Hyphens(["The miller and the well-known water-wheel; a miller. Well known; disease and related."])
    assert hyphens.resolved("mil\u00adler") == "miller"
    assert hyphens.resolved("well\u00adknown") == "well-known"
    assert hyphens.resolved("disease\u00adrelated") == "disease-related"
    assert hyphens.resolved("un\u00adseen") == "unseen"
    assert hyphens.resolved("Anglo\u00adSaxon") == "Anglo-Saxon"
    assert hyphens.resolved("con\u00adsti\u00adtu\u00adtion") == "constitution"


def test_a_megabyte_of_letters_takes_no_time() -> None:
    word = "a" * 1_000_000
    text, _ = compose([[Block("paragraph", f"{word} well\u00adknown {word}-", size=10, open_end=True)], [REST]])
    assert len(text) == 2_000_000 + len(" wellknown by water.")
