"""A small Common Crawl on this machine: collinfo.json, paths and WARC files, and new snapshots while it runs."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from crawls import cut
from origin import Behaviour, Handler, Origin, status

LIST = "/collinfo.json"


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]


class FakeCrawl:
    """Serves what was announced and published, conditionally and in parts, while the `with` block lasts.

    `instead`: by path, what to do with the next requests for it. `requests`: all of them, in order.
    """

    def __init__(self) -> None:
        self.instead: dict[str, list[Behaviour]] = {}
        self.requests: list[Request] = []
        self._ids: list[str] = []
        self._files: dict[str, bytes] = {}
        self._origin = Origin({"*": self._answer, "/robots.txt": status(404)})

    @property
    def url(self) -> str:
        """The base of both the list and the data."""
        return self._origin.url("/")

    def announce(self, *snapshots: str) -> None:
        """Put snapshots into the list, whether or not there is anything of them."""
        self._ids = sorted({*self._ids, *snapshots}, reverse=True)

    def publish(self, snapshot: str, packs: Sequence[bytes] | None = None) -> None:
        """Put a snapshot into the list, and its WARC files where they belong; `packs`: the sample's captures."""
        stem = f"crawl-data/{snapshot}"
        packs = cut(2, every=20) if packs is None else packs
        paths = [f"{stem}/segments/1761.{at % 2}/warc/part-{at:05d}.warc.gz" for at in range(len(packs))]
        self._files |= {f"/{path}": pack for path, pack in zip(paths, packs)}
        self._files[f"/{stem}/warc.paths.gz"] = gzip.compress("".join(f"{path}\n" for path in paths).encode())
        self.announce(snapshot)

    def asked(self, path: str) -> list[Request]:
        """The requests for a path."""
        return [request for request in self.requests if request.path == path]

    def collinfo(self) -> bytes:
        entries = [
            {"id": each, "name": f"{each} Index", "from": "2026-10-05T01:02:03", "to": "2026-10-18T04:05:06"}
            for each in self._ids
        ]
        return json.dumps(entries).encode()

    def __enter__(self) -> Self:
        self._origin.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._origin.__exit__(*raised)

    def _answer(self, handler: Handler) -> None:
        self.requests.append(Request(handler.path, dict(handler.headers.items())))
        todo = self.instead.get(handler.path)
        if todo:
            return todo.pop(0)(handler)
        content = self.collinfo() if handler.path == LIST else self._files.get(handler.path)
        if content is None:
            return status(404)(handler)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if handler.headers["If-None-Match"] == tag:
            return status(304, {"ETag": tag})(handler)
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers["Range"] or "")
        if part is None:
            return status(200, {"ETag": tag}, content)(handler)
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        if first > last:
            return status(416, {"Content-Range": f"bytes */{len(content)}"})(handler)
        where = {"ETag": tag, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return status(206, where, content[first : last + 1])(handler)
