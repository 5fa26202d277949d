"""Captures written as WARC in Common Crawl's form: request, response and metadata, one gzip member a record.

What the captures contain is decided elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from pipeline.sample.deflate import damage, gzip_member

SNAPSHOT = "SAMPLE-2026-41"
BEGIN = datetime(2026, 10, 5, tzinfo=UTC)
SECONDS = 12 * 86_400  # for which a snapshot of Common Crawl is fetched
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Capture:
    """One URL as it was fetched. `kind` says what the capture is there to show, and is not written."""

    kind: str
    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: str = "200 OK"
    headers: Headers = ()  # further HTTP headers
    payload_type: str = "text/html"  # what a detector makes of the body
    record: Literal["response", "revisit", "resource"] = "response"
    warc_headers: Headers = ()  # further headers of the record
    damaged: bool = False


def number(seed: str) -> int:
    """A number below 2**64 that depends on the seed alone."""
    return int.from_bytes(hashlib.sha1(seed.encode()).digest()[:8], "big")


def warcinfo(name: str) -> bytes:
    """The member that opens a file of that name."""
    fields = {"isPartOf": SNAPSHOT, "publisher": "crawlmill", "description": "Sample crawl; its sites do not exist",
              "software": "crawlmill sample", "robots": "classic", "format": "WARC File Format 1.0"}  # fmt: skip
    return _record("warcinfo", name, BEGIN, [("WARC-Filename", name)], "application/warc-fields", _lines(fields))


def members(capture: Capture, name: str) -> Iterator[bytes]:
    """The gzip members of one capture in the file of that name."""
    url, again = capture.url, capture.record == "revisit"
    seed = f"again {url}" if again else url  # ids and dates differ where a URL is fetched twice
    date = BEGIN + timedelta(seconds=number(url) % SECONDS, days=1 if again else 0)
    parts = urlsplit(url)
    found = [("WARC-Warcinfo-ID", record_id("warcinfo", name)), ("WARC-Target-URI", url)]
    payload = [("WARC-Payload-Digest", digest(capture.body)), ("WARC-Identified-Payload-Type", capture.payload_type)]
    payload += capture.warc_headers
    if capture.record == "resource":
        yield _record("resource", seed, date, found + payload, capture.content_type, capture.body)
        return
    fetched = [*found, ("WARC-IP-Address", f"203.0.113.{number(parts.netloc) % 254 + 1}")]  # RFC 5737
    request = f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1\r\n" + "\r\n".join(
        ["User-Agent: crawlmill-sample/1.0", "Accept-Encoding: br,gzip", f"Host: {parts.netloc}", "", ""]
    )
    yield _record("request", seed, date, fetched, "application/http; msgtype=request", request.encode())
    http = capture_head(capture, date)
    if again:
        payload += [("WARC-Profile", "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest")]
    pair = [("WARC-Concurrent-To", record_id("request", seed))]
    block = http if again else http + capture.body
    answer = _record(capture.record, seed, date, fetched + pair + payload, "application/http; msgtype=response", block)
    yield damage(answer) if capture.damaged else answer
    pair = [("WARC-Concurrent-To", record_id(capture.record, seed))]
    notes = _lines({"fetchTimeMs": str(number(url) % 900 + 40)})
    yield _record("metadata", seed, date, found + pair, "application/warc-fields", notes)


def capture_head(capture: Capture, date: datetime) -> bytes:
    """Status line and headers of the answer, up to and with the empty line."""
    names = {name.lower() for name, _ in capture.headers}
    lines = [f"HTTP/1.1 {capture.status}", f"Date: {format_datetime(date, usegmt=True)}"]
    if capture.content_type:
        lines.append(f"Content-Type: {capture.content_type}")
    own = {"content-encoding", "transfer-encoding", "content-length", "x-crawler-content-length"}
    if number(capture.url) % 2 and not names & own and capture.body:
        # A crawler that stores decoded bodies says so, and how long they had been.
        lines += ["X-Crawler-Content-Encoding: gzip", f"X-Crawler-Content-Length: {len(capture.body) // 4}"]
    lines += [f"{name}: {value}" for name, value in capture.headers]
    if not names & {"transfer-encoding", "content-length"}:
        lines.append(f"Content-Length: {len(capture.body)}")
    return "\r\n".join([*lines, "", ""]).encode()


def digest(data: bytes) -> str:
    """As WARC writes it: of the bytes behind the HTTP headers, before any decoding, as the writers of crawls do."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


def _record(kind: str, name: str, date: datetime, headers: list[tuple[str, str]], mime: str, block: bytes) -> bytes:
    head = [("WARC-Type", kind), ("WARC-Date", f"{date:%Y-%m-%dT%H:%M:%SZ}"), ("WARC-Record-ID", record_id(kind, name))]
    tail = [("WARC-Block-Digest", digest(block)), ("Content-Type", mime), ("Content-Length", str(len(block)))]
    lines = ["WARC/1.0", *(f"{key}: {value}" for key, value in head + headers + tail), "", ""]
    return gzip_member("\r\n".join(lines).encode() + block + b"\r\n\r\n")


def _lines(fields: dict[str, str]) -> bytes:
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode()


def record_id(kind: str, name: str) -> str:
    """The WARC-Record-ID of the record of that type for a URL (for a file's name: warcinfo)."""
    return f"<urn:uuid:{uuid5(NAMESPACE_URL, f'{kind} {name}')}>"
