"""From a MuPDF page to `content.Page`: spans with place, size and style, what is hidden told from what is seen.

Here end MuPDF's conventions: a page's rotation is undone, text outside its crop box is gone, ligatures and the
presentation forms that PDF producers draw are back to plain letters. Order and lines stay as the page draws them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import pymupdf

from stages.extract.pdf.bidi import in_reading_order, is_right_to_left
from stages.extract.pdf.content import Box, Line, Page, Span, around
from stages.extract.pdf.letters import closed_up, is_letter_spaced
from stages.extract.pdf.overprint import without_overprints

TEXT_FLAGS = int(pymupdf.TEXT_MEDIABOX_CLIP)
"""How text pages are made. Left out on purpose: PRESERVE_LIGATURES (MuPDF expands ﬁ and ﬂ), PRESERVE_WHITESPACE (tabs
and no-break spaces become spaces), PRESERVE_IMAGES (their bytes would be decoded), and CID_FOR_UNKNOWN_UNICODE: a glyph
without a known character is U+FFFD, which a reader can count, and no arbitrary letter.
"""

UPRIGHT_DEGREES = 4
"""Text that leans less than this is upright: scans are straightened by as much."""


WIDE_SPACE = 0.55
"""Of the size: the space between words is half as wide. MuPDF makes two lines of what is 0.8 apart."""
TALLEST, ASCENT, DESCENT = 1.6, 0.95, 0.3
"""Of the size: a line's box that is taller says nothing; letters reach that far above and below their baseline."""
WIDEST = 2.0
"""Of the size: letters wider on average show that the size is wrong (Type 3 fonts), and the box is all there is."""

_BOLD, _ITALIC, _MONO, _SUPERSCRIPT = (
    int(pymupdf.TEXT_FONT_BOLD),
    int(pymupdf.TEXT_FONT_ITALIC),
    int(pymupdf.TEXT_FONT_MONOSPACED),
    int(pymupdf.TEXT_FONT_SUPERSCRIPT),
)
_SYNTHETIC_FLAG = 512  # char_flags: the character is not drawn, MuPDF infers it from a gap
_CLIP_FLAG = 64  # char_flags: the text is a clipping path, through which an image or a shading shows (MuPDF stext)

# Forms that stand for plain characters and are never meant as themselves: Arabic and Latin presentation forms,
# Kangxi radicals that CJK fonts map to. Everything else keeps its code: NFKC would also turn ² into 2 and ½ into 1⁄2.
_FORMS = re.compile("[\u2f00-\u2fdf\ufb00-\ufdff\ufe70-\ufefc]+")
# Controls, byte order marks, zero width spaces, stand-ins for
# objects. Joiners and directional marks stay: scripts need them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\ufeff\ufff0-\ufffc]")
_NO_CHARACTERS = re.compile("[\ud800-\udfff\ufffe\uffff]")


def read_page(mupdf_page: Any, number: int, textpage: Any = None) -> Page:
    """What a page shows. `number` counts from 0; a `textpage` that was made elsewhere, as by OCR, is read instead of
    the page's own text: it must be in the page's unrotated coordinates, as PyMuPDF makes them.
    """
    if textpage is None:
        textpage = mupdf_page.get_textpage(flags=TEXT_FLAGS)
    matrix = mupdf_page.rotation_matrix if mupdf_page.rotation else None
    shape = mupdf_page.rect
    page = Page(number, _finite(shape.width), _finite(shape.height), [])
    characters: list[dict[str, Any]] | None = None
    for at, block in enumerate(textpage.extractDICT()["blocks"]):
        for nth, line in enumerate(block.get("lines", ())):
            if is_letter_spaced(line):
                characters = characters or textpage.extractRAWDICT()["blocks"]
                line = closed_up(line, characters[at]["lines"][nth])
            elif is_right_to_left(line):
                characters = characters or textpage.extractRAWDICT()["blocks"]
                line = in_reading_order(line, characters[at]["lines"][nth])
            read = _line(line, matrix)
            if read is not None:
                page.lines.append(read)
    page.lines = without_overprints(page.lines)
    return page


def plain(text: str) -> str:
    """`text` with presentation forms, unprintable characters, lone surrogates and non-characters replaced or gone."""
    if text.isascii():
        return _UNPRINTABLE.sub("", text) if not text.isprintable() else text
    text = _NO_CHARACTERS.sub("\ufffd", _UNPRINTABLE.sub("", text))
    return _FORMS.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)


