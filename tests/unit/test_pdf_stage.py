"""A PDF through the whole stage, in the cage, as in a run: which files are read, which leave and why."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pymupdf
import pytest
from drawn import Drawn

from pipeline.cage import Cage, Failure
from stages.extract.pdf.stage import ExtractPdf
from stages.stage import Extracted, Refusal

PROSE = (
    "The ferry leaves the northern pier at seven\nand reaches the island before noon, when\n"
    "the tide is high enough for the old harbour."
)
JOINED = PROSE.replace("\n", " ")


@pytest.fixture(scope="module")
def caged() -> Iterator[Cage]:
    cage = Cage(ExtractPdf(max_pages=20, page_cpu_seconds=2))
    yield cage
    cage.close()


def extract(caged: Cage, payload: bytes, **record: Any) -> Extracted | Refusal | Failure:
    return caged.process(payload, {"media": "pdf", "status": 200, "truncated": None, **record})


def read(caged: Cage, payload: bytes, **record: Any) -> Extracted:
    answer = extract(caged, payload, **record)
    assert isinstance(answer, Extracted), answer
    pa.array([answer.signals], ExtractPdf.signals)
    ends = answer.columns["page_ends"]
    assert ends == sorted(ends) and ends[-1] == len(answer.text)
    return answer


def pages_of(answer: Extracted) -> list[str]:
    return [answer.text[a:b] for a, b in pairwise([0, *answer.columns["page_ends"]])]


def with_password(owner: str, user: str) -> bytes:
    document = Drawn().lines(72, 72, PROSE).document()
    return document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw=owner, user_pw=user)


def test_text_pages_and_what_was_measured(caged: Cage) -> None:
    drawn = Drawn().lines(72, 72, PROSE).page().page().lines(72, 72, "On the third page there is more.")
    answer = read(caged, drawn.bytes())
    first, second, third = pages_of(answer)
    assert (first.strip(), second.strip(), third.strip()) == (JOINED, "", "On the third page there is more.")
    assert answer.columns["extractor"] == "fast"
    assert answer.signals is not None
    assert [page["route"] for page in answer.signals["pages"]] == ["text", "empty", "text"]
    assert (answer.signals["route"], answer.signals["ocr_share"]) == ("text", 0.0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty_payload"),
        (b"\r\n \0\0", "empty_payload"),
        (b"<html>Not found</html>", "not_a_pdf"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(100), "not_a_pdf"),
        (b"%PDF-1.7\n" + b"garbage " * 50, "corrupt"),
        (with_password("owner", "user"), "encrypted"),
        (Drawn().bytes(), "no_text"),
        (Drawn().lines(72, 72, PROSE).scanned(72).bytes(), "needs_ocr"),
    ],
)
def test_what_cannot_be_read_leaves_with_its_reason(caged: Cage, payload: bytes, reason: str) -> None:
    answer = extract(caged, payload)
    assert isinstance(answer, Refusal) and answer.reason == reason
    assert reason in ExtractPdf.reasons


def test_everybody_may_read_a_file_with_an_empty_password(caged: Cage) -> None:
    assert read(caged, with_password("owner", "")).text.strip() == JOINED


def test_too_many_pages(caged: Cage) -> None:
    document = Drawn()
    for _ in range(20):
        document.page()
    assert extract(caged, document.bytes()) == Refusal("too_many_pages", 21, 20)


def test_too_many_pages_for_ocr() -> None:
    drawn = Drawn().image(0, 0, 595, 842).page().image(0, 0, 595, 842).page().text(72, 100, "Some text.")
    stage = ExtractPdf(ocr={"endpoint": "http://127.0.0.1:9", "model": "nobody"}, max_ocr_pages=1)
    refusal = stage.process(drawn.bytes(), {})
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.value, refusal.threshold) == ("too_many_ocr_pages", 2, 1)


def test_too_much_text(caged: Cage) -> None:
    drawn = Drawn().text(72, 100, "A form that is drawn again and again.").page().text(72, 100, "And once more.")
    refusal = ExtractPdf(max_text_chars=10).process(drawn.bytes(), {})
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.value, refusal.threshold, refusal.detail) == ("too_much_text", 37, 10, "1 pages")


def test_an_error_page_is_no_document(caged: Cage) -> None:
    assert ExtractPdf().accepts({"status": 404}) == Refusal("http_error_status", 404, 299)
    assert ExtractPdf().accepts({"status": None}) is None


def test_a_file_cut_off_gives_what_it_has_and_stays_marked(caged: Cage) -> None:
    whole = Drawn().lines(72, 72, PROSE).page().lines(72, 72, "More.").bytes()
    answer = read(caged, whole[: whole.rindex(b"xref")], truncated="length")
    assert JOINED in answer.text
    assert answer.signals is not None and answer.signals["truncated"] == "length"


def test_pages_that_are_gone_once_mupdf_repairs_a_file_are_empty(caged: Cage) -> None:
    """The second page's object is broken; that makes MuPDF look for objects itself, and the last list of pages wins."""
    whole = Drawn().text(72, 72, "First.").page().text(72, 72, "Second.").page().text(72, 72, "Third.").bytes()
    with pymupdf.open(stream=whole, filetype="pdf") as document:
        root = int(document.xref_get_key(document.pdf_catalog(), "Pages")[1].split()[0])
        first, second, _ = document.page_xref(0), document.page_xref(1), document.page_xref(2)
    broken = whole.replace(b"\n%d 0 obj" % second, b"\n%d 0 xbj" % second)
    assert broken != whole
    shorter = b"\n%d 0 obj\n<</Type/Pages/Count 1/Kids[%d 0 R]>>\nendobj\n" % (root, first)
    answer = read(caged, broken + shorter)
    assert pages_of(answer) == ["First.", "", ""]


