"""Setting paragraphs: text becomes lines of a given width, justified and hyphenated, and lines become PDF operators.

Knows neither columns nor pages. `water^2` sets the 2 as a superscript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.sample.pdf import FACES, literal

# Before a consonant and a vowel (fa-vour, gar-den), as cheap hyphenators do: now and then it is wrong.
VOWELS = "aeiouyäöüàâéèêëîïôùûаеиоуыэюяё"
CONSONANT = rf"[^\W\d_{VOWELS}]"
BREAK = re.compile(rf"(?:(?<=\w\w[{VOWELS}])|(?<=\w\w[{VOWELS}]{CONSONANT}))(?={CONSONANT}[{VOWELS}]\w)")
RAISED = re.compile(r"\^(\d+)")
RAISED_SIZE, RISE = 0.6, 0.35  # of the size of the text around


@dataclass(frozen=True)
class Line:
    """One line of text; `stretch` (points) is added to each of its spaces."""

    text: str
    face: str
    size: float
    indent: float = 0  # points, from the left edge of its column
    stretch: float = 0

    @property
    def width(self) -> float:
        """In points, without indent and stretch."""
        return width(self.text, self.face, self.size)


def paragraph(
    text: str,
    face: str,
    size: float,
    measure: float,
    *,
    indent: float = 0,
    notch: tuple[int, float] = (0, 0),
    ragged: bool = False,
) -> list[Line]:
    """The lines of a paragraph in a column `measure` points wide.

    All lines are indented by `indent`; the first `notch[0]` of them by `notch[1]` more, to make room for a drop cap.
    Lines but the last are justified and words hyphenated unless it is `ragged`.
    """
    lines: list[Line] = []
    words = text.split()
    while words:
        left = indent + (notch[1] if len(lines) < notch[0] else 0)
        room = measure - left
        taken = 1
        while taken < len(words) and width(" ".join(words[: taken + 1]), face, size) <= room:
            taken += 1
        row, words = words[:taken], words[taken:]
        if words and not ragged:
            for cut in reversed([found.start() for found in BREAK.finditer(words[0])]):
                part = f"{words[0][:cut]}-"
                if width(" ".join([*row, part]), face, size) <= room:
                    row, words = [*row, part], [words[0][cut:], *words[1:]]
                    break
        line = " ".join(row)
        spare = room - width(line, face, size)
        lines.append(Line(line, face, size, left, spare / (len(row) - 1) if words and row[1:] and not ragged else 0))
    return lines


def show(line: Line, x: float, y: float) -> str:
    """The operators that show a line on the base line y of a column that begins at x: points from the lower left."""
    name, size, face = line.face, line.size, FACES[line.face]
    shown = "".join(
        f"/{name} {size * RAISED_SIZE:g} Tf {size * RISE:g} Ts {literal(run, face)} Tj 0 Ts /{name} {size:g} Tf "
        if raised
        else f"{literal(run, face)} Tj "
        for run, raised in _runs(line.text)
    )
    return f"BT /{name} {size:g} Tf {line.stretch:.3f} Tw {x + line.indent:.2f} {y:.2f} Td {shown}ET\n"


def width(text: str, face: str, size: float) -> float:
    """In points."""
    return sum(
        sum(map(FACES[face].advance, run)) * size * (RAISED_SIZE if raised else 1) / 1000 for run, raised in _runs(text)
    )


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Stretches of text, and whether each is raised."""
    for at, run in enumerate(RAISED.split(text)):
        if run:
            yield run, at % 2 == 1
