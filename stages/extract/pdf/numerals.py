"""Page numbers: Arabic or Roman, bare or between dashes."""

from __future__ import annotations

import re

_BARE = re.compile(r"^[\s\-–—−·|\[(]*(\d{1,5}|[ivxlc]{1,8}|[IVXLC]{1,8})[\s\-–—−·|\])]*$")
_ROMAN = re.compile(r"^(c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})$")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}


def page_number(text: str) -> int | None:
    """The number that `text` is and nothing else, as `7`, `– 7 –`, `[7]`, `xiv`; None where it is something else."""
    found = _BARE.match(text)
    if not found:
        return None
    digits = found.group(1)
    if digits.isdecimal():
        return int(digits)
    roman = digits.lower()
    if not _ROMAN.match(roman):
        return None
    values = [_VALUES[letter] for letter in roman]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0]))
