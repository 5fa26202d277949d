"""Lines of right-to-left scripts are read by place, whoever drew their words in what order."""

from __future__ import annotations

from typing import Any

import pytest

from stages.extract.pdf.bidi import in_reading_order, is_right_to_left, with_brackets_turned

WIDTH, SIZE = 5, 10


def drawn(*pieces: tuple[int, str]) -> dict[str, Any]:
    """Pieces of text, each at the x of its first letter; letters of Hebrew go to the left from there."""
    chars = []
    for x, text in pieces:
        for letter in text:
            place = {"bbox": (x, 0, x + WIDTH, SIZE), "origin": (x, SIZE)}
            chars.append({"c": letter, "synthetic": False, **place})
            x += -WIDTH if "\u0590" <= letter <= "\u05ff" else WIDTH
    return {"dir": (1.0, 0.0), "spans": [{"size": SIZE, "font": "f", "chars": chars}]}


def flat(raw: dict[str, Any]) -> dict[str, Any]:
    spans = [{"text": "".join(each["c"] for each in span["chars"])} for span in raw["spans"]]
    return {"dir": raw["dir"], "spans": spans}


def text_of(raw: dict[str, Any]) -> str:
    return "".join(span["text"] for span in in_reading_order(flat(raw), raw)["spans"])


@pytest.mark.parametrize(
    "pieces, wanted",
    [
        ([(100, "אבג"), (85, " "), (80, "דה"), (70, " "), (65, "וז")], "אבג דה וז"),
        ([(65, "וז"), (70, " "), (80, "דה"), (85, " "), (100, "אבג")], "אבג דה וז"),
        ([(60, "."), (100, "אבג"), (85, " "), (80, "דה")], "אבג דה."),
        ([(75, ","), (80, "דה"), (85, " "), (100, "אבג")], "אבג דה,"),
        ([(100, "אב"), (90, " "), (40, "New"), (55, " "), (60, "York"), (35, " "), (30, "גד")], "אב New York גד"),
        ([(100, "אב"), (90, " "), (40, "10"), (50, ","), (55, "000"), (35, " "), (30, "גד")], "אב 10,000 גד"),
        ([(100, "אב"), (90, " "), (80, "12"), (75, " "), (70, "גד")], "אב 12 גד"),
    ],
    ids=[
        "as read",
        "as seen",
        "full stop first",
        "comma first",
        "words of Latin",
        "a number in pieces",
        "a number",
    ],
)
def test_words_are_read_from_right_to_left_and_others_from_left_to_right(
    pieces: list[tuple[int, str]], wanted: str
) -> None:
    assert text_of(drawn(*pieces)) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [("אב )גד(", "אב (גד)"), ("אב (גד)", "אב (גד)"), ("אב ]גד[ )ה(", "אב [גד] (ה)"), ("אב )גד", "אב )גד")],
    ids=["as drawn", "as meant", "of two kinds", "one alone"],
)
def test_brackets_pair(text: str, wanted: str) -> None:
    assert with_brackets_turned(text) == wanted


def test_a_mark_above_a_letter_stays_with_it() -> None:
    line = drawn((100, "אב"))
    mark = {"c": "\u05b8", "synthetic": False, "bbox": (101, 0, 107, SIZE), "origin": (101, SIZE)}
    line["spans"][0]["chars"].insert(1, mark)
    assert text_of(line) == "א\u05b8ב"


@pytest.mark.parametrize(
    "text, direction, expected",
    [
        ("אבג abc", (1.0, 0.0), False),
        ("אבגד abc", (1.0, 0.0), True),
        ("אבגד", (0.0, 1.0), False),
        ("abc", (1.0, 0.0), False),
        ("12.", (1.0, 0.0), False),
        ("\u0661\u0662\u0663", (1.0, 0.0), False),
    ],
)
def test_which_lines_are_right_to_left(text: str, direction: tuple[float, float], expected: bool) -> None:
    assert is_right_to_left({"dir": direction, "spans": [{"text": text}]}) is expected
