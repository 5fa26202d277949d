"""From the pieces that MuPDF calls lines to rows of text: pieces of one baseline joined, words spaced, marks set apart.

A row is what a reader sees as one line of one column. Where columns are is not decided here: the caller says where
the gutters run that no row may cross.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stages.extract.pdf.bidi import with_brackets_turned
from stages.extract.pdf.content import Box, Line, Span, around

SPACE_GAP = 0.25
"""Of a character's mean width: a wider gap between two pieces is a space (FinePDFs' rule, datatrove-pdf)."""
SAME_ROW = 0.5
"""Share of the lower piece's height that two pieces of one row have in common; a superscript has more, the next line
less."""
WIDE_GAP = 1.5
"""Of the row's size: white that is wider shows columns; between the words of justified lines there is less."""
RAISED = 0.12
"""Of the row's size: a smaller span whose baseline is that much above the row's is a superscript."""
SMALLER = 0.85
"""Of the row's size: the largest that a superscript is drawn in."""
DROP_CAP = 1.8
"""Times the size of the text beside it: what is that large is an initial and no part of the row."""

OBJECT = "\ufffc"
"""Begins a line that stands for a table, which is one row by itself; text as read never has it."""

# Scripts written without spaces between words: Han, kana, Thai, Lao, Khmer, Myanmar and CJK punctuation and forms.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
_SPACE_WITHIN_CJK = re.compile(
    "(?<=[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u3001\u3002]) (?=[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])"
)
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_ENDS_SENTENCE = re.compile(r"[.!?:;。！？：；…।؟۔][\"'”’»)\]\d⁰¹²³⁴-⁹,–^-]*$")
_SPACES = re.compile("  +")
_LEADER = re.compile(r"(?:\s?\.){5,}\s*")
_SUPERSCRIPTS = str.maketrans("0123456789+-\u2212=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾")


@dataclass(slots=True)
class Row:
    """One line of one column, as read. `box` and `baseline` are upright whatever the direction of writing."""

    text: str
    box: Box
    baseline: float
    size: float
    bold: bool
    mono: bool
    rtl: bool = False
    gaps: tuple[tuple[float, float], ...] = ()
    """Where it is open from x to x, wide enough to show columns."""


def turn(line: Line, turned: int) -> Line:
    """The line as seen by a reader who turns the page so that text running at `turned` degrees (a multiple of 90) is
    upright.
    """
    if turned == 0:
        return line
    spans = [
        Span(
            s.text,
            _turn_box(s.box, turned),
            s.baseline if turned == 270 else -s.baseline,
            s.size,
            s.font,
            s.bold,
            s.italic,
            s.mono,
            s.superscript,
            s.visible,
        )
        for s in line.spans
    ]
    return Line(spans, _turn_box(line.box, turned), 0)


def _turn_box(box: Box, turned: int) -> Box:
    x0, y0, x1, y1 = box
    if turned == 90:  # reads downwards: y becomes x, the next line is to the left
        return Box(y0, -x1, y1, -x0)
    if turned == 270:  # reads upwards, the next line is to the right
        return Box(-y1, x0, -y0, x1)
    return Box(-x1, -y1, -x0, -y0) if turned == 180 else box


def follows(before: Box, after: Box) -> bool:
    """Whether `after` stands in one row with `before` and beside it, on either side."""
    height = min(before.height, after.height)
    if height <= 0 or before.overlap_y(after) < SAME_ROW * height:
        return False
    return before.overlap_x(after) <= 0.3 * height and max(before.height, after.height) < DROP_CAP * height


