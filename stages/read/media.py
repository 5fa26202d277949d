"""What a payload is, whatever its server called it, and whether a PDF is all there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from stages.read.events import WarcRecord

HTML = frozenset({"text/html", "application/xhtml+xml"})
PDF = frozenset({"application/pdf", "application/x-pdf"})
# Types that say nothing: servers send them for whatever they have.
_VAGUE = frozenset(
    {
        "",
        "text/plain",
        "application/octet-stream",
        "application/unknown",
        "unknown/unknown",
        "application/xml",
        "text/xml",
        "application/force-download",
        "application/download",
        "application/x-download",
        "binary/octet-stream",
    }
)
_HTML_MARKS = (b"<!doctype html", b"<html", b"<head", b"<body")
_HEAD = 1024
"""Bytes in which a type shows: of a PDF's header, "Acrobat viewers require only that the header appear somewhere within
the first 1024 bytes of the file" (PDF Reference 1.7, appendix H, note 13).
"""
_PDF_HEADER = re.compile(rb"%pdf-\d", re.IGNORECASE)
_TAIL = 2048
"""Bytes in which the end of a PDF shows; the same appendix has 1024 (note 18), and servers append things."""
_LINEARIZED = re.compile(
    rb"/Linearized\b[^>]{0,256}?/L\s{1,8}(\d{1,12})\b|/L\s{1,8}(\d{1,12})\b[^>]{0,256}?/Linearized\b"
)


def media_of(record: WarcRecord) -> tuple[str, str]:
    """(media, the type that decided it): what the bytes show, else what the server declared, what the crawler
    identified, and for a PDF at last its URL.
    """
    head = record.payload[:_HEAD].lstrip().lower()
    if looks_like_pdf(record.payload):
        return "pdf", "application/pdf"
    shows_html = any(mark in head for mark in _HTML_MARKS)
    declared = record.mime in PDF or record.identified in PDF
    if declared and shows_html:
        return "html", "text/html"
    if declared:
        return "pdf", "application/pdf"
    found = record.identified or record.mime
    if found in HTML:
        return "html", found
    if record.type == "conversion" and found == "text/plain":
        return "text", found
    if found in _VAGUE and shows_html:
        return "html", "text/html"
    if found in _VAGUE and record.payload and _path(record.url).lower().endswith(".pdf"):
        return "pdf", found
    return "other", found


def looks_like_pdf(payload: bytes) -> bool:
    """Whether a PDF's header stands in the first kilobyte, before any sign that the payload is a page about it."""
    head = payload[:_HEAD].lower()
    header = _PDF_HEADER.search(head)
    return header is not None and not any(mark in head[: header.start()] for mark in _HTML_MARKS)


def pdf_truncation(payload: bytes) -> str | None:
    """Why a PDF's own structure says that its end is missing; None where it does not.

    `short_of_linearized_length`: it is shorter than it says in its first object (ISO 32000-1, F.3.3); `no_end`: neither
    `startxref` nor `%%EOF` stand where a file ends (ISO 32000-1, 7.5.5). Damage elsewhere is not looked for.
    """
    linearized = _LINEARIZED.search(payload, 0, _HEAD)
    if linearized is not None and len(payload) < int(linearized[1] or linearized[2]):
        return "short_of_linearized_length"
    tail = payload[-_TAIL:]
    return None if b"startxref" in tail or b"%%EOF" in tail else "no_end"


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
