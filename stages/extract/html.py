"""Main text of web pages, by trafilatura (Barbaresi, 2021) or resiliparse (Bevendorff et al., 2018)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from stages.read.charset import decode_html
from stages.stage import Extracted, IsolatedStage, Refusal

_MODULES = {"trafilatura": "trafilatura", "resiliparse": "resiliparse.extract.html2text"}


class ExtractHtml(IsolatedStage):
    """Gives an HTML page its main text; drops error pages and pages without text.

    FineWeb used trafilatura with `favor_precision` and without comments. Its `deduplicate` is left off: it compares
    with pages seen before by the same process, so its result depends on the order of arrival.
    """

    kind: Literal["extract_html"] = "extract_html"
    extractor: Literal["trafilatura", "resiliparse"] = "trafilatura"
    favor_precision: bool = True
    favor_recall: bool = False
    include_comments: bool = False
    include_tables: bool = True
    fast: bool = False
    """trafilatura only: leave out its fall-back extractors."""

    handles: ClassVar[tuple[str, ...]] = ("html",)
    reasons: ClassVar[tuple[str, ...]] = ("http_error_status", "empty_payload", "no_main_text")

    def load(self) -> None:
        """Import the extractor here, where a fault ends the plan, before it fails every page in the child."""
        try:
            importlib.import_module(
                "trafilatura" if self.extractor == "trafilatura" else "resiliparse.extract.html2text"
            )
        except ImportError as error:
            raise ValueError(f"extractor {self.extractor} cannot be imported: {error}") from error

    def process(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal:
        if not payload.strip():
            return Refusal("empty_payload", value=len(payload))
        html, _ = decode_html(payload, record["charset"])
        text = self._trafilatura(html) if self.extractor == "trafilatura" else self._resiliparse(html)
        return Extracted(text) if text.strip() else Refusal("no_main_text", value=len(payload))

    def _trafilatura(self, html: str) -> str:
        from trafilatura import extract

        text = extract(
            html,
            favor_precision=self.favor_precision,
            favor_recall=self.favor_recall,
            include_comments=self.include_comments,
            include_tables=self.include_tables,
            fast=self.fast,
            deduplicate=False,
        )
        return text or ""

    def _resiliparse(self, html: str) -> str:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree

        tree = HTMLTree.parse(html)
        text: str = extract_plain_text(
            tree,
            main_content=True,
            alt_texts=False,
            links=False,
            comments=self.include_comments,
            preserve_formatting=True,
        )
        return text
