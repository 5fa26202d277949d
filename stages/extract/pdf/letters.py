"""Letter-spaced words: `W A T E R  M I L L` is what MuPDF makes of them, as it takes wide gaps for spaces.

Works on MuPDF's own lines, with the places of their characters.
"""

from __future__ import annotations

import re
from itertools import pairwise
from statistics import median
from typing import Any

WORD_GAP = 1.8
"""Times the usual gap between two letters: a wider one parts words, where no space is drawn."""

_SPACED = re.compile(r"\s*[^\W\d_](?:\s+[^\W\d_]){3,}\s*[.:!?]?\s*$")


def is_letter_spaced(line: dict[str, Any]) -> bool:
    """Whether a line of a text page's dictionary is four single letters or more, with spaces between all."""
    text = "".join([span["text"] for span in line["spans"]])
    return len(text) > 6 and text[1:2].isspace() | text[2:3].isspace() and _SPACED.match(text) is not None


def closed_up(line: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """The line without the spaces that nobody drew; `raw` is the same line with its characters."""
    characters = [each for span in raw["spans"] for each in span["chars"]]
    drawn = [each for each in characters if not each["synthetic"]]
    inked = [each for each in drawn if not each["c"].isspace()]
    if len(inked) < 2 or len(drawn) == len(characters):
        return line  # every space is drawn: they are letters, set apart on purpose
    text = inked[0]["c"]
    if len(inked) < len(drawn):
        text = "".join([each["c"] for each in drawn])
    else:
        along = 0 if abs(line["dir"][0]) >= abs(line["dir"][1]) else 1
        steps = [abs(b["bbox"][along] - a["bbox"][along]) - _extent(a, along) for a, b in pairwise(inked)]
        usual = median(steps)
        for step, each in zip(steps, inked[1:]):
            text += (" " if step > WORD_GAP * usual else "") + each["c"]
    first = line["spans"][0]
    return {**line, "spans": [{**first, "text": text.strip(), "bbox": line["bbox"]}]}


def _extent(character: dict[str, Any], along: int) -> float:
    return float(character["bbox"][along + 2] - character["bbox"][along])
