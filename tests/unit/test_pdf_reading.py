"""A page as MuPDF reads it becomes plain data: placed, styled, seen or hidden."""

from __future__ import annotations

import pymupdf
import pytest
from drawn import Drawn
from laid_out import pages_of

from stages.extract.pdf.content import Line
from stages.extract.pdf.reading import plain, read_page


def text(line: Line) -> str:
    return "".join(span.text for span in line.spans)


def test_spans_have_their_place_size_and_style() -> None:
    (page,) = pages_of(Drawn().text(72, 100, "plain").text(72, 200, "strong", size=20, font="hebo"))
    small, large = (line.spans[0] for line in page.lines)
    assert (page.width, page.height) == (595, 842)
    assert (small.text, small.size, small.baseline, small.bold) == ("plain", 11, 100, False)
    assert (large.text, large.size, large.baseline, large.bold) == ("strong", 20, 200, True)
    assert small.box.x0 == 72 and small.box.y0 < 100 < small.box.y1


@pytest.mark.parametrize("how", [{"render_mode": 3}, {"fill_opacity": 0}], ids=["invisible", "transparent"])
def test_hidden_text_is_marked(how: dict[str, float]) -> None:
    (page,) = pages_of(Drawn().text(72, 100, "seen").text(72, 200, "hidden", **how))
    assert [(text(line), line.spans[0].visible) for line in page.lines] == [("seen", True), ("hidden", False)]


def test_text_outside_the_crop_box_is_not_shown() -> None:
    drawn = Drawn().text(72, 100, "outside").text(72, 400, "inside")
    with drawn.document() as document:
        document[0].set_cropbox(pymupdf.Rect(0, 200, 595, 842))
        page = read_page(document[0], 0)
    assert [text(line) for line in page.lines] == ["inside"]
    assert page.height == 642 and page.lines[0].spans[0].baseline == 200


@pytest.mark.parametrize("rotate, turned", [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_turned_text_knows_its_direction(rotate: int, turned: int) -> None:
    (page,) = pages_of(Drawn().text(300, 400, "sideways", rotate=rotate))
    assert [line.turned for line in page.lines] == [turned]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_page_is_read_as_it_is_seen(rotation: int) -> None:
    drawn = Drawn().text(300, 400, "upright", rotate=rotation)
    with drawn.document() as document:
        document[0].set_rotation(rotation)
        page = read_page(document[0], 0)
    (line,) = page.lines
    assert line.turned == 0
    assert line.box.width > line.box.height
    assert line.box.x0 >= 0 and line.box.x1 <= page.width and line.box.y0 >= 0 and line.box.y1 <= page.height


@pytest.mark.parametrize(
    "given, wanted",
    [
        ("ﬁne oﬃce", "fine office"),
        ("⼀⽇", "一日"),
        ("ﻻ", "لا"),
        ("x² ½ № Å", "x² ½ № Å"),
        ("a\x00b\ufeffc\u200bd", "abcd"),
        ("a\ud800b", "a\ufffdb"),
        ("a\uffffb", "a\ufffdb"),
        ("क\u200dष", "क\u200dष"),
    ],
    ids=["ligatures", "radicals", "arabic", "meant", "unprintable", "surrogate", "no character", "joiner"],
)
def test_characters_are_plain(given: str, wanted: str) -> None:
    assert plain(given) == wanted


def test_a_font_that_claims_tall_letters_makes_no_tall_lines() -> None:
    raw = {"font": "f", "size": 10.0, "flags": 0, "char_flags": 16, "alpha": 255, "text": "words in a line"}

    class TextPage:
        def extractDICT(self) -> dict[str, object]:
            line = {"dir": (1, 0), "spans": [raw | {"bbox": (72, 60, 150, 130), "origin": (72, 100)}]}
            return {"blocks": [{"lines": [line]}]}

    with Drawn().document() as document:
        (line,) = read_page(document[0], 0, TextPage()).lines
    assert (line.box.y0, line.box.y1) == (90.5, 103)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_text_at_no_place_is_left_out(bad: float) -> None:
    raw = {"font": "f", "size": 10.0, "flags": 0, "char_flags": 16, "alpha": 255, "text": "nowhere"}

    class TextPage:
        def extractDICT(self) -> dict[str, object]:
            line = {"dir": (1, 0), "spans": [raw | {"bbox": (72, 60, bad, 130), "origin": (72, 100)}]}
            return {"blocks": [{"lines": [line]}, {"image": b""}]}

    with Drawn().document() as document:
        assert read_page(document[0], 0, TextPage()).lines == []
