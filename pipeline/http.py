"""The one HTTP client: a file as a stream, a small file whole, and a file in parts.

How a download goes about it is in `pipeline.download`.
"""

from __future__ import annotations

import io
from typing import BinaryIO

from pipeline.budget import Budget
from pipeline.download import Download, new_client
from pipeline.faults import InputError
from pipeline.patience import TERMS, Terms
from pipeline.responses import FileVersion

HTTP = ("http://", "https://")
BUFFER = 2**18


def open_url(url: str, budget: Budget, terms: Terms = TERMS) -> BinaryIO:
    """The bytes of an http:// or https:// URL as a stream. Raises InputError, at once or while reading."""
    download = Download(url, budget, terms)
    try:
        download.start()
    except BaseException:
        download.close()
        raise
    return io.BufferedReader(download, BUFFER)


def fetch_bytes(url: str, budget: Budget, max_bytes: int, terms: Terms = TERMS) -> bytes:
    """The whole of a small file. Raises InputError, also for a file of more than `max_bytes`."""
    with open_url(url, budget, terms) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(f"{url}: more than the {max_bytes} bytes that such a file may have")
    return data


class HttpFile:
    """One file behind a URL, read in parts over connections that stay open, and never across a change of it.

    Every method raises InputError, also where the server gives no parts.
    """

    def __init__(self, url: str, budget: Budget, terms: Terms = TERMS) -> None:
        self._url, self._budget, self._terms = url, budget, terms
        self._client = new_client(terms)
        self._version: FileVersion | None = None

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, fewer where the file ends before."""
        return self._part((start, stop))[1]

    def tail(self, count: int) -> tuple[int, bytes]:
        """The size of the file, and its last `count` bytes, or all where it has fewer."""
        start, data = self._part((-count, None))
        return start + len(data), data

    def _part(self, part: tuple[int, int | None]) -> tuple[int, bytes]:
        with Download(self._url, self._budget, self._terms, self._client, part, self._version) as download:
            data = download.readall()
            self._version = download.version
            return download.first, data

    def close(self) -> None:
        self._client.close()