def _line(raw: dict[str, Any], matrix: Any) -> Line | None:
    """None where nothing is drawn, or nobody can say where."""
    turned = _degrees(raw["dir"], matrix)
    spans = [_span(run, turned, matrix) for run in _runs(raw["spans"])]
    spans = [span for span in spans if span.text]
    if not spans:
        return None
    return Line(spans, around(span.box for span in spans), turned)


def _runs(raw: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Spans of one style, height and visibility together: MuPDF makes a span of each space that it infers."""
    raw = [each for each in raw if math.isfinite(sum(each["bbox"]) + sum(each["origin"]) + each["size"])]
    runs: list[list[dict[str, Any]]] = []
    before: dict[str, Any] | None = None
    for each in raw:
        if (
            before is not None
            and each["font"] == before["font"]
            and each["size"] == before["size"]
            and each["flags"] == before["flags"]
            and (each["alpha"] > 0) == (before["alpha"] > 0)
            and not _is_wide(each)
            and not _is_wide(before)
            and (each["origin"][1] == before["origin"][1] or each["origin"][0] == before["origin"][0])
        ):
            runs[-1].append(each)
        else:
            runs.append([each])
        before = each
    return [part for run in runs for part in _without_blank_end(run)]


def _is_wide(blank: dict[str, Any]) -> bool:
    """Whether a space that MuPDF infers may be the white between two columns."""
    x0, _, x1, _ = blank["bbox"]
    return bool(blank["char_flags"] & _SYNTHETIC_FLAG) and blank["text"] == " " and x1 - x0 > WIDE_SPACE * blank["size"]


def _without_blank_end(run: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """A space before another style stays a span, so that a span's box is its words'."""
    return [run[:-1], run[-1:]] if len(run) > 1 and run[-1]["text"].isspace() else [run]


def _span(run: list[dict[str, Any]], turned: int, matrix: Any) -> Span:
    first = run[0]
    x0, y0, x1, y1 = first["bbox"]
    if len(run) > 1:
        x0, y0 = min(each["bbox"][0] for each in run), min(each["bbox"][1] for each in run)
        x1, y1 = max(each["bbox"][2] for each in run), max(each["bbox"][3] for each in run)
    x, y = first["origin"]
    if matrix is not None:
        x0, y0, x1, y1 = pymupdf.Rect(x0, y0, x1, y1) * matrix
        x, y = pymupdf.Point(x, y) * matrix
    flags, size = first["flags"], first["size"]
    text = "".join([each["text"] for each in run])
    box = Box(round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2))
    across, along = (box.width, box.height) if turned in (90, 270) else (box.height, box.width)
    if across > TALLEST * size and along < WIDEST * size * len(text):
        box = _lowered(box, x, y, size, turned)
    return Span(
        plain(text),
        box,
        round(x if turned in (90, 270) else y, 2),
        round(size, 2),
        first["font"],
        bold=bool(flags & _BOLD),
        italic=bool(flags & _ITALIC),
        mono=bool(flags & _MONO),
        superscript=bool(flags & _SUPERSCRIPT),
        visible=first["alpha"] > 0 or bool(first["char_flags"] & _CLIP_FLAG),
    )


def _lowered(box: Box, x: float, y: float, size: float, turned: int) -> Box:
    """A box as tall as letters are: some fonts claim ascenders of several lines, and their lines would overlap."""
    up, down = round(ASCENT * size, 2), round(DESCENT * size, 2)
    x, y = round(x, 2), round(y, 2)
    x0, y0, x1, y1 = box
    if turned == 90:
        return Box(max(x0, x - down), y0, min(x1, x + up), y1)
    if turned == 270:
        return Box(max(x0, x - up), y0, min(x1, x + down), y1)
    if turned == 180:
        return Box(x0, max(y0, y - down), x1, min(y1, y + up))
    return Box(x0, max(y0, y - up), x1, min(y1, y + down)) if turned == 0 else box


def _degrees(direction: tuple[float, float], matrix: Any) -> int:
    """The direction of writing as the page is seen: whole degrees clockwise, quarter turns where nearly so."""
    x, y = direction
    if matrix is None and y == 0 and x > 0:
        return 0
    if matrix is not None:
        x, y = x * matrix.a + y * matrix.c, x * matrix.b + y * matrix.d
    if not (math.isfinite(x) and math.isfinite(y)):
        return 0
    degrees = round(math.degrees(math.atan2(y, x))) % 360
    quarter = round(degrees / 90) * 90
    return quarter % 360 if abs(degrees - quarter) <= UPRIGHT_DEGREES else degrees


def _finite(length: float) -> float:
    return round(length, 2) if math.isfinite(length) else 0.0