def test_a_page_that_needs_ocr_costs_itself_and_its_document_goes_on(caged: Cage) -> None:
    document = Drawn().lines(72, 72, PROSE).page().text(72, 120, "Another page, with words of its own.").page()
    scan = Drawn().lines(72, 72, PROSE).scanned(72).document()[0].get_pixmap().tobytes("png")
    answer = read(caged, document.image(0, 0, 595, 842, scan).bytes())
    assert answer.signals is not None
    assert [(page["route"], page["ocr"]) for page in answer.signals["pages"]] == [
        ("text", None),
        ("text", None),
        ("ocr", "needs_ocr"),
    ]
    assert pages_of(answer)[2] == ""


def test_a_hidden_layer_over_a_scan_is_its_text_and_hidden_text_elsewhere_is_none(caged: Cage) -> None:
    picture = Drawn().lines(72, 72, PROSE).document()[0].get_pixmap().tobytes("png")
    scan = Drawn().image(0, 0, 595, 842, picture).lines(72, 72, PROSE, render_mode=3)
    assert read(caged, scan.bytes()).text.strip() == JOINED
    certified = scan.lines(72, 200, PROSE * 3, render_mode=3).lines(72, 600, "This is a true copy of the record. " * 4)
    text = read(caged, certified.bytes()).text
    assert JOINED in text and "This is a true copy" in text
    stuffed = Drawn().lines(72, 72, PROSE).text(72, 400, "cheap watches cheap watches", render_mode=3)
    assert read(caged, stuffed.bytes()).text.strip() == JOINED


def test_sizes_and_fonts_of_an_ocr_layer_make_no_headings_and_part_no_lines(caged: Cage) -> None:
    picture = Drawn().lines(72, 72, PROSE).document()[0].get_pixmap().tobytes("png")
    scan = Drawn().image(0, 0, 595, 842, picture)
    for number, (line, size) in enumerate(zip(PROSE.splitlines(), (12.5, 10, 11))):
        scan.text(72, 72 + 13.2 * number, line, size, "cour" if number == 2 else "hebo", render_mode=3)
    assert read(caged, scan.bytes()).text.strip() == JOINED


def test_a_page_without_end_is_killed_at_its_own_limit_and_the_next_file_is_read(caged: Cage) -> None:
    """A form that draws a form eight deep, ten times each: 10 ** 8 texts of one page."""
    document = pymupdf.open()
    page = document.new_page()
    page.insert_text((72, 72), "a")
    font = document.xref_get_key(page.xref, "Resources")[1]
    below = None
    for _ in range(9):
        form = document.get_new_xref()
        body = b"/F Do " * 10 if below else b"BT /helv 9 Tf 72 72 Td (a) Tj ET"
        inner = f"<</XObject<</F {below} 0 R>>>>" if below else font
        document.update_object(
            form, f"<</Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources {inner}/Length {len(body)}>>"
        )
        document.update_stream(form, body, compress=False)
        below = form
    document.xref_set_key(page.xref, "Resources", f"<</XObject<</F {below} 0 R>>>>")
    document.update_stream(page.get_contents()[0], b"/F Do", compress=False)
    answer = extract(caged, document.tobytes())
    assert isinstance(answer, Failure) and answer.reason in ("over_cpu_limit", "over_memory_limit")
    assert read(caged, Drawn().lines(72, 72, PROSE).bytes()).text.strip() == JOINED


def test_the_same_bytes_give_the_same_answer_after_other_files(caged: Cage) -> None:
    payload = Drawn().lines(72, 72, PROSE).page().text(72, 72, "On the next page.").bytes()
    first = extract(caged, payload)
    extract(caged, Drawn().text(72, 72, "Another file.", font="times-bold").bytes())
    assert extract(caged, payload) == first


def test_ocr_that_cannot_work_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="xxx_none.*apt-get install"):
        ExtractPdf(ocr="tesseract", ocr_languages=("xxx_none",)).load()
