"""Draws a PDF again, line by line from top to bottom and across its columns, as some programs do.

In most of the corpus's files the order in which text is drawn is its reading order, so whoever keeps that order looks
good. Here every line is where it was, at its size and width, and only the order of drawing is another. Everything but
upright text is left out, fonts are Times, and characters that Windows-1252 does not have are lost: figures are for
comparison with those of others on the same file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pymupdf
from pdf_truth import ACROSS, Document

FONT = pymupdf.Font("tiro")
ENCODING = "cp1252"


def across(document: Document) -> Document:
    """The same document, drawn across its columns."""
    with pymupdf.open(stream=document.payload, filetype="pdf") as source, pymupdf.open() as drawn:
        for page in source.pages():
            new = drawn.new_page(width=page.rect.width, height=page.rect.height)
            new.insert_font(fontname="tiro")
            stream = drawn.get_new_xref()
            drawn.update_object(stream, "<<>>")
            drawn.update_stream(stream, "\n".join(_drawing(page)).encode(ENCODING), new=True)
            new.set_contents(stream)
        return replace(document, kind=ACROSS, payload=drawn.tobytes())


def _drawing(page: pymupdf.Page) -> Iterator[str]:
    """The operators that show each span, by its baseline, then from the left (ISO 32000-1, 9.4)."""
    blocks = page.get_text("dict", flags=pymupdf.TEXTFLAGS_TEXT)["blocks"]
    lines = [line for block in blocks for line in block.get("lines", ()) if line["dir"] == (1, 0)]
    spans = sorted((span for line in lines for span in line["spans"]), key=_place)
    for span in spans:
        text = unicodedata.normalize("NFKC", span["text"]).encode(ENCODING, errors="ignore").decode(ENCODING)
        natural = FONT.text_length(text, span["size"])
        if natural > 0:
            shown = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            x, y = span["origin"]
            stretch = 100 * (span["bbox"][2] - span["bbox"][0]) / natural
            at = f"1 0 0 1 {x:.2f} {page.rect.height - y:.2f} Tm"
            yield f"BT /tiro {span['size']:.2f} Tf {stretch:.2f} Tz {at} ({shown}) Tj ET"


def _place(span: dict[str, Any]) -> tuple[int, float]:
    return round(span["origin"][1]), span["origin"][0]
