"""The PDFs of the corpora whose text somebody knows, and what is known of each.

Reads corpora/pdf (CRAWLMILL_CORPORA, see the README there): the payload as the crawl has it, and the truth as parts
that the measures ask for. What the kinds give:

- `jats`: title, abstract and body paragraphs with their headings, of a publisher's XML. Running heads, tables, captions
  and references are not in it: it says what must be found and in which order, not what must be absent.
- `jats-across`: the multi-column ones of these, drawn in another order (`pdf_across`).
- `same-source`: a text edition made from the same source. Its paragraphs are what blank lines part, which makes tables
  and listings paragraphs too. It has its notes at the end, a PDF at the foot of the page.
- `abstract`: as `jats`, where the XML has no body.
- `tool-regression`: what other tools made of the file, reviewed or not; to be trusted least.
- `table-xml`: the cells of all tables (ICDAR 2013 competition; Göbel et al., 2013).
- `olmocr-tests`: single facts about a page that people checked (olmOCR-Bench; Poznanski et al., 2025).

Left out: files that the crawl has cut, whose truth is of the whole; `tex-source`, which is preambles and `\\include`
lines with hardly a sentence of what the PDF shows; `ocr-text`, a scan without text layer, which measures Tesseract.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

ACROSS = "jats-across"
PROSE = ("jats", ACROSS, "same-source", "abstract", "tool-regression")
KINDS = (*PROSE, "table-xml", "olmocr-tests")

MULTI_COLUMN = 0.3
"""Share of a file's text in columns side by side (`column_share` of the mapping) from which on it counts as such."""

_BLANK_LINES = re.compile(r"\n\s*\n")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is not blank; rows and columns are the first and last that it spans."""

    text: str
    rows: tuple[int, int]
    columns: tuple[int, int]


Table = list[Cell]


@dataclass(frozen=True)
class Document:
    """A PDF and its truth; the parts that its kind does not have are empty."""

    id: str
    kind: str
    payload: bytes
    pages: int
    multi_column: bool
    record: Mapping[str, Any]
    """The mapping's line."""
    paragraphs: list[str]
    """In reading order, headings among them."""
    tables: list[Table]
    tests: list[Mapping[str, Any]]


def read_documents(folder: Path, kinds: Collection[str] = KINDS, only: Collection[str] = ()) -> Iterator[Document]:
    """The usable documents of some kinds that are whole, in the corpus's order. only: ids to be had and no others."""
    with gzip.open(folder / "gt.jsonl.gz", "rt", encoding="utf-8") as lines:
        truths = {truth["id"]: truth for truth in map(json.loads, lines)}
    with (folder / "mapping.jsonl").open(encoding="utf-8") as lines, (folder / "pdf-bench.warc.gz").open("rb") as pack:
        for record in map(json.loads, lines):
            usable = record["gt_usable"] and not record["truncated"]
            if usable and record["gt_kind"] in kinds and (not only or record["id"] in only):
                yield _document(record, truths[record["id"]], read_payload(pack, record))


def read_payload(pack: BinaryIO, record: Mapping[str, Any]) -> bytes:
    """The payload of a line of the mapping. pack: the corpus's WARC file."""
    pack.seek(record["offset"])
    member = gzip.decompress(pack.read(record["length"]))
    _, _, http = member.partition(b"\r\n\r\n")
    _, _, body = http.partition(b"\r\n\r\n")
    return body[: record["payload_bytes"]]


def _document(record: Mapping[str, Any], truth: Mapping[str, Any], payload: bytes) -> Document:
    return Document(
        record["id"],
        record["gt_kind"],
        payload,
        record["pages"],
        (record["column_share"] or 0) > MULTI_COLUMN,
        record,
        list(_paragraphs(truth)),
        _tables(truth["structure_xml"]) if "structure_xml" in truth else [],
        truth.get("tests", []),
    )


def _paragraphs(truth: Mapping[str, Any]) -> Iterator[str]:
    if truth["kind"] in ("jats", "abstract"):
        yield truth["title"] or ""
        yield from truth["abstract"]
        yield from (paragraph["text"] for paragraph in truth["paragraphs"])
    elif truth["kind"] in PROSE:
        yield from _BLANK_LINES.split(_COMMENT.sub("", truth["text"].replace("\r\n", "\n")))


def _tables(xml: str) -> list[Table]:
    """One table for each region: a table that goes on over the page has a region on each, with rows of its own."""
    root = ElementTree.fromstring(xml.encode())
    return [[cell for cell in map(_cell, region.iter("cell")) if cell.text] for region in root.iter("region")]


def _cell(cell: ElementTree.Element) -> Cell:
    def span(axis: str) -> tuple[int, int]:
        start = int(cell.attrib[f"start-{axis}"])
        return start, int(cell.get(f"end-{axis}") or start)

    return Cell((cell.findtext("content") or "").strip(), span("row"), span("col"))
