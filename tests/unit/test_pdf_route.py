"""Where a page's text is: each rule on a page drawn for it, and the documents that pages make."""

from __future__ import annotations

import contextlib
import math
import random
import string

import pytest
from drawn import Drawn

from stages.extract.pdf.content import Box
from stages.extract.pdf.legible import illegible_characters
from stages.extract.pdf.reading import read_page
from stages.extract.pdf.route import (
    DocumentRoute,
    PageFeatures,
    PageRoute,
    Route,
    Routing,
    covered,
    measure,
    route,
    route_document,
)

PROSE = """The pages of a book are read one after another, and what
a reader remembers of them a year later is seldom more than a
mood, two names and the weather of the last chapter. Whoever
writes knows this, and writes as if it were not so."""
POLISH = (
    "W Szczebrzeszynie chrząszcz brzmi w trzcinie i Szczebrzeszyn z tego słynie, a każdy przechodzień pyta go grzecznie"
)


def features(drawn: Drawn) -> PageFeatures:
    page = drawn.document()[0]
    return measure(page, read_page(page, 0))


def as_glyph_numbers(text: str) -> str:
    """What a font without a map gives where glyph numbers pass for characters: 29 less, spaces lost."""
    return "".join(chr(ord(c) - 29) for c in text if 61 < ord(c) < 127)


def strips(drawn: Drawn) -> Drawn:
    """A scan that its scanner cut into strips, thinner than what areas are counted in."""
    for top in range(0, 842, 5):
        drawn.image(0, top, 595, top + 5)
    return drawn


def scan() -> Drawn:
    return Drawn().image(0, 0, 595, 842)


@pytest.mark.parametrize(
    ("drawn", "expected", "reason"),
    [
        (Drawn().lines(72, 200, PROSE), "text", "text_layer_usable"),
        (Drawn().text(72, 200, "Four"), "text", "text_layer_usable"),
        (Drawn().image(30, 30, 120, 80).lines(72, 200, PROSE), "text", "text_layer_usable"),  # a logo
        (scan().lines(72, 200, PROSE), "text", "text_layer_usable"),  # a background
        (scan(), "ocr", "scanned"),
        (strips(Drawn()), "ocr", "scanned"),
        (scan().text(72, 830, "Downloaded from a library by 10.0.0.1 on Mon, 3 May 2021"), "ocr", "scanned"),
        (scan().lines(72, 800, "Downloaded from a library by 10.0.0.1 on Mon, 3 May 2021\n" * 4, 8), "ocr", "scanned"),
        (
            scan().text(590, 700, "This copy is for the use of a reader in the library only" * 3, rotate=90),
            "ocr",
            "scanned",
        ),
        (scan().lines(72, 200, PROSE, render_mode=3), "hidden_text", "hidden_ocr_layer"),
        (scan().lines(72, 200, PROSE, fill_opacity=0), "hidden_text", "hidden_ocr_layer"),
        (
            scan().lines(72, 200, PROSE, render_mode=3).text(72, 830, "Downloaded from a library"),
            "hidden_text",
            "hidden_ocr_layer",
        ),
        (  # a certified copy
            scan().lines(72, 200, PROSE * 3, render_mode=3).lines(72, 600, PROSE),
            "hidden_text",
            "hidden_ocr_layer",
        ),
        (scan().lines(72, 200, PROSE, render_mode=3).lines(72, 600, PROSE), "text", "text_layer_usable"),
        (scan().lines(72, 200, as_glyph_numbers(PROSE * 2), render_mode=3), "ocr", "garbled_hidden_layer"),
        (Drawn().unmapped(72, 200, PROSE), "ocr", "garbled"),
        (Drawn().lines(72, 200, as_glyph_numbers(PROSE)), "ocr", "garbled"),
        (Drawn().lines(72, 200, PROSE).unmapped(72, 400, "one formula"), "text", "text_layer_usable"),
        (Drawn().outlined(72, 200, PROSE), "ocr", "outlined_text"),
        (Drawn().rule(10, 10, 500, 10).rule(10, 10, 10, 500), "empty", "no_content"),
        (Drawn().image(30, 30, 60, 60), "empty", "no_content"),
        (Drawn(), "empty", "no_content"),
    ],
)
def test_route(drawn: Drawn, expected: Route, reason: str) -> None:
    assert route(features(drawn), Routing()) == PageRoute(expected, reason)


def test_thresholds_are_fields() -> None:
    found = features(Drawn().image(30, 30, 60, 60))
    assert route(found, Routing(image_area=0.0)).route == "ocr"


def test_features_of_a_turned_page_are_those_that_are_seen() -> None:
    document = Drawn().lines(72, 200, PROSE).image(0, 0, 595, 421).document()
    upright = measure(document[0], read_page(document[0], 0))
    document[0].set_rotation(90)
    page = document[0]
    turned = measure(page, read_page(page, 0))
    assert turned.image_area == pytest.approx(upright.image_area) == 0.5
    assert (upright.rotated_share, turned.rotated_share) == (0, 1)


