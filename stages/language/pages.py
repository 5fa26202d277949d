"""The language of each page of a PDF, where a page says enough to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stages.language.labels import UNDETERMINED

MIN_LETTER_BYTES = 50
MIN_LETTER_SHARE = 0.2
"""A page with fewer bytes of letters, or with a lower share of letters among its characters, is of no known language
(the figures are FinePDFs'): a table of numbers, a title page.
"""


def page_languages(text: str, page_ends: Sequence[int], identify: Callable[[str], tuple[str, float]]) -> list[str]:
    """The most probable language of each page; pages that say too little are `und_Zyyy`."""
    return [
        identify(page)[0] if _tells(page) else UNDETERMINED
        for page in (text[start:end] for start, end in zip([0, *page_ends], page_ends))
    ]


def _tells(page: str) -> bool:
    letters = [char for char in page if char.isalpha()]
    enough = len("".join(letters).encode("utf-8", "replace")) >= MIN_LETTER_BYTES
    return enough and len(letters) >= MIN_LETTER_SHARE * sum(not char.isspace() for char in page)
