"""The stage that gives PDFs their text. What it does with one is `stages.extract.pdf.document`, in the cage alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, PositiveInt

from stages.extract.pdf.ocr import JUDGEMENTS, Ocr, VisionOptions, backend
from stages.extract.pdf.route import PageFeatures, Routing
from stages.stage import Extracted, IsolatedStage, Limits, Refusal

_TYPES = {"int": pa.int64(), "float": pa.float64()}
_FEATURES = [pa.field(name, _TYPES[str(kind)]) for name, kind in PageFeatures.__annotations__.items()]
PAGE_SIGNALS = pa.struct([*(pa.field(name, pa.string()) for name in ("route", "reason", "ocr")), *_FEATURES])
"""Of one page: which way it went, why, what OCR made of it, and the numbers that the way was decided by."""


class ExtractPdf(IsolatedStage):
    """Gives a PDF the text of its pages; drops files that cannot be read, and those without text.

    Every page goes its own way: text that is shown, a layer that somebody's OCR left, or OCR of what there is to see.
    `fast` lays a page out by rules; running heads and page numbers are removed across pages, paragraphs joined over
    columns and pages. What the page does not show (hidden text under a usable layer, annotations, values of form
    fields) is not text.
    """

    kind: Literal["extract_pdf"] = "extract_pdf"
    extractor: Literal["fast", "model", "auto"] = "fast"
    routing: Routing = Routing()
    ocr: Ocr = "none"
    ocr_languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("eng",)
    """As Tesseract names them: eng, deu, chi_sim."""
    max_pages: PositiveInt = 2_000
    max_text_chars: PositiveInt = 20_000_000
    """Of a document: a form that is drawn again and again makes much text of a small file."""
    max_ocr_pages: PositiveInt = 1_000
    """Of a document, where somebody does OCR: each may take `page_cpu_seconds`."""
    cpu_seconds: PositiveInt = 240
    """Of a document, without OCR and model."""
    page_cpu_seconds: PositiveInt = 30
    """Of one page in each of its turns (reading, OCR, model), and of opening the document."""

    handles: ClassVar[tuple[str, ...]] = ("pdf",)
    requires: ClassVar[tuple[str, ...]] = ("pymupdf",)
    reasons: ClassVar[tuple[str, ...]] = (
        *("http_error_status", "empty_payload", "not_a_pdf", "corrupt", "encrypted", "no_pages", "too_many_pages"),
        *("too_much_text", "too_many_ocr_pages", "no_text", "needs_ocr", *sorted(JUDGEMENTS)),
    )
    signals: ClassVar[pa.DataType | None] = pa.struct(
        [
            pa.field("route", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("ocr_share", pa.float64()),
            pa.field("furniture_chars", pa.int64()),
            pa.field("truncated", pa.string()),
            pa.field("producer", pa.string()),
            pa.field("pages", pa.list_(PAGE_SIGNALS)),
        ]
    )

    @property
    def limits(self) -> Limits:
        """What one record may cost; while a page is read elsewhere the process is silent."""
        silence = self.silence_seconds
        if isinstance(self.ocr, VisionOptions):
            silence = max(silence, self.ocr.silence_seconds)
        return Limits(self.cpu_seconds, self.memory_mb * 2**20, silence)

    def load(self) -> None:
        """Raises ValueError where the OCR that is asked for cannot work on this machine."""
        backend(self.ocr, self.ocr_languages)

    def prepare(self) -> None:
        if self.extractor == "fast":  # PyMuPDF loads its layout network where it can: 60 MB, 0.4 s and three threads
            sys.modules.setdefault("pymupdf.layout", None)  # type: ignore[arg-type]
        importlib.import_module("stages.extract.pdf.document")
        if self.extractor != "fast":
            importlib.import_module("stages.extract.pdf.model").load()

    def process(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal:
        from stages.extract.pdf.document import extract  # MuPDF and its models take seconds and 200 MB: here alone

        return extract(self, payload, record.get("truncated"))