def shifted(by: int) -> str:
    return "".join(chr(ord(c) - by) if ord(c) > by + 32 else " " for c in PROSE)


RANDOM = random.Random(4)


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        PROSE.upper(),
        POLISH,
        "Aakárɩ ɩdɩ ɩrɔɔzɩ́ yáá ɩlá ɩdɛ́ɛ aɖííni, bɩlɛ́ bɩgɛ́ tɔm ńdɩ ɩlá",
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi",
        "所有人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。" * 3,
        "すべての人間は、生まれながらにして自由であり、Debian GNU/Linux をインストールする" * 3,
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다" * 3,
        "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق وقد وهبوا عقلاً وضميراً" * 3,
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है" * 3,
        "∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε, ∑ᵢαᵢβᵢ ≤ ‖α‖·‖β‖ " * 6,
        " ".join(f"{RANDOM.random() * 1000:.2f}" for _ in range(300)),
        "".join(RANDOM.choice("ACGT") for _ in range(600)),
        "for (size_t i = 0; i < len; ++i) { if (buf[i] == '\\n') { ptr = strchr(str, \"x\"); } else return -1; }\n" * 5,
        "\u2022\n" * 80,
        "\n".join(f"{RANDOM.randbytes(20).hex()}  mill-{n}.tar.gz" for n in range(40)),
    ],
)
def test_legible(text: str) -> None:
    total, illegible = illegible_characters([("font", text)])
    assert total > 40
    assert illegible == 0


@pytest.mark.parametrize(
    "text",
    [
        *(shifted(by) for by in (1, 3, 29, 30, 31)),
        "".join(chr(RANDOM.randrange(0x370, 0x700)) for _ in range(300)),
        "Все люди рождаются свободными и равными в своем достоинстве и правах. " * 2,
    ],
)
def test_illegible(text: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        text = text.encode("windows-1251").decode("windows-1252")
    total, illegible = illegible_characters([("font", text)])
    assert illegible == total > 60


def test_only_the_fonts_that_are_illegible_count() -> None:
    total, illegible = illegible_characters([("good", PROSE * 3), ("bad", shifted(29)), ("good", "\ufffd\ue000\x03")])
    assert illegible == sum(not c.isspace() for c in shifted(29)) + 3
    assert total == sum(not c.isspace() for c in PROSE * 3 + shifted(29)) + 3


def test_little_texts_are_judged_together() -> None:
    pieces = [(f"font {number}", shifted(29)[number * 20 : number * 20 + 20]) for number in range(8)]
    total, illegible = illegible_characters(pieces)
    assert illegible == total


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800", "\U0010ffff" * 3, string.printable])
def test_odd_texts_are_counted(text: str) -> None:
    total, illegible = illegible_characters([("font", text)])
    assert 0 <= illegible <= total <= len(text)


@pytest.mark.parametrize(
    ("boxes", "share"),
    [
        ([], 0),
        ([Box(0, 0, 100, 200)] * 3, 1),
        ([Box(0, 0, 50, 200), Box(25, 0, 75, 200)], 0.75),
        ([Box(0, y / 8, 100, (y + 1) / 8) for y in range(1600)], 1),
        ([Box(-1000, -1000, 5000, 100)], 0.5),
        ([Box(math.nan, 0, 100, 200), Box(0, 0, math.inf, 200), Box(90, 90, 10, 10), Box(300, 0, 400, 200)], 0),
    ],
)
def test_covered(boxes: list[Box], share: float) -> None:
    assert covered(boxes, 100, 200) == pytest.approx(share)


@pytest.mark.parametrize("size", [(0, 0), (math.nan, 10), (10, math.inf), (-5, 5)])
def test_pages_without_a_size_are_not_covered(size: tuple[float, float]) -> None:
    assert covered([Box(0, 0, 1, 1)], *size) == 0


TEXT, OCR, HIDDEN, EMPTY = (
    PageRoute("text", "text_layer_usable"),
    PageRoute("ocr", "scanned"),
    PageRoute("hidden_text", "hidden_ocr_layer"),
    PageRoute("empty", "no_content"),
)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([TEXT, TEXT], DocumentRoute("text", "text_layer_usable", 0)),
        ([TEXT, HIDDEN, HIDDEN], DocumentRoute("text", "hidden_ocr_layer", 0)),
        ([TEXT, TEXT, TEXT, OCR, EMPTY], DocumentRoute("mixed", "scanned", 0.25)),
        ([OCR, PageRoute("ocr", "garbled"), PageRoute("ocr", "garbled"), EMPTY], DocumentRoute("ocr", "garbled", 1)),
        ([OCR, PageRoute("ocr", "garbled")], DocumentRoute("ocr", "garbled", 1)),  # a tie goes by name
        ([EMPTY, EMPTY], DocumentRoute("empty", "no_content", 0)),
        ([], DocumentRoute("empty", "no_content", 0)),
    ],
)
def test_document(pages: list[PageRoute], expected: DocumentRoute) -> None:
    assert route_document(pages) == expected
