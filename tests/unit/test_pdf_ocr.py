"""What recipes say about OCR, and OCR by Tesseract: of scans that are drawn here, and of the corpus's."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from drawn import Drawn
from fastwarc.warc import ArchiveIterator
from pydantic import BaseModel, ValidationError

from stages.extract.pdf.content import Page
from stages.extract.pdf.ocr import Backend, Ocr, TesseractOptions, Unread, VisionOptions, backend
from stages.extract.pdf.reading import read_page
from stages.extract.pdf.route import Routing, measure, route
from stages.extract.pdf.tesseract import dots, find_tessdata, word_share

PROSE = """The pages of a book are read one after another, and
what a reader remembers of them a year later is seldom
more than a mood, two names and the weather."""


class Stage(BaseModel):
    ocr: Ocr = "none"


@pytest.fixture(scope="module")
def tesseract() -> Backend:
    try:
        find_tessdata(["eng"])
    except ValueError as error:
        pytest.skip(str(error))
    found = backend("tesseract", ["eng"])
    assert found is not None
    return found


def text_of(result: object) -> str:
    assert isinstance(result, Page), result
    return "\n".join("".join(span.text for span in line.spans if span.visible) for line in result.lines)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("none", "none"),
        ("tesseract", "tesseract"),
        ({"dpi": 150}, TesseractOptions(dpi=150)),
        ({}, TesseractOptions()),
        (
            {"endpoint": "http://gpu:8000/v1/", "model": "olmocr"},
            VisionOptions(endpoint="http://gpu:8000/v1/chat/completions", model="olmocr"),
        ),
    ],
)
def test_options(written: Any, meant: Any) -> None:
    stage = Stage(ocr=written)
    assert stage.ocr == meant
    assert Stage(**json.loads(stage.model_dump_json())) == stage  # as it reaches the process that runs it


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("tesserakt", "write none, tesseract, "),
        (True, "write none, tesseract, "),
        ({"dip": 150}, "dip: unknown; known: dpi, "),
        ({"dpi": 20}, "dpi: Input should be greater than or equal to 72"),
        ({"endpoint": "http://gpu:8000/v1"}, "model: missing"),
        ({"endpoint": "gpu:8000", "model": "m"}, "endpoint: write an http or https address"),
        ({"endpoint": "http://user:key@gpu/v1", "model": "m"}, "endpoint: write an http or https address"),
        ({"endpoint": "http://gpu/v1", "model": "m", "api_key_env": "sk-123"}, "api_key_env: write the name of an"),
        ({"endpoint": "http://gpu/v1", "model": "m", "atempts": 2}, "atempts: unknown; known: endpoint, "),
    ],
)
def test_faults_of_options_are_one_clear_line(written: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Stage(ocr=written)
    (fault,) = caught.value.errors()
    assert fault["msg"].startswith(f"Value error, {said}")
    assert "\n" not in fault["msg"]


def test_missing_data_name_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eng.traineddata").touch()
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    assert find_tessdata(["eng"]) == str(tmp_path)
    with pytest.raises(
        ValueError, match=r"apt-get install tesseract-ocr-chi-sim tesseract-ocr-script-latn, or write ocr: none"
    ):
        backend("tesseract", ["eng", "chi_sim", "script/Latn"])
    for odd in ([], ["../eng"], ["eng+deu"], [""]):
        with pytest.raises(ValueError, match="ocr_languages"):
            find_tessdata(odd)
    assert backend("none", []) is None


@pytest.mark.parametrize(
    ("texts", "least", "most"),
    [
        ([PROSE], 0.8, 1),
        (["सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता"], 0.75, 1),
        (["すべての人間は、生まれながらにして自由であり、", "ทุกคนเกิดมามีอิสระ"], 0.9, 1),
        (["UN NNIT 666867# IE18-80L (818) 9SEI6 VO “BURZIR] “ANS PI|UXO O°ZLEI \\a Sl ok = _ ~"], 0, 0.6),
        ([". - | ~ a b", "_ ="], 0, 0),
    ],
)
def test_word_share(texts: list[str], least: float, most: float) -> None:
    share = word_share(texts)
    assert share is not None and least <= share <= most


def test_no_characters_have_no_word_share() -> None:
    assert word_share(["", " \n"]) is None


@pytest.mark.parametrize(
    ("width", "height", "pixels", "expected"),
    [
        (595, 842, None, 200),
        (595, 842, (2480, 3508), 200),  # a scan of 300 dpi
        (595, 842, (1488, 2105), 180),
        (595, 842, (600, 849), 150),
        (14_400, 14_400, None, 17),  # 200 inches, the most that PDF 1.7 allows
        (3, 3, None, 200),
    ],
)
def test_dots(width: float, height: float, pixels: tuple[int, int] | None, expected: int) -> None:
    drawn = Drawn(width, height)
    if pixels:
        grey = pymupdf.Pixmap(pymupdf.csGRAY, pymupdf.IRect(0, 0, *pixels), False)
        grey.clear_with(250)
        drawn.image(0, 0, width, height, grey.tobytes("png"))
    assert dots(drawn.document()[0], TesseractOptions()) == expected


@pytest.mark.ocr
def test_a_scan_is_read_where_it_stands(tesseract: Backend) -> None:
    document = (
        Drawn().lines(72, 200, PROSE, 14).page().page().text(300, 700, "The second text", 20).scanned().document()
    )
    (_, first), (_, blank), (_, third) = tesseract.recognise(document, [0, 1, 2])
    assert text_of(first).split() == PROSE.split()
    assert blank == Unread("ocr_empty")
    assert isinstance(third, Page)
    assert third.number == 2
    (line,) = third.lines
    assert (line.box.x0, line.spans[0].baseline) == pytest.approx((300, 700), abs=4)


@pytest.mark.ocr
def test_the_same_scan_gives_the_same_page(tesseract: Backend) -> None:
    data = Drawn().lines(72, 200, PROSE, 14).scanned(150).bytes()
    first, second = (list(tesseract.recognise(pymupdf.open(stream=data), [0])) for _ in range(2))
    assert first == second


@pytest.mark.ocr
def test_a_turned_page_is_read_as_it_is_seen(tesseract: Backend) -> None:
    document = Drawn().lines(150, 300, PROSE, 14, rotate=90).scanned().document()
    document[0].set_rotation(90)
    ((_, page),) = tesseract.recognise(document, [0])
    assert isinstance(page, Page)
    assert (page.width, page.height) == (842, 595)
    assert {line.turned for line in page.lines} == {0}
    assert all(0 <= line.box.x0 < line.box.x1 <= 842 and 0 <= line.box.y0 < line.box.y1 <= 595 for line in page.lines)


@pytest.mark.ocr
def test_what_is_no_text_is_no_text(tesseract: Backend) -> None:
    drawn = Drawn()
    for number in range(300):
        drawn.rule(50 + number * 37 % 500, 60 + number * 53 % 700, 50 + number * 91 % 500, 60 + number * 29 % 700)
    ((_, result),) = tesseract.recognise(drawn.scanned().document(), [0])
    assert isinstance(result, Unread) and result.reason in ("ocr_empty", "ocr_nonsense")
    assert not result.fault


@pytest.mark.ocr
def test_a_page_of_two_hundred_inches_costs_no_more_than_its_pixels(tesseract: Backend) -> None:
    ((_, result),) = tesseract.recognise(Drawn(14_400, 14_400).text(100, 500, "x", 11).document(), [0])
    assert isinstance(result, Unread) and result.reason == "ocr_failed"


@pytest.mark.ocr
def test_scans_of_the_corpus(corpora: Path, tesseract: Backend) -> None:
    """The one scan whose text is known, and three that say in print what they are."""
    wanted = {
        "ocrmypdf-c4b8de9450": "Portez ce vieux whisky au juge",
        "ocrmypdf-fafa5bb026": "This should be a perfect circle",
        "kreuzberg-8613576159": "This is an example of a non-text-searchable PDF",
    }
    with gzip.open(corpora / "pdf" / "gt.jsonl.gz", "rt") as truths:
        known = next(truth for truth in map(json.loads, truths) if truth["kind"] == "ocr-text")
    for identity, payload in _payloads(corpora, {known["id"], *wanted}):
        document = pymupdf.open(stream=payload)
        assert route(measure(document[0], read_page(document[0], 0)), Routing()).route == "ocr", identity
        ((_, result),) = tesseract.recognise(document, [0])
        words = text_of(result).split()
        if identity in wanted:
            assert wanted[identity] in " ".join(words)
        else:
            truth, found = _grams(known["text"]), _grams(" ".join(words))
            assert len(truth & found) > 0.95 * len(truth)


def _payloads(corpora: Path, wanted: set[str]) -> list[tuple[str, bytes]]:
    with open(corpora / "pdf" / "mapping.jsonl") as mapping:
        names = {m["warc_record_id"]: m["id"] for m in map(json.loads, mapping) if m["id"] in wanted}
    found = []
    with open(corpora / "pdf" / "pdf-bench.warc.gz", "rb") as warc:
        for record in ArchiveIterator(warc, parse_http=True):
            if (name := names.get(record.headers["WARC-Record-ID"])) is not None:
                found.append((name, record.reader.read()))
    assert {name for name, _ in found} == wanted
    return found


def _grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", re.sub(r"-\s", "", text).lower())
    return set(zip(words, words[1:], words[2:]))
