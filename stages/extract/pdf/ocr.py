"""What a recipe says about OCR, what it answers for a page, and the backend that does it.

Loads neither MuPDF nor a client: recipes are checked where nothing is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from stages.extract.pdf.content import Block, Page
from stages.stage import Reaches

if TYPE_CHECKING:
    import pymupdf

_PROMPT = (
    "Write down all text of this page of a document as Markdown, in the order in which a person would read it. "
    "Leave out running heads, running feet and page numbers. Write tables as HTML tables and formulas in LaTeX. "
    "Describe no pictures, add nothing of your own, and do not translate. If there is no text, answer with nothing."
)

MAX_WAIT_SECONDS = 60.0
"""Between two attempts at one page, whatever the server asks for."""


class TesseractOptions(BaseModel):
    """Of `ocr: tesseract`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dpi: Annotated[int, Field(ge=72, le=600)] = 200
    """The most; scans of fewer dots are read at their own, down to 150. On journal pages made into scans (rendered at
    150, 200 and 300 dpi, JPEG; 6 to 8 pages each) most was found at 150, 200 and 200: of the last 0.806 of word
    3-grams, and 0.782 at 300.
    """
    max_pixels: PositiveInt = 12_000_000
    """Larger pages are rendered at fewer dots; A4 at 300 dpi has 8.7 million pixels."""
    min_word_share: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Share of characters that are in words; a page with less is nonsense. On the corpus's scans running text had 0.83
    and more; handwriting, Chinese read as English, pages on their heads and photographs 0.73 and less, and so a map.
    """


class VisionOptions(BaseModel):
    """Of a vision model behind an OpenAI-compatible endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Annotated[str, Reaches("endpoint")]
    """`http://host:8000/v1`, or the whole address of its chat completions."""
    model: Annotated[str, Field(min_length=1)]
    prompt: str = _PROMPT
    api_key_env: Annotated[str | None, Reaches("variable")] = None
    """Name of the environment variable that holds the key."""
    longest_side: Annotated[int, Field(ge=64, le=8192)] = 1288
    """Pixels; 1288 is what olmOCR was trained on."""
    max_tokens: PositiveInt = 8000
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Pages of one document in flight."""
    timeout_seconds: PositiveFloat = 300.0
    """Of one answer."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 4

    @property
    def silence_seconds(self) -> int:
        """The longest that a page may take without using the processor: every attempt and wait used up."""
        return math.ceil(self.attempts * (self.timeout_seconds + MAX_WAIT_SECONDS))

    @field_validator("endpoint")
    @classmethod
    def _complete(cls, value: str) -> str:
        url = urlsplit(value.rstrip("/"))
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ValueError("write an http or https address such as http://host:8000/v1, and no key in it")
        return url.geturl() if url.path.endswith("/chat/completions") else f"{url.geturl()}/chat/completions"

    @field_validator("api_key_env")
    @classmethod
    def _name_only(cls, value: str | None) -> str | None:
        if value is not None and not value.isidentifier():
            raise ValueError("write the name of an environment variable, not the key")
        return value


def _chosen(value: Any) -> Any:
    """Options of the right kind, so that a fault in them is told once and not for each kind there is."""
    if value in ("none", "tesseract") or isinstance(value, TesseractOptions | VisionOptions):
        return value
    if not isinstance(value, dict):
        raise ValueError("write none, tesseract, {dpi: 200, …} or {endpoint: URL, model: NAME, …}")
    options = VisionOptions if value.keys() & VisionOptions.model_fields.keys() else TesseractOptions
    unknown = [str(name) for name in value if name not in options.model_fields]
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown; known: {', '.join(options.model_fields)}")
    try:
        return options.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        said = "missing" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        raise ValueError(f"{'.'.join(map(str, fault['loc']))}: {said}") from error


Choice = Literal["none", "tesseract"] | TesseractOptions | VisionOptions
Ocr = Annotated[Choice, BeforeValidator(_chosen)]
"""The field of a stage: `none`, `tesseract`, `{dpi: 300}` (Tesseract's options) or `{endpoint: URL, model: NAME}`."""

FAULTS = frozenset(
    {"ocr_failed", "ocr_unreachable", "ocr_timeout", "ocr_overloaded", "ocr_http_error", "ocr_bad_answer"}
)
"""Reasons of `Unread` that are faults of processing, which another attempt may not meet."""
JUDGEMENTS = frozenset({"ocr_empty", "ocr_nonsense", "ocr_refused", "ocr_repeats", "ocr_truncated"})
"""Reasons of `Unread` that judge the page, or what the model makes of it."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why OCR has no text of a page; `detail` is one line."""

    reason: str
    detail: str | None = None

    @property
    def fault(self) -> bool:
        return self.reason in FAULTS


Recognised = Page | list[Block] | Unread
"""A page with places, to be laid out as any other; or blocks in order, where the backend laid out; or neither."""


class Backend(Protocol):
    """Does OCR of pages of an open document."""

    def recognise(self, document: pymupdf.Document, numbers: Sequence[int]) -> Iterator[tuple[int, Recognised]]:
        """Each of the pages (numbers from 0) and what became of it, in order."""


def backend(ocr: Choice, languages: Sequence[str]) -> Backend | None:
    """What does the OCR, ready to; None where nobody does. Raises ValueError where it cannot work on this machine."""
    if ocr == "none":
        return None
    if isinstance(ocr, VisionOptions):
        from stages.extract.pdf.vision import VisionOcr

        return VisionOcr(ocr)
    from stages.extract.pdf.tesseract import TesseractOcr

    return TesseractOcr(ocr if isinstance(ocr, TesseractOptions) else TesseractOptions(), languages)
