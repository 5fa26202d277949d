"""One download, over as many connections as it takes: it outlives lost connections, and servers that ask for patience.

A connection that breaks in mid-body is taken up again where it broke (RFC 9110, sections 13 and 14), never across a
change of the file. Refusals are waited out, together with everybody who shares the budget, for as long as
`pipeline.patience` allows.

No cache, no decoding: the bytes are those of the file (`Accept-Encoding: identity`).
A server may still take the read time-out for each byte of its response head, which httpx does not bound as a whole.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import httpx

from pipeline import __version__
from pipeline.budget import Budget, take_turn
from pipeline.faults import InputError, in_words
from pipeline.patience import Patience, Terms, retry_after, whole_number
from pipeline.responses import FileVersion, first_byte, is_hopeless

REDIRECTS = 5
BUSY = frozenset({403, 429, 503})
"""Common Crawl's own limit says 403, its storage's 503 (status.commoncrawl.org); others say 429 (RFC 6585)."""


def new_client(terms: Terms) -> httpx.Client:
    agent = f"crawlmill/{__version__}" + (f" (+{terms.contact})" if terms.contact else "")
    headers = {"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity"}
    return httpx.Client(headers=headers, timeout=httpx.Timeout(terms.read, connect=terms.connect))


class Download(io.RawIOBase):
    """A file or a part of it as a stream, over as many responses as it takes. After a fault it stays dead: going on
    would skip bytes unseen.

    `part` is (first byte, byte to stop before); (-n, None) are the last n bytes; None is the whole file, for which the
    server need know nothing of parts. `client` and `version`, what is known of the file, come from who reads several
    parts.
    """

    def __init__(
        self,
        url: str,
        budget: Budget,
        terms: Terms,
        client: httpx.Client | None = None,
        part: tuple[int, int | None] | None = None,
        version: FileVersion | None = None,
    ) -> None:
        self._url, self._budget, self._terms = url, budget, terms
        self._client, self._owns_client = client or new_client(terms), client is None
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._part = part
        self._met_before = version is not None
        self.version = version or FileVersion()
        """Of the file of which the bytes from `first` to `_position` are known."""
        self.first, self._stop = part or (0, None)
        self._position = self.first
        self._skip = 0  # bytes of the present response that are known already
        self._ended = False
        self._fault: InputError | None = None
        self._patience = Patience(terms, seed=f"{url} {part}" if part else url)

    def readable(self) -> bool:
        return True

    def start(self) -> None:
        """Connect and take the first bytes, so that what is wrong from the start is said at the start."""
        self._rest = memoryview(self._next())

    def readinto(self, buffer: Any) -> int:
        if self._fault is not None:
            raise self._fault
        if not self._rest:
            try:
                self._rest = memoryview(self._next())
            except InputError as fault:
                self._fault = fault
                raise
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            if self._ended and not self._owns_client:  # unless its end was read, a connection cannot serve again
                with contextlib.suppress(httpx.TransportError):
                    next(self._chunks, None)
            self._drop()
            if self._owns_client:
                self._client.close()
        super().close()

    def _next(self) -> bytes:
        """The next bytes of the file; none at its end."""
        while not self._ended:
            try:
                if self._response is None:
                    self._connect()
                    continue
                with self._timed():
                    chunk = next(self._chunks, None)
            except httpx.TransportError as error:
                if self._position == self.first and is_hopeless(error):
                    raise self._error(in_words(error)) from error
                self._again(in_words(error))
                continue
            except httpx.InvalidURL as error:
                raise self._error(f"not an address: {in_words(error)}") from error
            if chunk is None:
                self._end()
                continue
            known = min(self._skip, len(chunk))
            self._skip -= known
            if new := self._advance(chunk[known:]):
                return new
        return b""

    def _advance(self, new: bytes) -> bytes:
        self._position += len(new)
        end = self._end_of_part
        if end is not None and self._position > end:
            raise self._error(f"more bytes than the {end - self.first} announced")
        self._ended = self._position == end
        if not self._patience.received(len(new)):
            raise self._error(f"too slow: given up at byte {self._position} after {self._patience.spent:.0f} s")
        return new

    def _end(self) -> None:
        end = self._end_of_part
        self._ended = self._skip == 0 and end in (None, self._position)
        if not self._ended:
            self._again(f"cut short at byte {self._position} of {end}")

    def _connect(self) -> None:
        """Ask for the rest of the file; leaves no response where the server wants to be asked again."""
        response = self._send()
        status = response.status_code
        if status == 206 if self._part else status == 200 or (status == 206 and self._position):
            self._accept(response)
            return
        response.close()
        if status == 200 and self._part:  # of 1 GB somebody wants a page: taking it from the whole would cost the whole
            changed = self.version.contradicts(FileVersion.of(response))
            raise self._error("changed while being read" if changed else "the server gives no parts of files")
        said = f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
        if status == 416 and self._position >= (0 if self._part else 1):
            total = whole_number(response.headers.get("content-range", "").rpartition("/")[2])
            is_behind = self._part is not None and (total is None or total < self._position)
            if not (is_behind or total == self._position) or self.version.length not in (
                None,
                total or self.version.length,
            ):
                raise self._error(f"changed while being read: has {total} bytes, {self._position} of them read")
            self._ended = True
        elif status in BUSY or status in (408, 425) or status >= 500:
            asked = retry_after(response.headers.get("retry-after", ""), self._terms.today())
            self._again(said, asked, everybody=status in BUSY)  # a fault of one file is no reason to stop the others
        else:
            raise self._error(said)

    def _send(self) -> httpx.Response:
        headers = {}
        if self._part or self._position:
            last = self._stop - 1 if self._stop is not None else ""
            headers = {"Range": f"bytes={self._position}-{last}" if self._position >= 0 else f"bytes={self._position}"}
            headers |= self.version.if_range
        request = self._client.build_request("GET", self._url, headers=headers)
        for _ in range(REDIRECTS + 1):
            take_turn(self._budget, self._terms.sleep)
            with self._timed():
                response = self._client.send(request, stream=True)
            if response.next_request is None:
                return response
            response.close()
            if request.url.scheme == "https" != response.next_request.url.scheme:
                raise self._error(f"redirects to {response.next_request.url}, out of https")
            request = response.next_request
        raise self._error(f"more than {REDIRECTS} redirects")

    def _accept(self, response: httpx.Response) -> None:
        version, given = FileVersion.of(response), first_byte(response)
        if not self._met_before and self._position == self.first:
            self.version = version
        elif self.version.contradicts(version):
            response.close()
            raise self._error(f"changed while being read, at byte {self._position}")
        if self._position < 0 and given is not None and version.length is not None:
            self.first = self._position = given
            self._stop = version.length
        if response.status_code == 206 and given != self._position:
            response.close()
            said = response.headers.get("content-range", "")[:80] or "others"
            raise self._error(f"was asked for bytes {self._position} and on, gave {said!r}")
        self._skip = self._position if response.status_code == 200 else 0
        self._response, self._chunks = response, response.iter_raw()

    def _again(self, problem: str, asked: float = 0.0, everybody: bool = False) -> None:
        """Wait before another try, longer each time, and at least as long as the server asks; or give up."""
        self._drop()
        wait = self._patience.wait(asked)
        if wait is None:
            spent, limit = self._patience.spent, self._terms.patience
            request = f", and the server asks to wait {asked:.0f} s" if asked else ""
            raise self._error(f"still {problem} after {spent:.0f} s{request} (patience {limit:.0f} s); try again later")
        if everybody:
            self._budget.pause(wait)
        else:
            self._terms.sleep(wait)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response, self._chunks = None, iter(())

    @property
    def _end_of_part(self) -> int | None:
        """Behind the last byte wanted; None where nothing tells."""
        return min((each for each in (self._stop, self.version.length) if each is not None), default=None)

    def _error(self, problem: str) -> InputError:
        return InputError(f"{self._url}: {problem}")

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Counts the network's time against the patience; a queue for the budget or a slow reader costs none."""
        start = self._terms.clock()
        try:
            yield
        finally:
            self._patience.spent += self._terms.clock() - start
