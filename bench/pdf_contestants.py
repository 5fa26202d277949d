"""What makes text of a PDF: crawlmill's extractors and their peers, each called in this process for one file.

A contestant takes the bytes and gives the text page by page; opening is part of what it does. Nobody uses OCR. What
they cost is CPU time of this process and of the children that it waited for, which also counts the threads of a model.
"""

from __future__ import annotations

import importlib.util
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import pymupdf

Pages = list[str]
Contestant = Callable[[bytes, Mapping[str, Any]], Pages]
"""bytes of the file, the mapping's line -> the text of each page; joined they are the file's."""


class Refused(Exception):
    """The contestant gives no text for the file; the message says why."""


@dataclass(frozen=True)
class Result:
    """What a contestant made of one file."""

    pages: Pages
    cpu_seconds: float
    refusal: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pages)


def run(contestant: Contestant, payload: bytes, record: Mapping[str, Any]) -> Result:
    """Let a contestant take one file, and say what it cost; what it refuses has no text."""
    start = _cpu_seconds()
    try:
        pages, refusal = contestant(payload, record), None
    except Refused as refused:
        pages, refusal = [], str(refused)
    return Result(pages, _cpu_seconds() - start, refusal)


def make(name: str) -> Contestant:
    """A contestant by name, loaded and warm: what it does once for all files is not counted. Raises ValueError."""
    if name not in CONTESTANTS:
        raise ValueError(f"{name}: no such contestant; there are {', '.join(CONTESTANTS)}")
    contestant = CONTESTANTS[name]()
    with suppress(Refused):  # a page of two words may well be
        contestant(_warm_up(), {})
    return contestant


def missing(name: str) -> str | None:
    """What a contestant needs and this machine does not have."""
    need = NEEDS.get(name)
    return need if need and not (shutil.which(need) or _is_installed(need)) else None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def _plain() -> Contestant:
    return lambda payload, record: [page.get_text() + "\n" for page in _open(payload).pages()]


def _sorted() -> Contestant:
    return lambda payload, record: [page.get_text(sort=True) + "\n" for page in _open(payload).pages()]


def _pymupdf4llm() -> Contestant:
    import pymupdf4llm

    def extract(payload: bytes, record: Mapping[str, Any]) -> Pages:
        with redirect_stdout(sys.stderr):  # it talks
            chunks = pymupdf4llm.to_markdown(_open(payload), page_chunks=True, use_ocr=False)
        return [chunk["text"] + "\n" for chunk in chunks]

    return extract


def _pdftotext(*options: str) -> Callable[[], Contestant]:
    def extract(payload: bytes, record: Mapping[str, Any]) -> Pages:
        command = ["pdftotext", *options, "-", "-"]
        done = subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if done.returncode:
            raise Refused(f"exit status {done.returncode}")
        return [page + "\n" for page in done.stdout.decode(errors="replace").removesuffix("\f").split("\f")]

    return lambda: extract


def _ours(extractor: str) -> Callable[[], Contestant]:
    def prepare() -> Contestant:
        from stages.extract.pdf.stage import ExtractPdf
        from stages.stage import RECORD, Refusal

        stage = ExtractPdf.model_validate({"extractor": extractor})
        stage.load()
        columns = dict.fromkeys(set(RECORD.names) - {"payload", "text"})

        def extract(payload: bytes, record: Mapping[str, Any]) -> Pages:
            facts = {"id": record.get("warc_record_id"), "url": record.get("url"), "media": "pdf", "status": 200}
            made = stage.process(payload, {**columns, **facts, "mime": "application/pdf"})
            if isinstance(made, Refusal):
                raise Refused(" ".join(filter(None, (made.reason, made.detail))))
            return cut(made.text, made.columns["page_ends"])

        return extract

    return prepare


CONTESTANTS: Mapping[str, Callable[[], Contestant]] = {
    "fast": _ours("fast"),
    "auto": _ours("auto"),
    "model": _ours("model"),
    "plain": _plain,
    "sorted": _sorted,
    "pdftotext": _pdftotext(),
    "pymupdf4llm": _pymupdf4llm,
}
NEEDS = {"pymupdf4llm": "pymupdf4llm", "pdftotext": "pdftotext", "model": "pymupdf.layout", "auto": "pymupdf.layout"}
"""Modules and programs that are not among crawlmill's own dependencies."""
SLOW = ("auto", "model", "pymupdf4llm")
"""A second a page, or more: they leave out long files unless asked."""


def cut(text: str, ends: Sequence[int]) -> Pages:
    """The pages of a text. ends: offset behind each page."""
    return [text[start:end] for start, end in zip([0, *ends], ends)]


def _open(payload: bytes) -> pymupdf.Document:
    pymupdf.TOOLS.mupdf_display_errors(False)
    try:
        return pymupdf.open(stream=payload, filetype="pdf")
    except pymupdf.FileDataError as error:
        raise Refused(str(error)) from error


def _warm_up() -> bytes:
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "Warming up.")
        made: bytes = document.tobytes()
    return made


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
