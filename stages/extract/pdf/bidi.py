"""Lines of right-to-left scripts in logical order, by place.

MuPDF gives the letters of a word in the order they are read, and the words in the order they are drawn: often from left
to right, with punctuation where it stands on the page. Where in a line words stand says in which order they are read,
whoever drew them: from right to left, but for numbers and words of other scripts that stand side by side (Unicode
Standard Annex 9, rules L2 and N1, backwards). Works on MuPDF's own lines, with the places of their characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

JUMP = 0.6
"""Of the size: characters further apart, or so far back, are no neighbours in a word."""

# Letters from Hebrew to Arabic Extended-A, and their presentation forms; numbers alone say nothing of a line.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u065f\u066e-\u06ef\u06fa-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_MIRRORED = str.maketrans("()[]{}", ")(][}{")
_DIRECTIONS = {"R": 1, "AL": 1, "L": -1, "EN": -1, "AN": -1}


def is_right_to_left(line: dict[str, Any]) -> bool:
    """Whether most letters of a horizontal line of a text page's dictionary are of scripts written so."""
    text = "".join([span["text"] for span in line["spans"]])
    if text.isascii() or not line["dir"][0] > abs(line["dir"][1]):
        return False
    return len(_RIGHT_TO_LEFT.findall(text)) * 2 > sum(map(str.isalpha, text))


def in_reading_order(line: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """The line with its words in the order they are read; `raw` is the same line with its characters."""
    words = sorted(_words(raw), key=lambda word: -(word["bbox"][0] + word["bbox"][2]))
    directions = [_direction(word["text"]) for word in words]
    ordered: list[dict[str, Any]] = []
    at = 0
    while at < len(words):
        end = at + 1
        if directions[at] < 0:  # what is between two words of another direction goes with them
            last = at
            while end < len(words) and directions[end] <= 0:
                last = end if directions[end] < 0 else last
                end += 1
            end = last + 1
        ordered += reversed(words[at:end])
        at = end
    return {**line, "spans": ordered}


def with_brackets_turned(text: str) -> str:
    """A right-to-left text whose brackets pair. Some files say of a bracket what it means, others what was drawn: an
    opening one looks like a closing one here.
    """
    turned = text.translate(_MIRRORED)
    return turned if turned != text and not _balanced(text) and _balanced(turned) else text


def _words(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Spans of a word each, or of a blank, as drawn: neither has a jump in it, or another style."""
    words: list[dict[str, Any]] = []
    for span in raw["spans"]:
        style = {name: value for name, value in span.items() if name != "chars"}
        start = len(words)
        before, last = (0.0, 0.0), 0
        for each in span["chars"]:
            x0, y0, x1, y1 = each["bbox"]
            this = _direction(each["c"])
            blank = each["c"].isspace() or (len(words) > start and words[-1]["text"].isspace())
            far = max(x0 - before[1], before[0] - x1) > JUMP * span["size"]
            back = x0 + x1 > sum(before) and 1 in (this, last) and not unicodedata.combining(each["c"])
            if len(words) == start or blank or far or back:
                words.append({**style, "text": each["c"], "bbox": each["bbox"], "origin": each["origin"]})
            else:
                a0, b0, a1, b1 = words[-1]["bbox"]
                words[-1]["text"] += each["c"]
                words[-1]["bbox"] = (min(a0, x0), min(b0, y0), max(a1, x1), max(b1, y1))
            before, last = (x0, x1), this
    return words


def _balanced(text: str) -> bool:
    """Whether every bracket that opens closes, and none before it opens."""
    for opening, closing in ("()", "[]", "{}"):
        depth = 0
        for letter in text:
            depth += (letter == opening) - (letter == closing)
            if depth < 0:
                return False
        if depth:
            return False
    return True


def _direction(word: str) -> int:
    """1 for right to left, -1 for left to right, numbers too, 0 for neither."""
    directions = [_DIRECTIONS.get(unicodedata.bidirectional(letter), 0) for letter in word]
    return 1 if 1 in directions else min(directions, default=0)
