"""When is a text the same on other pages, and on enough of them?"""

from __future__ import annotations

import re

from stages.extract.pdf.content import Line
from stages.extract.pdf.numerals import page_number

LEAST_SHARE = 0.25
"""Of the pages of one parity that a text comes back on (FinePDFs', which counts all pages and misses odd and even
heads).
"""
SAME_PLACE = 4.0
"""Points that a text may move between pages."""

_DIGITS = re.compile(r"\d+")


def text_of(line: Line) -> str:
    return " ".join("".join(span.text for span in line.spans).split())


def folded(text: str) -> str:
    """`text` with every number the same; a number alone, also a Roman one, is `0`."""
    if page_number(text) is not None:
        return "0"
    return _DIGITS.sub("0", text.casefold())


def often(on: set[int], pages: int) -> bool:
    """Whether pages are a quarter of all of their parity, and more than a coincidence."""
    if len(on) < (2 if pages <= 5 else 3):
        return False
    odd = sum(page % 2 for page in on)
    even = len(on) - odd
    return (odd > 0 and odd >= LEAST_SHARE * (pages // 2)) or even >= LEAST_SHARE * ((pages + 1) // 2)
