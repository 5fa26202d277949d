"""PDFs for tests, drawn as their producers draw them: text at places, rulings, images."""

from __future__ import annotations

from typing import Any, Self

import pymupdf


class Drawn:
    """A document that grows; every method draws on its last page. Points from the upper left corner."""

    def __init__(self, width: float = 595, height: float = 842) -> None:
        self._document = pymupdf.open()
        self.page(width, height)

    def page(self, width: float = 595, height: float = 842) -> Self:
        """A new page."""
        self._page = self._document.new_page(width=width, height=height)
        return self

    def text(self, x: float, y: float, text: str, size: float = 11, font: str = "helv", **how: Any) -> Self:
        """Text with its baseline at y, in one of the base 14 fonts, or china-s, japan, korea. `how` is insert_text's:
        rotate, render_mode, fill_opacity, morph …
        """
        self._page.insert_text((x, y), text, fontsize=size, fontname=font, **how)
        return self

    def lines(self, x: float, y: float, text: str, size: float = 11, font: str = "helv", **how: Any) -> Self:
        """Lines 1.2 sizes apart, each drawn on its own."""
        for number, line in enumerate(text.splitlines()):
            self.text(x, y + 1.2 * size * number, line, size, font, **how)
        return self

    def unmapped(self, x: float, y: float, text: str, size: float = 11) -> Self:
        """Text in an embedded font without a map to Unicode: it is seen, and nobody knows its characters."""
        self._page.insert_font(fontname="unmapped", fontbuffer=pymupdf.Font("helv").buffer)
        self._page.insert_text((x, y), text, fontsize=size, fontname="unmapped")
        for number in range(1, self._document.xref_length()):
            if self._document.xref_get_key(number, "ToUnicode")[0] != "null":
                self._document.xref_set_key(number, "ToUnicode", "null")
        return self

    def rule(self, x0: float, y0: float, x1: float, y1: float, width: float = 0.5) -> Self:
        """A line."""
        self._page.draw_line((x0, y0), (x1, y1), width=width)
        return self

    def filled(self, x0: float, y0: float, x1: float, y1: float, grey: float = 0.9) -> Self:
        """A grey area without a border."""
        self._page.draw_rect((x0, y0, x1, y1), fill=(grey, grey, grey), color=None, width=0)
        return self

    def image(self, x0: float, y0: float, x1: float, y1: float, picture: bytes | None = None) -> Self:
        """A picture, or a grey one, over a rectangle."""
        if picture is None:
            grey = pymupdf.Pixmap(pymupdf.csGRAY, pymupdf.IRect(0, 0, 4, 4), False)
            grey.clear_with(200)
            picture = grey.tobytes("png")
        self._page.insert_image((x0, y0, x1, y1), stream=picture, keep_proportion=False)
        return self

    def outlined(self, x: float, y: float, text: str, size: float = 11) -> Self:
        """Bars in place of letters: paths of their size, not text."""
        for column, letter in enumerate(text):
            if letter != " ":
                left = x + column * size * 0.5
                self._page.draw_rect((left, y - size * 0.7, left + size * 0.4, y), fill=(0, 0, 0), width=0)
        return self

    def scanned(self, dpi: int = 200) -> Drawn:
        """The same pages as pictures of themselves."""
        first, *others = (self._document[number] for number in range(self._document.page_count))
        scans = Drawn(first.rect.width, first.rect.height)
        for page in (first, *others):
            width, height = page.rect.width, page.rect.height
            if page is not first:
                scans.page(width, height)
            scans.image(0, 0, width, height, page.get_pixmap(dpi=dpi, colorspace=pymupdf.csGRAY).tobytes("png"))
        return scans

    def document(self) -> pymupdf.Document:
        """As a reader opens it."""
        return pymupdf.open(stream=self.bytes(), filetype="pdf")

    def bytes(self) -> bytes:
        """The file."""
        data: bytes = self._document.tobytes(garbage=1)
        return data
