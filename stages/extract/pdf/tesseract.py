"""OCR by Tesseract, which PyMuPDF brings along; its language data come from the system.

One page takes seconds of processor time. MuPDF gives places and characters but not Tesseract's confidence, so that
nonsense, which photographs and handwriting turn into, is told from its characters.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path

import pymupdf
import regex

from stages.extract.pdf.content import Page
from stages.extract.pdf.ocr import TesseractOptions, Unread
from stages.extract.pdf.opening import Unreadable, reading
from stages.extract.pdf.reading import TEXT_FLAGS, read_page

_DEBIAN = "/usr/share/tesseract-ocr/*/tessdata"
_LANGUAGE = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)?")
"""`eng`, `chi_sim`, `script/Latin`."""
_SCAN_AREA = 0.5
"""An image that covers so much of the page sets the resolution."""
_LEAST_SCAN_DPI = 150
"""Coarser scans are scaled up to it: a letter `x` of 10 points is then 10 pixels high."""
_LEAST_DPI = 36
"""Pages so large that fewer are left have no readable letter."""


class TesseractOcr:
    """Tesseract over whole pages. Raises ValueError where the data of a language are not installed."""

    def __init__(self, options: TesseractOptions, languages: Sequence[str]) -> None:
        self._options = options
        self._tessdata = find_tessdata(languages)
        self._languages = "+".join(languages)

    def recognise(self, document: pymupdf.Document, numbers: Sequence[int]) -> Iterator[tuple[int, Page | Unread]]:
        """A page at a time, each when it is asked for."""
        for number in numbers:
            yield number, self._page(document, number)

    def _page(self, document: pymupdf.Document, number: int) -> Page | Unread:
        try:
            with reading(f"OCR of page {number + 1}"):
                mupdf_page = document.load_page(number)
                dpi = dots(mupdf_page, self._options)
                if dpi < _LEAST_DPI:
                    return Unread(
                        "ocr_failed", f"a page of {mupdf_page.rect.width:.0f} by {mupdf_page.rect.height:.0f} points"
                    )
                textpage = mupdf_page.get_textpage_ocr(
                    flags=TEXT_FLAGS, language=self._languages, dpi=dpi, full=True, tessdata=self._tessdata
                )
                page = read_page(mupdf_page, number, textpage)
        except Unreadable as error:
            return Unread("ocr_failed", str(error))
        for line in page.lines:
            for span in line.spans:
                span.visible = True  # Tesseract's text lies hidden over its image
        return self._judged(page)

    def _judged(self, page: Page) -> Page | Unread:
        texts = [(span.font, span.text) for line in page.lines for span in line.spans]
        share = word_share(text for _, text in texts)
        if share is None:
            return Unread("ocr_empty")
        if share < self._options.min_word_share:
            return Unread(
                "ocr_nonsense", f"{share:.2f} of its characters are in words, wanted are {self._options.min_word_share}"
            )
        return page


def dots(mupdf_page: pymupdf.Page, options: TesseractOptions) -> int:
    """Dots per inch to render a page at: those of its largest image, which then need no scaling, within the options'
    bounds; 0 for a page without area.
    """
    width, height = mupdf_page.rect.width, mupdf_page.rect.height
    if not (0 < width < math.inf and 0 < height < math.inf):
        return 0
    images = [
        (pymupdf.Rect(each["bbox"]).get_area(), each["width"] * each["height"]) for each in mupdf_page.get_image_info()
    ]
    area, pixels = max(images, default=(0.0, 0))
    dpi = options.dpi
    if area > _SCAN_AREA * width * height:
        own = 72 * math.sqrt(pixels / area)
        dpi = round(min(max(own, _LEAST_SCAN_DPI), options.dpi))
    return min(dpi, int(72 * math.sqrt(options.max_pixels / (width * height))))


def find_tessdata(languages: Sequence[str]) -> str:
    """The folder that has the data of all these languages: TESSDATA_PREFIX, or Debian's. Raises ValueError."""
    if not languages:
        raise ValueError("ocr_languages: name at least one, such as eng")
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise ValueError(
                f"ocr_languages: {language!r} is no name of Tesseract's, such as eng, deu, chi_sim, script/Latin"
            )
    prefix = os.environ.get("TESSDATA_PREFIX")
    folders = [prefix] if prefix else sorted(glob(_DEBIAN), reverse=True)
    missing = list(languages)
    for folder in folders:
        missing = [each for each in languages if not (Path(folder) / f"{each}.traineddata").is_file()]
        if not missing:
            return folder
    packages = " ".join(f"tesseract-ocr-{each.replace('_', '-').replace('/', '-').lower()}" for each in missing)
    where = f" in {prefix} (TESSDATA_PREFIX)" if prefix else ""
    raise ValueError(
        f"ocr: Tesseract's data for {', '.join(missing)} are not installed{where}: "
        f"apt-get install {packages}, or write ocr: none"
    )


_WORD = regex.compile(
    r"[^\p{L}\p{N}]*+"
    r"(?: (?=(?:[^\p{L}\p{M}]*+[\p{L}\p{M}]){3}) [\p{L}\p{M}]++(?:[-'’.][\p{L}\p{M}]++)*+ | \p{N}[\p{N}.,:/%-]{2,}+ )"
    r"[^\p{L}\p{N}]*+",
    regex.VERBOSE,
)
"""Three letters or marks and more, or a number of three characters; with punctuation around, and little within."""
_UNPARTED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""Scripts whose words are not parted: every character counts."""


def word_share(texts: Iterable[str]) -> float | None:
    """Share of the characters that are in words, without white space; None where there are none."""
    tokens = " ".join(texts).split()
    if not tokens:
        return None
    words = sum(len(token) if _WORD.fullmatch(token) else len(_UNPARTED.findall(token)) for token in tokens)
    return words / sum(map(len, tokens))
