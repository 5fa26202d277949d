"""Opening a PDF, or saying in a word why it is none that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pymupdf

from stages.stage import Refusal

_FAULTS = (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase)
"""What PyMuPDF raises for files that it cannot make sense of."""
_OUT_OF_MEMORY = ("malloc", "calloc", "realloc", "out of memory")


class Unreadable(ValueError):
    """A document or page that MuPDF cannot make sense of; one line."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raises Unreadable for what MuPDF refuses in the block, and MemoryError where it ran out of memory."""
    try:
        yield
    except _FAULTS as error:
        said = " ".join(str(error).split())[:200]
        if any(word in said.lower() for word in _OUT_OF_MEMORY):
            raise MemoryError(said) from error
        raise Unreadable(f"{what}: {said}") from error


def open_pdf(payload: bytes, max_pages: int) -> pymupdf.Document | Refusal:
    """The document, which asks for no password and has a page at least; damage that MuPDF can repair is repaired.

    A file that opens with the empty password is not counted as encrypted: everybody may read it. Raises MemoryError.
    """
    if not payload.strip(b"\0\t\n\f\r "):
        return Refusal("empty_payload", value=len(payload))
    try:
        with reading("open"):
            document = pymupdf.open(stream=payload, filetype="pdf")
            if not document.is_pdf:
                return Refusal("not_a_pdf", value=len(payload))
            if document.needs_pass:
                return Refusal("encrypted")
            pages = document.page_count
    except Unreadable as error:
        corrupt = b"%PDF" in payload[:1024] or b" obj" in payload
        return Refusal("corrupt" if corrupt else "not_a_pdf", value=len(payload), detail=str(error))
    if pages == 0:
        return Refusal("no_pages", value=0, threshold=1)
    if pages > max_pages:
        return Refusal("too_many_pages", value=pages, threshold=max_pages)
    return document
