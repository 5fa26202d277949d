"""Pages as a scanner sees them: typed sheets turned into black and white pixels, with or without a hidden text layer.

MuPDF draws the letters. In Courier of 10 points at 216 dots an inch every letter is 18 pixels wide and stands on whole
pixels, so that no rounding is left in which one machine could differ from another.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pymupdf

from pipeline.sample.pdf import A5, Image, Page, pdf
from pipeline.sample.typeset import Line, show

SCALE = 3  # pixels a point: 216 dots an inch
BLACK = 170  # of 255; typewriter letters are thin, and a scanner that asks for less loses their hairlines
MARGIN, LEADING, SIZE = 36, 13, 10
CHARACTERS, ROWS = 58, 40  # that fit a sheet
STRIPS = 4  # scanners hand over a sheet in slices


def sheets(paragraphs: Sequence[str]) -> list[list[str]]:
    """The lines of typed text, sheet by sheet; an empty line parts paragraphs."""
    rows = [row for text in paragraphs for row in ["", *textwrap.wrap(text, CHARACTERS)]][1:]
    return [rows[at : at + ROWS] for at in range(0, len(rows), ROWS)]


def typed(rows: Sequence[str]) -> str:
    """The operators that type one sheet."""
    top = A5[1] - MARGIN - SIZE
    return "".join(show(Line(row, "C", SIZE), MARGIN, top - at * LEADING) for at, row in enumerate(rows) if row)


def scanned(content: str) -> tuple[Image, ...]:
    """A sheet with this content as a scanner's strips, from the top."""
    with pymupdf.open(stream=pdf([Page(content, size=A5)], "sheet"), filetype="pdf") as document:
        pixels = document[0].get_pixmap(matrix=pymupdf.Matrix(SCALE, SCALE), colorspace=pymupdf.csGRAY)
    grey = np.frombuffer(pixels.samples, np.uint8).reshape(pixels.height, pixels.stride)[:, : pixels.width]
    return tuple(
        Image(pixels.width, len(strip), 1, run_lengths(np.packbits(strip > BLACK, axis=1).tobytes()), "RunLengthDecode")
        for strip in np.array_split(grey, STRIPS)
    )


def scan(paragraphs: Sequence[str], title: str, *, recognised: bool = False) -> bytes:
    """A scanned document; `recognised` puts its text over the pixels in render mode 3, as OCR programs do."""
    width, height = A5
    pages = []
    for rows in sheets(paragraphs):
        content = typed(rows)
        images = scanned(content)
        top, shown = float(height), ""
        for at, image in enumerate(images):
            top -= image.height / SCALE
            shown += f"q {width} 0 0 {image.height / SCALE:.4f} 0 {top:.4f} cm /I{at} Do Q\n"
        pages.append(Page(shown + (f"3 Tr\n{content}" if recognised else ""), images, A5))
    return pdf(pages, title, "ScanStation 2200")


def run_lengths(data: bytes) -> bytes:
    """The bytes in the coding of /RunLengthDecode (ISO 32000-1, section 7.4.5)."""
    coded, single = bytearray(), bytearray()

    def flush() -> None:
        for at in range(0, len(single), 128):
            part = single[at : at + 128]
            coded.append(len(part) - 1)
            coded.extend(part)
        single.clear()

    for value, group in groupby(data):
        count = len(list(group))
        if count < 3:
            single.extend([value] * count)
            continue
        flush()
        for at in range(0, count, 128):
            many = min(128, count - at)
            coded.extend([257 - many, value] if many > 1 else [0, value])
    flush()
    return bytes(coded + b"\x80")