def make_row(pieces: Sequence[Line]) -> Row | None:
    """One row of pieces that stand side by side, in any order; None where they are blank."""
    letters = sum(len(span.text) for piece in pieces for span in piece.spans)
    rtl = sum(len(_RTL.findall(span.text)) for piece in pieces for span in piece.spans) * 2 > letters
    if len(pieces) > 1:
        pieces = sorted(pieces, key=lambda p: -p.box.x1 if rtl else p.box.x0)
    spans = [span for piece in pieces for span in piece.spans if not span.text.isspace()]
    if not spans:
        return None
    size, baseline = _dominant(spans)
    parts: list[str] = []
    before: Line | None = None
    for piece in pieces:
        text = _piece_text(piece, size, baseline)
        if not text:
            continue
        if before is not None and not parts[-1].endswith(" ") and _spaced(before, piece, parts[-1], text):
            parts.append(" ")
        parts.append(text)
        before = piece
    text = "".join(parts)
    if ". . ." in text or "....." in text:
        text = _LEADER.sub(" ... ", text)
    text = _SPACES.sub(" ", text).strip()
    if not text:
        return None
    if rtl:
        text = with_brackets_turned(text)
    box = around(span.box for span in spans)
    inked = sum(len(span.text) for span in spans)
    bold = sum(len(span.text) for span in spans if span.bold) * 10 >= inked * 8
    mono = sum(len(span.text) for span in spans if span.mono) * 10 >= inked * 8
    return Row(text, box, baseline, size, bold, mono, rtl, _gaps(spans, size))


def _gaps(spans: Sequence[Span], size: float) -> tuple[tuple[float, float], ...]:
    """The white between spans, which are in the order of reading."""
    if len(spans) < 2:
        return ()
    between = ((min(a.box.x1, b.box.x1), max(a.box.x0, b.box.x0)) for a, b in pairwise(spans))
    return tuple((start, end) for start, end in between if end - start > WIDE_GAP * size)


def join(before: str, after: str) -> str:
    """Two rows of one paragraph as one text: a hyphen at the end becomes a soft hyphen, which waits to be resolved by
    whoever has seen the document's words; scripts without spaces get none.
    """
    if not before or not after:
        return before + after
    if before[-1] in "-\u2010\u00ad" and len(before) > 1 and before[-2].isalpha() and after[0].isalpha():
        return before[:-1] + "\u00ad" + after
    if before[-1] in "-\u2010" and len(before) > 1 and before[-2].isalnum() and after[0].isalnum():
        return before + after
    if _UNSPACED.match(before[-1]) and _UNSPACED.match(after):
        return before + after
    return before + " " + after


def ends_sentence(text: str) -> bool:
    """Whether `text` ends with a full stop or the like, but for quotes, brackets and a note's mark."""
    return _ENDS_SENTENCE.search(text[-24:]) is not None


def _dominant(spans: Iterable[Span]) -> tuple[float, float]:
    """Size and baseline of most characters."""
    weight: dict[tuple[float, float], int] = {}
    for span in spans:
        key = (span.size, span.baseline)
        weight[key] = weight.get(key, 0) + len(span.text)
    return max(weight, key=lambda key: (weight[key], key[0], -key[1]))


def _spaced(before: Line, after: Line, left: str, right: str) -> bool:
    """Whether a space belongs between two pieces of a row."""
    if _UNSPACED.match(left[-1]) and _UNSPACED.match(right):
        return False
    gap = max(after.box.x0 - before.box.x1, before.box.x0 - after.box.x1)
    return gap > SPACE_GAP * before.box.width / max(1, len(left))


def _piece_text(piece: Line, size: float, baseline: float) -> str:
    text = ""
    for span in piece.spans:
        part = span.text
        if span.size <= SMALLER * size and baseline - span.baseline >= RAISED * size:
            part = _superscript(part, text)
        text += part
    if not text.isascii():
        text = _SPACE_WITHIN_CJK.sub("", text)
    return text


def _superscript(mark: str, before: str) -> str:
    """A raised mark in Unicode's superscripts where it has digits: `10⁻³`, `m²`, `as was shown.¹²`, so that no
    number is taken for another one and no word for a longer one. A raised letter after a letter is `^a`; ordinals
    (`1st`), stars and daggers stay as they are.
    """
    if any(map(str.isdecimal, mark)):
        return mark.translate(_SUPERSCRIPTS)
    if mark[:1].isalpha() and before[-1:].isalpha():
        return "^" + mark
    return mark
