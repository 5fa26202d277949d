"""The sample crawl: a few hundred captures that look like a crawl, as four WARC files.

Every kind of capture is one function below that yields its captures; to add a kind, write one and list it in `KINDS`.
Pages that a filter should drop are data (odd.yaml); PDFs have a module of their own (pdfs). Nothing here is random and
nothing depends on clock or machine.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.sample.deflate import gzip_member, zlib_stream
from pipeline.sample.pages import DESIGNS, Article, article, data, page, pick, plain_page, prose
from pipeline.sample.pdfs import pdfs
from pipeline.sample.warc import Capture, members, number, record_id, warcinfo

SHARDS = 4
ENGLISH_PAGES = 85
FOREIGN_PAGES = 9  # of each other language


def write_sample(folder: Path) -> list[Path]:
    """Write sample-00000.warc.gz … into `folder` (made where missing) and return the paths.

    About 5 MB. The bytes are the same on every machine. One member of the last file is damaged on purpose.
    """
    shards: list[list[Capture]] = [[] for _ in range(SHARDS)]
    for capture in sorted(captures(), key=lambda capture: (number(capture.url), capture.record)):
        shards[SHARDS - 1 if capture.damaged else number(capture.url) % SHARDS].append(capture)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for at, shard in enumerate(shards):
        path = folder / f"sample-{at:05d}.warc.gz"
        with path.open("wb") as file:
            file.write(warcinfo(path.name))
            for capture in shard:
                file.writelines(members(capture, path.name))
        paths.append(path)
    return paths


def captures() -> Iterator[Capture]:
    """Everything in the sample, kind by kind."""
    for kind in KINDS:
        yield from kind()


def ordinary() -> Iterator[Capture]:
    """Articles on sites of five designs, in every language."""
    for language, chrome in data("chrome").items():
        for at in range(ENGLISH_PAGES if language == "eng" else FOREIGN_PAGES):
            design = DESIGNS[at % len(DESIGNS)]
            place = chrome["places"][at // len(DESIGNS) % len(chrome["places"])]
            url = f"https://{design}.{place}/{2015 + at % 11}/{language}-{at:03d}.html"
            yield Capture(f"page_{language}", url, page(design, article(url, language), language).encode())


def syndicated() -> Iterator[Capture]:
    """Near duplicates: the same story on several sites, each with its own chrome and a sentence or two changed."""
    plan = data("syndication")
    for cluster, size in enumerate(plan["clusters"]):
        story = article(f"https://wire.example/story/{cluster}", "eng", 6)
        for copy in range(size):
            host = plan["hosts"][copy]
            url = f"https://{host}/stories/{cluster + 100}"
            told = story if copy == 0 else retell(story, copy, plan["notes"])
            html = page(DESIGNS[(cluster + copy) % len(DESIGNS)], replace(told, url=url), "eng")
            yield Capture("near_duplicate", url, html.encode())


def retell(story: Article, copy: int, notes: list[str]) -> Article:
    """The story with one sentence added to a paragraph and the last one taken from another."""
    sections = list(story.sections)
    longer, shorter = copy % len(sections), (copy + 2) % len(sections)
    sections[longer] = replace(sections[longer], text=f"{sections[longer].text} {notes[copy % len(notes)]}")
    sections[shorter] = replace(sections[shorter], text=sections[shorter].text.rsplit(". ", 1)[0] + ".")
    return replace(story, sections=tuple(sections))


def duplicated() -> Iterator[Capture]:
    """The very bytes of other pages, under further URLs."""
    pages = [capture for capture in ordinary() if capture.kind == "page_eng"]
    for at, capture in enumerate(pick("duplicates", pages, 8)):
        suffix = ("?utm_source=letter", "?print=1", "?ref=home", "?sessionid=8f2a")[at % 4]
        yield replace(capture, kind="exact_duplicate", url=capture.url + suffix)


def odd() -> Iterator[Capture]:
    """Pages that a filter should have something to say about, from odd.yaml."""
    for entry in data("odd"):
        for word in entry.get("each", [""]):
            url = entry["url"].replace("~", word)
            yield Capture(entry["kind"], url, odd_page(entry, url, word).encode())


def odd_page(entry: dict[str, Any], url: str, word: str) -> str:
    """One page of an entry of odd.yaml, for one of its words."""
    said = word.replace("-", " ")
    own = [line.replace("~", said) for line in entry["lines"]]
    texts = [section.text for section in pick(url, prose("eng"), entry.get("prose", 0))]
    if "foreign" in entry:
        texts += [section.text for section in pick(url, prose(word), entry["foreign"])]
    repeat = entry.get("repeat", 1)
    lines = [line for at, text in enumerate(texts) for line in ([text, *own] if at < repeat - 1 else [text])] + own
    if not texts:
        lines = own * repeat
    html = plain_page(entry["title"].replace("~", said), lines)
    links = "".join(f'<li><a href="/out/{at}">{said} {at}</a></li>\n' for at in range(entry.get("links", 0)))
    return html.replace("</article>", f"<ul>{links}</ul></article>" if links else "</article>")


BREAKS: dict[str, Callable[[str], str]] = {
    "unclosed-tags": lambda html: html.replace("</p>", "").replace("</div>", "").replace("</li>", ""),
    "nested-tables": lambda html: html.replace("<p>", "<table><tr><td><table><tr><td><p>").replace("</h1>", "</td>"),
    "cut-in-the-middle": lambda html: html[: html.index("</article>") - 400],
    "no-body": lambda html: html[: html.index("</head>")] + "</head></html>",
    "bare-attributes": lambda html: html.replace('"', ""),
    "open-comment": lambda html: html.replace("</h1>", "</h1><!-- todo: -- >", 1),
    "twice": lambda html: html + html,
    "null-bytes": lambda html: html.replace("</p>", "\0</p>\0"),
    "wrong-order": lambda html: html.replace("<article>", "<b><i><article>").replace(
        "</article>", "</b></article></i>"
    ),
}


def broken() -> Iterator[Capture]:
    """HTML as it should not be."""
    for name, spoil in BREAKS.items():
        url = f"http://broken.example.net/{name}.htm"
        yield Capture("broken_html", url, spoil(page("news", article(url, "eng", 5), "eng")).encode())


def miscoded() -> Iterator[Capture]:
    """Text whose charset is declared wrongly, or not at all, or rightly and rarely: language, bytes, header, meta."""
    for language, written, header, meta in (
        ("rus", "windows-1251", "; charset=utf-8", "utf-8"),
        ("rus", "koi8-r", "", "koi8-r"),
        ("cmn", "gbk", "", ""),
        ("fra", "latin-1", "", "utf-8"),
        ("deu", "latin-1", "; charset=iso-8859-1", "iso-8859-1"),
        ("jpn", "shift_jis", "; charset=Shift_JIS", "Shift_JIS"),
        ("jpn", "euc_jp", "", "euc-jp"),
        ("pol", "iso8859-2", "; charset=ISO-8859-2", "windows-1250"),
    ):
        url = f"http://old.{data('chrome')[language]['places'][0]}/{written}/index.html"
        html = page("blog", article(url, language), language, meta)
        yield Capture("charset", url, html.encode(written, "xmlcharrefreplace"), f"text/html{header}")


def encoded() -> Iterator[Capture]:
    """Pages stored as they came over the wire: chunked, gzip, deflate."""
    for name, coding, chunked in (
        ("chunked", "", True),
        ("gzip", "gzip", False),
        ("gzip-chunked", "gzip", True),
        ("deflate", "deflate", False),
        ("not-really-gzip", "gzip", False),
    ):
        url = f"https://wire.example.org/as-sent/{name}"
        body = page("wiki", article(url, "eng"), "eng").encode()
        headers = (("Content-Encoding", coding),) if coding else ()
        if name != "not-really-gzip":
            body = {"gzip": gzip_member, "deflate": zlib_stream}.get(coding, bytes)(body)
        if chunked:
            body, headers = chunks(body), (*headers, ("Transfer-Encoding", "chunked"))
        yield Capture("encoded", url, body, headers=headers)


def chunks(body: bytes) -> bytes:
    """The body in chunked transfer coding (RFC 9112, section 7.1)."""
    parts = [body[at : at + 1500] for at in range(0, len(body), 1500)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def pathless() -> Iterator[Capture]:
    """Answers without a page: redirects, errors, and nothing at all."""
    for at, status in enumerate(
        ("301 Moved Permanently", "302 Found", "301 Moved Permanently", "308 Permanent Redirect")
    ):
        target = f"https://www.harwick.example/new/{at}"
        body = b"" if at % 2 else f'<html><body><a href="{target}">Moved</a></body></html>'.encode()
        yield Capture(
            "redirect", f"http://harwick.example/old/{at}", body, "text/html", status, (("Location", target),)
        )
    missing = plain_page("Not found", ["The page that you asked for is not here. It may have moved, or never existed."])
    for at, status in enumerate(("404 Not Found", "410 Gone", "503 Service Unavailable")):
        yield Capture("error", f"https://www.harwick.example/gone/{at}", missing.encode(), status=status)
    yield Capture("empty", "https://www.harwick.example/empty", b"")


def other_types() -> Iterator[Capture]:
    """What else lies about on the web: an image, data, a style sheet, robots.txt, a feed."""
    host = "https://static.harwick.example"
    feed = "<rss version='2.0'><channel><title>Harwick</title><item><title>Rain</title></item></channel></rss>"
    for path, body, mime in (
        ("logo.png", png(32, 32, b"\x2a\x6f\x97"), "image/png"),
        ("pixel.png", png(1, 1, b"\xff\xff\xff"), "image/png"),
        (
            "stations.json",
            json.dumps([{"stop": at, "minutes": at * 4} for at in range(20)]).encode(),
            "application/json",
        ),
        ("site.css", b"body { margin: 0 } .ad { display: block }\n", "text/css"),
        ("robots.txt", b"User-agent: *\nDisallow: /basket\n", "text/plain"),
        ("feed.xml", feed.encode(), "application/rss+xml"),
    ):
        yield Capture("other_type", f"{host}/{path}", body, mime, payload_type=mime)
    # An image that its server calls a page.
    yield Capture("other_type", f"{host}/photo", png(16, 16, b"\x80\x40\x20"), payload_type="image/png")


def png(width: int, height: int, colour: bytes) -> bytes:
    """A PNG image of one colour (RGB, 8 bits a channel)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib_stream(rows)) + chunk(b"IEND", b"")


def other_records() -> Iterator[Capture]:
    """A page seen again unchanged, a page without HTTP, and the member that is damaged."""
    first = next(ordinary())
    same = (("WARC-Refers-To", record_id("response", first.url)), ("WARC-Refers-To-Target-URI", first.url))
    yield replace(first, kind="revisit", record="revisit", warc_headers=same)
    url = "file://archive.example/scans/minutes.html"
    yield Capture("resource", url, page("wiki", article(url, "eng"), "eng").encode(), "text/html", record="resource")
    url = "https://throwaway.example/damaged"
    yield Capture("damaged", url, page("news", article(url, "eng", 40), "eng").encode(), damaged=True)


KINDS = (ordinary, syndicated, duplicated, odd, broken, miscoded, encoded, pathless, other_types, other_records, pdfs)
