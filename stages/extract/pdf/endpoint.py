"""One question to an OpenAI-compatible endpoint, and what came back: an answer, a reason to ask again later, or never.

Nothing is trusted: answers are read up to a size and within a time, redirects are not followed (they would take the key
and the picture elsewhere), and proxies that the environment names are not used.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import time
from dataclasses import dataclass

import httpx

from stages.extract.pdf.answer import Answer
from stages.extract.pdf.ocr import MAX_WAIT_SECONDS, Unread

MAX_ANSWER_BYTES = 4 * 2**20
"""8,000 tokens are some 40 kB; escapes and the protocol's own words included, this is a hundred times as much."""
FIRST_WAIT_SECONDS = 1.0
_LATER = {408, 425, 429, 500, 502, 503, 504}
_NEVER = {401, 403, 404, 405}
"""Statuses that mean the same for every page: a wrong key, address or model."""


class EndpointUnusable(RuntimeError):
    """The endpoint refuses everything; one line, without the key."""


@dataclass(frozen=True, slots=True)
class Later:
    """The server is at fault, for now."""

    unread: Unread
    retry_after: float | None = None


class Endpoint:
    """A connection pool to one address, for the life of an event loop."""

    def __init__(self, address: str, key: str | None, timeout_seconds: float) -> None:
        self._address = address
        self._timeout = timeout_seconds
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            headers=headers, timeout=timeout_seconds, trust_env=False, follow_redirects=False
        )

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def ask(self, request: dict[str, object]) -> Answer | Unread | Later:
        """Raises EndpointUnusable."""
        try:
            async with asyncio.timeout(self._timeout):
                async with self._client.stream("POST", self._address, json=request) as response:
                    body = await _bounded(response)
        except (TimeoutError, httpx.TimeoutException):
            return Later(Unread("ocr_timeout", f"no answer within {self._timeout:g} s"))
        except httpx.HTTPError as error:
            return Later(Unread("ocr_unreachable", f"{type(error).__name__}: {error}"[:200]))
        status = response.status_code
        if status == 200:
            return _parsed(body)
        said = f"HTTP {status}: {_one_line(body)}"
        if status in _LATER:
            reason = "ocr_overloaded" if status in (429, 503) else "ocr_http_error"
            return Later(Unread(reason, said), retry_after(response.headers.get("retry-after")))
        if status in _NEVER or 300 <= status < 400:
            where = f" to {response.headers.get('location', '')[:100]}" if 300 <= status < 400 else ""
            raise EndpointUnusable(f"{self._address}: {said}{where}")
        return Unread("ocr_http_error", said)


async def _bounded(response: httpx.Response) -> bytes | None:
    """The body; None where it is larger than any answer."""
    body = bytearray()
    async for piece in response.aiter_bytes(65536):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _parsed(body: bytes | None) -> Answer | Later:
    if body is None:
        return Later(Unread("ocr_bad_answer", f"more than {MAX_ANSWER_BYTES} bytes"))
    try:
        choice = json.loads(body)["choices"][0]
        message = choice["message"]
        text, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Later(Unread("ocr_bad_answer", f"no chat completion: {_one_line(body)}"))
    if not all(each is None or isinstance(each, str) for each in (text, refusal, finish)):
        return Later(Unread("ocr_bad_answer", f"no chat completion: {_one_line(body)}"))
    return Answer(text or "", finish, refusal)


def _one_line(body: bytes | None) -> str:
    return " ".join((body or b"")[:1000].decode("utf-8", "replace").split())[:160]


def retry_after(value: str | None) -> float | None:
    """Seconds from now, of a delay or a date (RFC 9110, section 10.2.3); None where it is neither."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def wait_before(attempt: int, retry_after: float | None) -> float:
    """Seconds to wait after attempt `attempt` (from 0) failed: doubling, or as the server wishes, within bounds."""
    wait = FIRST_WAIT_SECONDS * 2.0**attempt if retry_after is None else retry_after
    return min(wait, MAX_WAIT_SECONDS) if math.isfinite(wait) else MAX_WAIT_SECONDS
