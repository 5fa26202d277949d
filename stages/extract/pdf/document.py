"""A PDF open before us, read page by page: routed, laid out, and joined into one text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pymupdf

from stages.extract.pdf.compose import compose
from stages.extract.pdf.content import Block, Line, Page, Table
from stages.extract.pdf.difficulty import DIFFICULT, difficulty
from stages.extract.pdf.furniture import without_furniture
from stages.extract.pdf.layout import lay_out
from stages.extract.pdf.model import lay_out_by_model
from stages.extract.pdf.ocr import Unread, VisionOptions, backend
from stages.extract.pdf.opening import Unreadable, open_pdf, reading
from stages.extract.pdf.reading import read_page
from stages.extract.pdf.route import PageFeatures, PageRoute, measure, route, route_document
from stages.extract.pdf.tables import find_tables
from stages.stage import Extracted, Refusal

if TYPE_CHECKING:
    from stages.extract.pdf.stage import ExtractPdf

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


@dataclass(slots=True)
class _Leaf:
    """What is known of one page so far."""

    routed: PageRoute
    features: PageFeatures | None = None
    page: Page = field(default_factory=lambda: Page(0, 0.0, 0.0, []))
    tables: list[Table] = field(default_factory=list)
    blocks: list[Block] | None = None
    """Where somebody else laid the page out."""
    extractor: str = "fast"
    unread: Unread | None = None
    """Why OCR has nothing of it."""


def extract(stage: ExtractPdf, payload: bytes, truncated: str | None) -> Extracted | Refusal:
    """The text of a PDF's bytes, or why there is none. Raises MemoryError."""
    stage.limit_cpu(stage.page_cpu_seconds)
    opened = open_pdf(payload, stage.max_pages)
    if isinstance(opened, Refusal):
        return opened
    with opened as document:
        try:
            return _Reader(stage, document).read(truncated)
        finally:
            pymupdf.TOOLS.store_shrink(100)  # what one document left behind is nothing to the next
            pymupdf.TOOLS.reset_mupdf_warnings()


class OcrFailed(RuntimeError):
    """Most of a document's text is on pages that OCR did not come to, by a fault of the service or of MuPDF's."""


