"""HTTP messages as crawls store them: status, declared type, and the body without its transfer and content encodings.

Bytes win over headers: a body that is not in the encoding that its header names is taken as it is. Common Crawl stores
bodies decoded and renames the headers that no longer hold ("X-Crawler-Content-Encoding"): of those only the length is
looked at, which shows what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from stages.read.coding import GZIP, ZSTD_HTTP_WINDOW, Undecodable, brotlied, deflated, unpacked, zstd
from stages.read.fields import charset, media_type, parse_fields

STATUS = re.compile(rb"HTTP/\d{1,2}(?:\.\d{1,2})?[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
HEADER_END = re.compile(rb"\n\r?\n")
BODY_LINE = re.compile(rb"\n(?=[ \t]{0,8}<)")  # markup among the headers: the blank line before the body is missing
NO_FIELD = re.compile(rb"\n(?![!-9;-~]{1,256}[ \t]{0,8}:|[ \t\r\n])")  # a line that is neither a field nor folded

CHUNK_SIZE = re.compile(rb"[ \t]{0,8}([0-9A-Fa-f]{1,15})[ \t]{0,8}(?:;[^\r\n]{0,1024})?\r?\n")  # RFC 9112 section 7.1
LINE_END = re.compile(rb"\r?\n")
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
MAX_CHUNKS = 1_000_000
"""Servers send chunks of some kilobytes. A body of 64 MiB in chunks of one byte would take ten seconds to join."""

MAX_CODINGS = 5  # as urllib3; more than two is not seen in the wild

CODINGS: dict[str, tuple[bytes, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": (GZIP.magic, partial(unpacked, GZIP)),
    "x-gzip": (GZIP.magic, partial(unpacked, GZIP)),
    "deflate": (b"", deflated),
    "br": (b"", brotlied),
    "zstd": (zstd().magic, partial(unpacked, zstd(window=ZSTD_HTTP_WINDOW))),
}
"""Content codings (IANA HTTP Content Coding Registry): their first bytes, if they have some, and how to undo them."""

BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # "binary data bytes", WHATWG MIME Sniffing section 3


@dataclass(frozen=True, slots=True)
class Body:
    """A payload and what its transport said about it."""

    payload: bytes
    status: int | None = None
    mime: str = ""
    charset: str | None = None
    fault: str | None = None
    cut_short: bool = False
    """Shorter than the length that the server declared."""


def read_message(block: bytes, max_payload: int, max_header: int, *, whole: bool = True) -> Body:
    """The message in a record's block; a block without a status line is all payload.

    `fault` is "payload_too_large" or "undecodable_payload", and the payload empty then. A compressed body that is cut
    off gives what it has, as in browsers. Without `whole` a payload that is too large is cut at `max_payload` instead.
    """
    head = STATUS.match(block)
    if head is None:
        return _limited(Body(block), max_payload, whole)
    start, end = _body_start(block, max_header)
    fields = parse_fields(block[:end])
    content_type = fields.get("content-type", [""])[-1]  # of several the last counts: WHATWG Fetch section 3.5
    body = Body(block[start:], int(head[1]), media_type(content_type), charset(content_type))
    if len(body.payload) < _declared_length(fields):
        body = replace(body, cut_short=True)

    transfer = _tokens(fields, "transfer-encoding")
    if "chunked" in transfer:
        body = replace(body, payload=join_chunks(body.payload))
    codings = [c for c in _tokens(fields, "content-encoding") + transfer if c in CODINGS]
    if len(codings) > MAX_CODINGS:
        return replace(body, payload=b"", fault="undecodable_payload")
    for coding in reversed(codings):
        body = _undo(coding, body, max_payload, whole)
    return _limited(body, max_payload, whole)


def join_chunks(data: bytes) -> bytes:
    """The data of a chunked body (RFC 9112 section 7.1); of one that is cut off, what there is; as it is where it is
    not chunked or its sizes are wrong."""
    parts: list[bytes] = []
    at = 0
    for _ in range(MAX_CHUNKS):
        size_line = CHUNK_SIZE.match(data, at)
        if size_line is None:
            return b"".join(parts) if parts and at == len(data) else data
        start, size = size_line.end(), int(size_line[1], 16)
        parts.append(data[start : start + size])
        if size == 0 or start + size >= len(data):
            return b"".join(parts)
        end = LINE_END.match(data, start + size)
        if end is None:
            return data
        at = end.end()
    return data


def _body_start(block: bytes, max_header: int) -> tuple[int, int]:
    """Where the body starts and where the header ends. Without a blank line, the body starts at the first line that
    can be no header."""
    blank = HEADER_END.search(block, 0, max_header)
    end = blank.start() + 1 if blank else min(len(block), max_header)
    missing = BODY_LINE.search(block, 0, end) or (None if blank else NO_FIELD.search(block, 0, end))
    if missing:
        return missing.end(), missing.end()
    return blank.end() if blank else end, end


def _declared_length(fields: dict[str, list[str]]) -> int:
    """Of the body as it lies there, 0 where nothing tells. Common Crawl, which stores bodies decoded and counts anew,
    keeps the server's length under another name; that of an encoded body says nothing then.
    """
    encoded = any(name in fields for name in ("transfer-encoding", "x-crawler-transfer-encoding"))
    names = ["content-length"]
    if "x-crawler-content-encoding" not in fields:
        names.append("x-crawler-content-length")
    values = [value for name in names for value in fields.get(name, []) if LENGTH.fullmatch(value)]
    return 0 if encoded else max(map(int, values), default=0)


def _tokens(fields: dict[str, list[str]], name: str) -> list[str]:
    return [token.strip().lower() for value in fields.get(name, []) for token in value.split(",")]


def _undo(coding: str, body: Body, max_payload: int, whole: bool) -> Body:
    magic, unpack = CODINGS[coding]
    if body.fault or not body.payload.startswith(magic):
        return body
    pieces, size = [], 0
    try:
        for piece in unpack(body.payload):
            pieces.append(piece)
            size += len(piece)
            if size > max_payload:
                break
    except Undecodable:
        if not magic and not BINARY.search(body.payload, 0, 256):
            return body  # readable text was never compressed, whatever the header says
        return replace(body, payload=b"", fault="undecodable_payload")
    return _limited(replace(body, payload=b"".join(pieces)), max_payload, whole)


def _limited(body: Body, max_payload: int, whole: bool) -> Body:
    if len(body.payload) <= max_payload:
        return body
    if not whole:
        return replace(body, payload=body.payload[:max_payload])
    return replace(body, payload=b"", fault="payload_too_large")
