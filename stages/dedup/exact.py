"""Exact duplicates: the same address, the same bytes, the same text, told by 128 bits of BLAKE2b (RFC 7693)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from stages.filter.url import host_of
from stages.stage import Meeting
from stages.text.texts import Texts

KEYS = pa.schema([pa.field("key", pa.uint64()), pa.field("check", pa.uint64())])
"""128 bits in two columns. Equal where the contents are; both null where there is nothing to compare."""

_DEFAULT_PORTS = {"http": 80, "https": 443}  # RFC 9110, 4.2
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_ESCAPED_OR_FOREIGN = re.compile(r"%[0-9A-Fa-f]{2}|[^\x21-\x7e]")


class Exact(Meeting):
    """A meeting of records whose contents are equal."""

    similarity: ClassVar[float | None] = 1.0
    """Of two such records, where what was compared says so."""

    @property
    def emits(self) -> pa.Schema:
        return KEYS


class DedupUrl(Exact):
    """Drops records whose URL another record has.

    URLs are compared in the normal form of RFC 3986, 6.2.2 and 6.2.3, without fragment, http and https alike. What a
    server may tell apart stays apart: the order of a query, `www.`, a final slash, two slashes. Other schemes are
    compared as written; a URL that cannot be parsed, or none, is no duplicate of anything.
    """

    kind: Literal["dedup_url"] = "dedup_url"
    needs_text: ClassVar[bool] = False
    similarity: ClassVar[float | None] = None
    reasons: ClassVar[tuple[str, ...]] = ("duplicate_url",)

    def emit(self, texts: Texts) -> pa.RecordBatch:
        return keys(map(normal_url, texts.batch.column("url").to_pylist()))


class DedupPayload(Exact):
    """Drops records whose payload, the body as the server meant it, is that of another record byte for byte.

    A record without payload, or with an empty one, is no duplicate of anything.
    """

    kind: Literal["dedup_payload"] = "dedup_payload"
    needs_text: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("duplicate_payload",)

    def emit(self, texts: Texts) -> pa.RecordBatch:
        # as_buffer is a view: payloads are the bulk of a batch
        return keys(body.as_buffer() if body.is_valid else None for body in texts.batch.column("payload"))


class DedupText(Exact):
    """Drops records whose text is that of another record.

    `normalise: white_space` compares texts without any white space (`str.isspace`) and changes nothing else, as
    FinePDFs does; `none` compares them as they are. A text of which nothing is left is no duplicate of anything.
    """

    kind: Literal["dedup_text"] = "dedup_text"
    normalise: Literal["white_space", "none"] = "white_space"
    reasons: ClassVar[tuple[str, ...]] = ("duplicate_text",)

    def emit(self, texts: Texts) -> pa.RecordBatch:
        strings = (text.as_py() for text in texts.text)
        if self.normalise == "white_space":
            strings = (text and "".join(text.split()) for text in strings)
        return keys(text and text.encode() for text in strings)


def keys(contents: Iterable[bytes | pa.Buffer | None]) -> pa.RecordBatch:
    """Rows of `KEYS`, one for each content in order; nulls for None and for no bytes."""
    digests = [blake2b(each, digest_size=16).digest() if each is not None and len(each) else None for each in contents]
    halves = np.frombuffer(b"".join(digest or bytes(16) for digest in digests), "<u8").reshape(-1, 2)
    absent = np.array([digest is None for digest in digests], bool)
    return pa.RecordBatch.from_arrays([pa.array(half.copy(), mask=absent) for half in halves.T], schema=KEYS)


def normal_url(url: str | None) -> bytes | None:
    """What `DedupUrl` compares; None for no URL or one that cannot be parsed. Never raises."""
    url = (url or "").strip()
    try:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            return url.encode("utf-8", "surrogatepass") or None
        host, port = host_of(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if not host:
        return None
    user, at, _ = parts.netloc.rpartition("@")
    authority = f"{_unescaped(user)}{at}[{host}]" if ":" in host else f"{_unescaped(user)}{at}{host}"
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        authority += f":{port}"
    query = f"?{_unescaped(parts.query)}" if "?" in url.partition("#")[0] else ""
    return f"http://{authority}{_resolved(_unescaped(parts.path))}{query}".encode()


def _unescaped(part: str) -> str:
    """Percent-encoding in normal form: unreserved characters bare, others in capitals, what is not ASCII encoded."""

    def normal(found: re.Match[str]) -> str:
        text = found[0]
        if len(text) == 3:
            char = chr(int(text[1:], 16))
            return char if char in _UNRESERVED else text.upper()
        return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))

    return _ESCAPED_OR_FOREIGN.sub(normal, part)


def _resolved(path: str) -> str:
    """A path without `.` and `..` (RFC 3986, 5.2.4), `/` for none."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
