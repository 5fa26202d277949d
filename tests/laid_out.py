"""What the fast layout makes of drawn pages, without routing and tables."""

from __future__ import annotations

from drawn import Drawn

from stages.extract.pdf.compose import compose
from stages.extract.pdf.content import Block, Page
from stages.extract.pdf.furniture import without_furniture
from stages.extract.pdf.layout import lay_out
from stages.extract.pdf.reading import read_page


def pages_of(drawn: Drawn) -> list[Page]:
    """The pages as read."""
    with drawn.document() as document:
        return [read_page(page, number) for number, page in enumerate(document)]


def blocks_of(drawn: Drawn) -> list[Block]:
    """The blocks of all pages, furniture and all."""
    return [block for page in pages_of(drawn) for block in lay_out(page)]


def composed(drawn: Drawn) -> tuple[str, list[int]]:
    """Text and ends of pages, without furniture."""
    pages, _ = without_furniture(pages_of(drawn))
    return compose([lay_out(page) for page in pages])


def text_of(drawn: Drawn) -> str:
    """The text of all pages, without furniture."""
    return composed(drawn)[0]


def paragraphs_of(drawn: Drawn) -> list[str]:
    """The text's paragraphs."""
    return text_of(drawn).split("\n\n")
