"""The sample's PDFs as they were captured: sound, damaged, locked, mislabelled, cut off.

Every kind is one function that yields its captures, as in `crawl`. What the documents look like is in `papers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from pipeline.sample.lock import locked
from pipeline.sample.pages import Article, article, page
from pipeline.sample.papers import illustrated, leaflet, plain, poster, report, rotated, simple, table_page, two_columns
from pipeline.sample.pdf import Page, objects_of, pdf
from pipeline.sample.scans import scan
from pipeline.sample.warc import Capture

HOST = "https://library.harwick.example"
PORT = 8399  # of the origin on this machine (`origin`)
ORIGIN = f"http://127.0.0.1:{PORT}"
MIB = 2**20
"""Where Common Crawl cut payloads until early 2025."""


def captured(kind: str, url: str, body: bytes, content_type: str = "application/pdf") -> Capture:
    return Capture(f"pdf_{kind}", url, body, content_type, payload_type="application/pdf")


def articles() -> Iterator[Capture]:
    """Journal articles in two columns."""
    for number in range(211, 215):
        url = f"https://journal.millbrook.example.org/2026/{number}/article.pdf"
        yield captured("two_columns", url, two_columns(article(url, "eng", 16)))


def reports() -> Iterator[Capture]:
    """Reports of several pages, in four languages."""
    for language, chapters in (("eng", 32), ("eng", 26), ("fra", 12), ("deu", 12), ("rus", 12)):
        url = f"{HOST}/reports/{chapters}-{language}.pdf"
        story = article(url, language, chapters)
        yield captured(f"report_{language}", url, report(story, language, "K" if language == "rus" else "R"))


def layouts() -> Iterator[Capture]:
    """Tables, a leaflet, turned pages, a text layer without letters, and a poster with next to nothing on it."""
    makers: dict[str, Callable[[Article], bytes]] = {
        "table_ruled": lambda story: table_page(story, ruled=True),
        "table_unruled": lambda story: table_page(story, ruled=False),
        "leaflet": leaflet,
        "rotated": rotated,
        "garbled": lambda story: simple(story, "G"),
    }
    for kind, make in makers.items():
        url = f"{HOST}/papers/{kind}.pdf"
        yield captured(kind, url, make(article(url, "eng", 4)))
    yield captured("thin", f"{HOST}/papers/poster.pdf", poster(("Spring fair", "Saturday", "from ten")))


def scanned() -> Iterator[Capture]:
    """Typed letters, scanned: as pixels alone, and with the hidden text of an OCR program."""
    for kind, recognised in (("scan", False), ("scan_with_text", True)):
        url = f"{HOST}/archive/{kind}.pdf"
        story = article(url, "eng", 8)
        texts = [section.text for section in story.sections]
        yield captured(kind, url, scan(texts, story.title, recognised=recognised))


def encrypted() -> Iterator[Capture]:
    """Encrypted with a password that readers must know, and with one that is empty and only forbids copying."""
    for kind, password in (("encrypted", "leek"), ("encrypted_open", "")):
        url = f"{HOST}/members/{kind}.pdf"
        story = article(url, "eng", 4)
        sheet = plain(story.sections, story.title)
        body = locked(objects_of([sheet], story.title), user=password, owner="frost")
        yield captured(kind, url, body)


def damaged() -> Iterator[Capture]:
    """Files that need mending, and files that are past it."""
    url = f"{HOST}/broken/wrong-offsets.pdf"
    sound = simple(article(url, "eng", 4))
    yield captured("damaged", url, re.sub(rb"\d{10} 00000 n", b"0000000017 00000 n", sound))
    url = f"{HOST}/broken/banner-in-front.pdf"
    yield captured("damaged", url, b"<!-- served by cache 4 -->\r\n" + simple(article(url, "eng", 4)))
    yield captured("corrupt", f"{HOST}/broken/nothing-left.pdf", b"%PDF-1.4\n" + bytes(range(256)) * 4)
    yield captured("no_pages", f"{HOST}/broken/no-pages.pdf", pdf([], "Minutes"))
    yield captured("blank", f"{HOST}/broken/blank.pdf", pdf([Page("")], "Minutes"))
    yield replace(captured("empty", f"{HOST}/broken/empty.pdf", b""), payload_type="application/octet-stream")


def mislabelled() -> Iterator[Capture]:
    """PDFs that their servers call something else, and pages that their servers call PDF."""
    for name, content_type in (
        ("letter.html", "text/html; charset=utf-8"),
        ("letter.pdf", "application/octet-stream"),
        ("get.php?id=42", "application/force-download"),
        ("letter", ""),
    ):
        url = f"https://files.eastmere.example.net/{name}"
        yield captured("mislabelled", url, simple(article(url, "eng", 4)), content_type)
    url = "https://files.eastmere.example.net/login-first.pdf"
    yield Capture("html_as_pdf", url, page("shop", article(url, "eng"), "eng").encode(), "application/pdf")


def copies() -> Iterator[Capture]:
    """The same bytes under other URLs, and the same report with its last chapter gone and another title."""
    original = next(reports())
    for copied, suffix in ((next(articles()), "?download=1"), (original, "?v=2"), (next(scanned()), "?page=1")):
        yield replace(copied, kind="pdf_duplicate", url=copied.url + suffix)
    story = article(original.url, "eng", 32)
    url = original.url.replace("-eng", "-draft")
    draft = replace(story, url=url, title=f"Draft: {story.title}", sections=story.sections[:-1])
    yield captured("near_duplicate", url, report(draft))


@dataclass(frozen=True)
class Cut:
    """A PDF that the crawler cut off after `limit` bytes, and what its origin answers now."""

    path: str
    limit: int
    pixels: tuple[int, int]
    answer: Literal["whole", "busy", "moved", "gone", "replaced"]
    declared: bool = True  # by WARC-Truncated; else only the server's Content-Length tells

    @property
    def url(self) -> str:
        return ORIGIN + self.path

    def whole(self) -> bytes:
        return illustrated(article(self.url, "eng", 11), *self.pixels)


CUTS = (
    Cut("/reports/annual.pdf", MIB, (1024, 1200), "whole"),
    Cut("/reports/undeclared.pdf", 2**16, (240, 400), "whole", declared=False),
    Cut("/private/minutes.pdf", 2**16, (240, 400), "whole"),  # but robots.txt disallows it
    Cut("/reports/busy.pdf", 2**16, (240, 400), "busy"),  # at first, and whole then
    Cut("/old/plan.pdf", 2**16, (240, 400), "moved"),
    Cut("/reports/gone.pdf", 2**16, (240, 400), "gone"),
    Cut("/reports/replaced.pdf", 2**16, (240, 400), "replaced"),  # by a web page
)
"""Smaller limits than a crawl's keep the sample small."""


def truncated() -> Iterator[Capture]:
    """PDFs cut off inside their first photograph."""
    for cut in CUTS:
        body = cut.whole()
        headers = (("X-Crawler-Content-Length", str(len(body))),)
        if not cut.declared:
            headers = (("Content-Length", str(len(body))),)
        yield replace(
            captured("truncated", cut.url, body[: cut.limit]),
            headers=headers,
            warc_headers=(("WARC-Truncated", "length"),) if cut.declared else (),
        )


@cache
def pdfs() -> tuple[Capture, ...]:
    """All of them; setting and scanning them takes half a second, once a process."""
    kinds = (articles, reports, layouts, scanned, encrypted, damaged, mislabelled, copies, truncated)
    return tuple(capture for kind in kinds for capture in kind())
