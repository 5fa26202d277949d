"""OCR by a vision model behind an OpenAI-compatible endpoint, as vLLM serves olmOCR, RolmOCR and others.

Pages go as pictures in data URIs, several at a time; answers are checked (`answer`), and asked for again at a higher
temperature where the model went wrong, or after a growing wait where the server did. A model's answers are not the same
on every day and machine: what a run stored is what holds.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import deque
from collections.abc import Generator, Sequence
from itertools import islice
from typing import TypeVar

import pymupdf

from stages.extract.pdf.answer import Turned, read_answer
from stages.extract.pdf.content import Block
from stages.extract.pdf.endpoint import Endpoint, Later, wait_before
from stages.extract.pdf.ocr import Unread, VisionOptions
from stages.extract.pdf.opening import Unreadable, reading

T = TypeVar("T")

_TEMPERATURES = (0.0, 0.2, 0.4, 0.8)
"""By attempt: a loop at 0 is a loop for ever (olmOCR's pipeline climbs in the same way)."""


class VisionOcr:
    """Asks the endpoint for pages. Raises ValueError where the key's environment variable is not set."""

    def __init__(self, options: VisionOptions) -> None:
        self._options = options
        self._key = os.environ.get(options.api_key_env) if options.api_key_env else None
        if options.api_key_env and not self._key:
            raise ValueError(f"ocr.api_key_env: the environment variable {options.api_key_env} is not set")

    def recognise(
        self, document: pymupdf.Document, numbers: Sequence[int]
    ) -> Generator[tuple[int, list[Block] | Unread], None, None]:
        """Each page in turn, while the `concurrency - 1` after it are on their way: no more pictures are held.
        Take them promptly: answers are waited for only here, and their time runs on.

        Raises EndpointUnusable where the endpoint refuses everything: a wrong key, model or address.
        """
        with asyncio.Runner() as runner:  # its end cancels what is still on its way
            loop = runner.get_loop()
            endpoint = Endpoint(self._options.endpoint, self._key, self._options.timeout_seconds)
            waiting = iter(numbers)
            under_way: deque[tuple[int, asyncio.Task[list[Block] | Unread]]] = deque()
            try:
                while True:
                    for number in islice(waiting, self._options.concurrency - len(under_way)):
                        under_way.append((number, loop.create_task(self._page(endpoint, document, number))))
                    if not under_way:
                        return
                    number, task = under_way.popleft()
                    yield number, runner.run(_result(task))
            finally:
                runner.run(endpoint.close())

    async def _page(self, endpoint: Endpoint, document: pymupdf.Document, number: int) -> list[Block] | Unread:
        turn = 0
        outcome: list[Block] | Unread = Unread("ocr_failed")
        for attempt in range(self._options.attempts):
            try:
                picture = picture_of(document, number, self._options.longest_side, turn)
            except Unreadable as error:
                return Unread("ocr_failed", str(error))
            answer = await endpoint.ask(self._request(picture, attempt))
            if isinstance(answer, Later):
                outcome = answer.unread
                if attempt + 1 < self._options.attempts:
                    await asyncio.sleep(wait_before(attempt, answer.retry_after))
                continue
            if isinstance(answer, Unread):
                return answer
            result = read_answer(answer)
            if isinstance(result, Turned):
                turn = (turn + result.degrees) % 360
                outcome = Unread("ocr_failed", "the model never liked the page's rotation")
                continue
            outcome = result
            if isinstance(outcome, list) or outcome.reason in ("ocr_empty", "ocr_refused"):
                return outcome
        return outcome

    def _request(self, picture: bytes, attempt: int) -> dict[str, object]:
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        return {
            "model": self._options.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": self._options.prompt},
                        {"type": "image_url", "image_url": {"url": url}},
                    ],
                }
            ],
            "max_tokens": self._options.max_tokens,
            "temperature": _TEMPERATURES[min(attempt, len(_TEMPERATURES) - 1)],
        }


async def _result(task: asyncio.Task[T]) -> T:
    return await task


def picture_of(document: pymupdf.Document, number: int, longest_side: int, turn: int = 0) -> bytes:
    """A PNG of a page whose longer side has so many pixels, turned clockwise. Raises Unreadable, MemoryError."""
    with reading(f"picture of page {number + 1}"):
        page = document.load_page(number)
        longest = max(page.rect.width, page.rect.height)
        if not 0 < longest < float("inf"):
            raise Unreadable(f"picture of page {number + 1}: it has no size")
        scale = longest_side / longest
        pixels: bytes = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale).prerotate(turn)).tobytes("png")
        return pixels