class _Reader:
    """Reads one document with a stage's settings."""

    def __init__(self, stage: ExtractPdf, document: pymupdf.Document) -> None:
        self._stage, self._document = stage, document
        self._backend = backend(stage.ocr, stage.ocr_languages)
        self._start = time.process_time()

    def read(self, truncated: str | None) -> Extracted | Refusal:
        """All pages. Raises OcrFailed where the document would be without most of its text for no fault of its own."""
        leaves, characters, most = [], 0, self._stage.max_text_chars
        for leaf in self._leaves():
            leaves.append(leaf)
            characters += sum(len(span.text) for line in leaf.page.lines for span in line.spans)
            if characters > most:
                return Refusal("too_much_text", value=characters, threshold=most, detail=f"{len(leaves)} pages")
        spent = time.process_time() - self._start
        wanted = [number for number, leaf in enumerate(leaves) if leaf.routed.route == "ocr"]
        if self._backend is not None and len(wanted) > self._stage.max_ocr_pages:
            return Refusal("too_many_ocr_pages", value=len(wanted), threshold=self._stage.max_ocr_pages)
        self._recognise(leaves, wanted)
        self._stage.limit_cpu(self._stage.cpu_seconds - spent)
        pages, furniture = without_furniture([leaf.page for leaf in leaves])
        blocks = [self._laid_out(leaf, page) for leaf, page in zip(leaves, pages)]
        text, page_ends = compose(blocks)
        summary = route_document([leaf.routed for leaf in leaves])
        metadata = self._document.metadata
        signals = {
            "route": summary.route,
            "reason": summary.reason,
            "ocr_share": summary.ocr_share,
            "furniture_chars": sum(len(span.text) for lines in furniture for line in lines for span in line.spans),
            "truncated": truncated,
            "producer": _said(metadata, "producer") or _said(metadata, "creator"),
            "pages": [_page_signals(leaf) for leaf in leaves],
        }
        refusal = self._without_text(leaves, text)
        if refusal is not None:
            return replace(refusal, signals=signals)
        extractors = sorted({leaf.extractor for leaf, some in zip(leaves, blocks) if some})
        return Extracted(text, {"page_ends": page_ends, "extractor": "+".join(extractors)}, signals)

    def _laid_out(self, leaf: _Leaf, page: Page) -> list[Block]:
        """The blocks of a page without furniture, in the order of reading."""
        if leaf.blocks is not None:
            return leaf.blocks
        wanted = self._stage.extractor
        if page.lines and (wanted == "model" or (wanted == "auto" and difficulty(page) >= DIFFICULT)):
            self._stage.limit_cpu(self._stage.page_cpu_seconds)
            try:
                with reading(f"page {page.number + 1}"):
                    mupdf_page = self._document.load_page(page.number)
            except Unreadable:  # it was there before MuPDF repaired the file
                return lay_out(page, leaf.tables)
            leaf.extractor = "model" if leaf.extractor == "fast" else leaf.extractor
            return lay_out_by_model(mupdf_page, page, leaf.tables)
        return lay_out(page, leaf.tables)

    def _without_text(self, leaves: Sequence[_Leaf], text: str) -> Refusal | None:
        """Why the document is dropped, if it is: too many pages have text that nobody could read, or all have none."""
        content = [leaf for leaf in leaves if leaf.routed.route != "empty"]
        unread = [leaf.unread for leaf in content if leaf.unread is not None]
        share, most = len(unread) / max(1, len(content)), self._stage.routing.max_ocr_share
        if share > most:
            (reason, count), *_ = Counter(each.reason for each in unread).most_common(1)
            said = next(each for each in unread if each.reason == reason)
            if said.fault:
                raise OcrFailed(f"{reason} on {count} of {len(leaves)} pages: {said.detail}")
            return Refusal(reason, share, most, said.detail)
        if not text.strip():
            return Refusal("no_text", value=0, threshold=1, detail=f"{len(leaves)} pages")
        return None

    def _recognise(self, leaves: Sequence[_Leaf], wanted: Sequence[int]) -> None:
        """Have those pages read that need OCR."""
        if self._backend is None:
            for number in wanted:
                leaves[number].unread = Unread("needs_ocr", leaves[number].routed.reason)
            return
        answers = self._backend.recognise(self._document, wanted)
        at_once = len(wanted) if isinstance(self._stage.ocr, VisionOptions) else 1
        for number in wanted:
            self._stage.limit_cpu(self._stage.page_cpu_seconds * at_once)
            _, answer = next(answers)
            leaf = leaves[number]
            if isinstance(answer, Unread):
                leaf.unread = answer
                continue
            leaf.extractor = "ocr"
            if isinstance(answer, Page):
                leaf.page = replace(answer, styled=False)
            else:
                leaf.blocks = answer

    def _leaves(self) -> Iterator[_Leaf]:
        """Each page read and routed. A page that MuPDF cannot make sense of is empty."""
        for number in range(self._document.page_count):
            self._limit()
            try:
                with reading(f"page {number + 1}"):
                    yield self._leaf(self._document.load_page(number), number)
            except Unreadable:
                yield _Leaf(PageRoute("empty", "unreadable"))

    def _limit(self) -> None:
        """Begin a page: it may use its own processor time, and what is left of the document's."""
        left = self._stage.cpu_seconds - (time.process_time() - self._start)
        self._stage.limit_cpu(min(self._stage.page_cpu_seconds, left))

    def _leaf(self, mupdf_page: pymupdf.Page, number: int) -> _Leaf:
        page = read_page(mupdf_page, number)
        features = measure(mupdf_page, page)
        leaf = _Leaf(route(features, self._stage.routing), features, page)
        if leaf.routed.route == "text":
            page.lines = [line for line in map(_visible, page.lines) if line is not None]
        elif leaf.routed.route == "hidden_text":
            page.lines = [_shown(line) for line in page.lines]
            page.styled = False
        else:
            page.lines = []
        leaf.tables = find_tables(mupdf_page, page)
        return leaf


def _page_signals(leaf: _Leaf) -> dict[str, Any]:
    ocr = leaf.unread.reason if leaf.unread is not None else "read" if leaf.extractor == "ocr" else None
    return {**asdict(leaf.routed), "ocr": ocr, **(asdict(leaf.features) if leaf.features is not None else {})}


def _visible(line: Line) -> Line | None:
    """What is to be seen of a line."""
    spans = [span for span in line.spans if span.visible]
    if len(spans) == len(line.spans):
        return line
    return replace(line, spans=spans) if spans else None


def _shown(line: Line) -> Line:
    """A line of a layer that lies there to be found and not to be seen, as text."""
    return replace(line, spans=[replace(span, visible=True) for span in line.spans])


def _said(metadata: Mapping[str, Any] | None, name: str) -> str | None:
    """What a document says of itself, cut to a line."""
    said = (metadata or {}).get(name)
    return " ".join(str(said).split())[:200] if said else None
