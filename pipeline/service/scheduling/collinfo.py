"""Asking a website for the list of its crawl snapshots, and whether a file is there. Nothing is kept here.

`collinfo.json` (https://index.commoncrawl.org/collinfo.json) is a JSON list of objects, newest crawl first, of which
`id`, `name`, `from` and `to` are read. Whatever else a server may say is one `FeedFault`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from pipeline import __version__
from pipeline.faults import in_words
from pipeline.patience import retry_after

LIST = "collinfo.json"
SNAPSHOT = re.compile(r"CC-MAIN-[0-9]{4}(?:-(?:[0-9]{2}|[0-9]{4}))?")
"""A crawl's id, as Common Crawl has given them: CC-MAIN-2026-43, CC-MAIN-2012, CC-MAIN-2009-2010."""
MAX_BYTES = 2**20
"""120 snapshots of about 350 bytes are 40 kB."""
ANSWER_SECONDS = 60.0


class FeedFault(Exception):
    """An address did not answer as it should: one line. `spare`: seconds that it asked to be spared for."""

    def __init__(self, line: str, spare: float = 0.0) -> None:
        super().__init__(" ".join(line.split())[:300])
        self.spare = spare


@dataclass(frozen=True)
class Answer:
    """entries: columns of snapshots; None where the list is what it was."""

    entries: list[dict[str, Any]] | None
    etag: str | None
    last_modified: str | None


def new_client() -> httpx.Client:
    """A client for the two questions. It follows no redirect: an address is where the operator said, or nowhere.

    It keeps no connection: until the next question, hours later, the server has closed it.
    """
    headers = {"User-Agent": f"crawlmill/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    limits, terms = httpx.Limits(max_keepalive_connections=0), httpx.Timeout(20.0, connect=10.0)
    return httpx.Client(headers=headers, timeout=terms, limits=limits, follow_redirects=False)


def ask_for_list(client: httpx.Client, base: str, etag: str | None, last_modified: str | None, now: datetime) -> Answer:
    """The list below `base`, where it is no longer the version that is known. Raises FeedFault."""
    conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    sent = {name: value for name, value in conditions.items() if value is not None}
    address = base + LIST
    status, headers, data = _get(client, address, sent, MAX_BYTES)
    if status == 304 and sent:
        return Answer(None, etag, last_modified)
    if status != 200:
        raise _refused(address, status, headers, now)
    try:
        return Answer(read_list(data), _sendable(headers, "etag"), _sendable(headers, "last-modified"))
    except FeedFault as fault:
        raise FeedFault(f"{address}: {fault}") from fault


def is_there(client: httpx.Client, address: str, now: datetime) -> bool:
    """Whether there is a file, by its first byte: not every server takes HEAD. Raises FeedFault."""
    status, headers, _ = _get(client, address, {"Range": "bytes=0-0"}, 0)
    if status not in (200, 206, 403, 404):  # S3 says 403 of what is not there to those who may not list
        raise _refused(address, status, headers, now)
    return status in (200, 206)


def read_list(data: bytes) -> list[dict[str, Any]]:
    """The snapshots of a collinfo.json: id, name, crawled_from, crawled_to. Other entries are passed over.

    Raises FeedFault for what is no such list, and for one without any: a mishap, not a crawl that is gone.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FeedFault(f"not JSON: {error}") from error
    if not isinstance(content, list):
        raise FeedFault("not a list of snapshots")
    entries: dict[str, dict[str, Any]] = {}
    for entry in content:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and SNAPSHOT.fullmatch(name):
            times = {"crawled_from": _time(entry.get("from")), "crawled_to": _time(entry.get("to"))}
            entries.setdefault(name, {"id": name, "name": _plain(entry.get("name")) or name, **times})
    if not entries:
        raise FeedFault("names no snapshot")
    return list(entries.values())


def _get(
    client: httpx.Client, address: str, headers: Mapping[str, str], limit: int
) -> tuple[int, httpx.Headers, bytes]:
    """Status, headers, and the body of an answer 200; nothing of it where the limit is 0."""
    data, end = bytearray(), time.monotonic() + ANSWER_SECONDS
    try:
        with client.stream("GET", address, headers=dict(headers)) as response:
            if response.status_code == 200 and limit:
                for chunk in response.iter_raw():
                    data += chunk
                    if len(data) > limit:
                        raise FeedFault(f"{address}: more than {limit} bytes")
                    if time.monotonic() > end:
                        raise FeedFault(f"{address}: not whole after {ANSWER_SECONDS:.0f} s")
            return response.status_code, response.headers, bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FeedFault(f"{address}: {in_words(error)}") from error


def _refused(address: str, status: int, headers: httpx.Headers, now: datetime) -> FeedFault:
    said = f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
    if 300 <= status < 400:
        said += f"; it has moved to {_plain(headers.get('location'))}"
    return FeedFault(f"{address}: {said}", retry_after(headers.get("retry-after", ""), now.timestamp()))


def _time(said: object) -> datetime | None:
    try:
        read = datetime.fromisoformat(said) if isinstance(said, str) else None
        return (read if read is None or read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC) if read else None
    except (ValueError, OverflowError):
        return None


def _plain(said: object) -> str:
    """Text as a page and a database take it: of one line, 256 characters at most, no control characters."""
    return "".join(char for char in said if char.isprintable())[:256] if isinstance(said, str) else ""


def _sendable(headers: httpx.Headers, name: str) -> str | None:
    """A header that can be sent back as it came; None for one that no honest server gives."""
    value = headers.get(name, "")
    longest = 512 if name == "etag" else 128
    return value if re.fullmatch(rf"[\x21-\x7e][\x20-\x7e]{{0,{longest - 1}}}", value) else None
