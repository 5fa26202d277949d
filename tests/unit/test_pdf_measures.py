"""The bench's measures of PDF text: each must feel the fault that it is there for, and no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

pytest.importorskip("rapidfuzz", reason="the bench's measures are not installed: pip install 'crawlmill[test]'")

import pdf_checks
import pdf_furniture
import pdf_prose
import pdf_tables
import pymupdf
from pdf_across import across
from pdf_truth import Cell, Document

PARAGRAPHS = [
    "The first paragraph tells of rivers that run down from the hills into the plain.",
    "A second one has quite other words, since nobody wants to read the same things twice.",
    "Last of all comes a third, which ends what was begun without adding anything new to it.",
]
LEFT, RIGHT = ([f"{side} line {word} of {side}" for word in "abcdefghij"] for side in ("left", "right"))


def line(side: str, number: int, page: int) -> str:
    """Seven words that stand nowhere else."""
    return " ".join(f"{word}{side}{number}p{page}" for word in ["up", "the", "hill", "and", "down", "to", "rest"])


def test_the_truth_itself_is_perfect() -> None:
    assert pdf_prose.measure(PARAGRAPHS, "\n".join(PARAGRAPHS)) == pdf_prose.Prose(1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    "text, worse",
    [
        ("\n".join(PARAGRAPHS[:2]), {"found", "located", "similarity"}),
        ("\n".join([PARAGRAPHS[1], PARAGRAPHS[0], PARAGRAPHS[2]]), {"order", "next", "similarity"}),
        ("\n".join(PARAGRAPHS).replace("nobody", "no-\nbody"), {"found", "similarity"}),
        ("\n".join(PARAGRAPHS).replace("quite", "Fig. 1: what a figure says. Quite"), {"found", "similarity"}),
    ],
    ids=["lost", "moved", "hyphen", "figure"],
)
def test_a_fault_of_prose_is_felt(text: str, worse: set[str]) -> None:
    measured = vars(pdf_prose.measure(PARAGRAPHS, text))
    assert {name for name, value in measured.items() if value < 1} == worse


def test_columns_read_across_are_not_whole() -> None:
    truth = [" ".join(LEFT), " ".join(RIGHT)]
    across = "\n".join(f"{left}   {right}" for left, right in zip(LEFT, RIGHT))
    measured = pdf_prose.measure(truth, across)
    assert (measured.located, measured.whole) == (1, 0)
    assert pdf_prose.losses(truth, across).mixed == truth


@pytest.mark.parametrize(
    "one, other",
    [("ﬁnd", "find"), ("used.<sup>4</sup> Then", "used.4 then"), ("_in vitro_", "in vitro"), ("日本\n語", "日本語")],
)
def test_what_is_written_differently_is_the_same_words(one: str, other: str) -> None:
    assert pdf_prose.words(one) == pdf_prose.words(other)


def test_losses_are_pieces_of_the_truth() -> None:
    moved = "\n".join([PARAGRAPHS[2], PARAGRAPHS[0], PARAGRAPHS[1].replace("words", "w o r d s")])
    assert pdf_prose.losses(PARAGRAPHS, moved) == pdf_prose.Losses(
        ["quite other words since nobody"], [], [PARAGRAPHS[2]], []
    )


HEADED = [
    Cell("Country", (0, 0), (0, 0)),
    Cell("Cars (%)", (0, 0), (1, 2)),
    Cell("Malta", (1, 1), (0, 0)),
    Cell("1.5", (1, 1), (1, 1)),
    Cell("–", (1, 1), (2, 2)),
]


def test_neighbours_are_those_of_the_competition() -> None:
    assert set(pdf_tables.neighbours(HEADED)) == {
        ("country", "cars ( % )", "right"),
        ("malta", "1 . 5", "right"),
        ("1 . 5", "-", "right"),
        ("country", "malta", "below"),
        ("cars ( % )", "1 . 5", "below"),
        ("cars ( % )", "-", "below"),
    }


@pytest.mark.parametrize(
    "text, cells, follows, row, grid",
    [
        ("Country Cars (%)\nMalta 1.5 −", 1, 1, 1, 0),
        ("Country\nCars (%)\nMalta\n1.5\n–", 1, 1, 0, 0),
        ("Country\nMalta\nCars (%)\n1.5\n–", 1, 1 / 3, 0, 0),
        ("Country\tCars\nMalta\t1.5", 3 / 5, 1 / 3, 1 / 3, 0),
        ("|**Country**|Cars (%)||\n|---|---|---|\n|Malta|1.5|–|", 1, 1, 1, 10 / 11),  # one cell spans: has no sign
        ("", 0, 0, 0, 0),
    ],
    ids=["rows", "a cell a line", "by column", "incomplete", "markdown", "nothing"],
)
def test_tables(text: str, cells: float, follows: float, row: float, grid: float) -> None:
    assert pdf_tables.measure([HEADED], text) == pdf_tables.Tables(cells, follows, row, pytest.approx(grid))


@pytest.mark.parametrize(
    "test, text, passed",
    [
        ({"type": "present", "text": "the “end”"}, 'Here is *the* "end".', True),
        ({"type": "present", "text": "the end"}, "the ends meet in th", True),
        ({"type": "present", "text": "the end", "max_diffs": 2}, "th e nd of it", True),
        ({"type": "present", "text": "The end"}, "the end", False),
        ({"type": "present", "text": "a b"}, " ", False),
        ({"type": "absent", "text": "199", "last_n": 20}, "199 begins what is long enough to go on", True),
        ({"type": "absent", "text": "199", "last_n": 20}, "it is long enough to end on 199", False),
        ({"type": "order", "before": "one", "after": "two"}, "two one two", True),
        ({"type": "order", "before": "one", "after": "two"}, "two one", False),
        ({"type": "order", "before": "one", "after": "two"}, "two", False),
        ({"type": "table", "cell": "2", "left": "1", "top_heading": "B"}, "|A|B|\n|-|-|\n|1|2|", True),
        ({"type": "table", "cell": "2", "right": "1"}, "|A|B|\n|-|-|\n|1|2|", False),
        ({"type": "table", "cell": "2", "up": "A"}, "|A|B|\n|-|-|\n|1|2|", False),
    ],
)
def test_facts(test: dict[str, object], text: str, passed: bool) -> None:
    assert pdf_checks.passes(test, text) is passed


@pytest.fixture(scope="module")
def headed() -> bytes:
    """Four pages in two columns, drawn column by column, with a running head and a number on each."""
    with pymupdf.open() as document:
        for number in range(4):
            page = document.new_page()
            page.insert_text((72, 40), "A Journal of Everything, vol. 3")
            page.insert_text((300, 800), str(number + 17))
            for x, side in ((40, "l"), (320, "r")):
                page.insert_text((x, 200), [line(side, at, number) for at in range(10)], fontsize=8)
        made: bytes = document.tobytes()
    return made


def test_what_is_left_out_is_explained(headed: bytes) -> None:
    there = pdf_furniture.read_plain(headed)
    assert there.heads == [["a journal of everything vol 3", str(17 + at)] for at in range(4)]
    with pymupdf.open(stream=headed) as document:
        pages = [page.get_text() for page in document.pages()]
    head, first, second = "A Journal of Everything, vol. 3\n", line("l", 0, 0), line("r", 1, 3)
    bare = [page.replace(head, "").replace(f"{17 + at}\n", "") for at, page in enumerate(pages)]
    lost = [page.replace(first, "").replace(second, "") for page in bare]
    words = sum(there.words.values())
    for given, removed, wrongly, unexplained, left in ((pages, 0, 0, 0, 8), (bare, 28, 0, 0, 0), (lost, 42, 7, 7, 0)):
        assert pdf_furniture.measure([first], there, given) == pdf_furniture.Removal(
            words, removed, wrongly, unexplained, 8, left
        )
    assert pdf_furniture.gone(headed, "".join(lost)) == [f"{first} / ", f"{second} / "]


def test_drawn_across_is_the_same_page_in_another_order(headed: bytes) -> None:
    drawn = across(Document("x", "jats", headed, 4, True, {}, [], [], []))
    with pymupdf.open(stream=headed) as one, pymupdf.open(stream=drawn.payload) as other:
        for page, again in zip(one.pages(), other.pages()):
            first, last = line("r", 0, page.number), line("l", 9, page.number)
            assert page.get_text().index(first) > page.get_text().index(last)
            assert again.get_text().index(first) < again.get_text().index(last)
            for shown in (first, last):
                assert tuple(page.search_for(shown)[0]) == pytest.approx(tuple(again.search_for(shown)[0]), abs=3)
