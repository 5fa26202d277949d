"""What the sample's PDFs look like: an article goes in, a file of some layout comes out.

Each function below is one layout, with what makes it hard to read back. Nothing is damaged or encrypted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.sample.pages import Article, Section, data
from pipeline.sample.pdf import A4, Image, Page, pdf
from pipeline.sample.typeset import Line, paragraph, show, width
from pipeline.sample.warc import number

WIDTH, HEIGHT = A4
MARGIN, GUTTER, FOOT = 56, 19, 48  # points
LEADING, SIZE = 13, 10.5
MEASURE = WIDTH - 2 * MARGIN
COLUMN = (MEASURE - GUTTER) / 2
Row = tuple[Line, ...]  # lines on one base line; none where a row is left empty
BOLD = {"R": "B", "K": "KB", "G": "G"}


def two_columns(story: Article) -> bytes:
    """A journal's article. Its text is shown line by line across both columns, so that the order of the stream is not
    the order of reading; it has an abstract over both columns, ligatures, superscripts and a footnote.
    """
    y: float = HEIGHT - 90
    opening = ""
    abstract = f"Abstract. {ligated(story.sections[0].text)}"
    for line in (
        *paragraph(ligated(story.title), "B", 18, MEASURE, ragged=True),
        Line(f"{story.author}^1 and the Harwick Field Club^2", "R", 11),
        Line("^1Harwick Natural History Society   ^2Millbrook Institute, founded 10^2 years ago", "I", 9),
        *paragraph(abstract, "I", 10, MEASURE - 40, indent=20),
    ):
        opening += show(line, MARGIN, y)
        y -= line.size * 1.45
    note = paragraph("^3The figures of the first season were read from a wall chart.", "R", 8, COLUMN)
    footnote = f"0.5 w {MARGIN} {FOOT + 24} m {MARGIN + 90} {FOOT + 24} l S\n"
    footnote += "".join(show(line, MARGIN, FOOT + 14 - at * 10) for at, line in enumerate(note))

    marked = [Section(part.heading, ligated(part.text)) for part in story.sections[1:]]
    marked[0] = Section(marked[0].heading, marked[0].text.replace(". ", ".^3 ", 1))
    rows = chapters(marked, "R", COLUMN)
    pages: list[Page] = []
    while rows:
        top, foot = (y - 10, FOOT + 40) if not pages else (HEIGHT - 80, FOOT + 24)
        fit = int((top - foot) // LEADING) + 1
        left, right, rows = rows[:fit], rows[fit : 2 * fit], rows[2 * fit :]
        across = ""
        for at in range(len(left)):
            across += drawn(left[at], MARGIN, top - at * LEADING)
            across += drawn(right[at], MARGIN + COLUMN + GUTTER, top - at * LEADING) if at < len(right) else ""
        folio = show(Line(str(len(pages) + 211), "R", 9), WIDTH / 2 - 7, FOOT - 14)
        pages.append(Page((opening + across + footnote if not pages else across) + folio))
    return pdf(pages, story.title, "LaTeX with hyperref")


def report(story: Article, language: str = "eng", face: str = "R") -> bytes:
    """A report of several pages with running heads that differ on odd and even pages, page numbers on the outer side,
    numbered headings, lists, hyphenated words, and paragraphs that go on over the page.
    """
    rows: list[Row] = [(line,) for line in paragraph(story.title, BOLD[face], 20, MEASURE, ragged=True)] + [(), ()]
    for at, section in enumerate(story.sections, 1):
        if at % 3:
            rows += [*chapters([section], face, MEASURE, first=at), ()]
        else:
            rows += [(Line(f"{at}  {section.heading}", BOLD[face], 12),), *items(section.text, face), ()]
    rows.pop()  # the last one is empty
    top, fit = HEIGHT - 96, 40
    head = data("chrome")[language]
    pages = []
    for folio, start in enumerate(range(0, len(rows), fit), 1):
        heading = Line(story.title if folio % 2 else head["footer"], face, 9)
        left, right = (MARGIN, WIDTH - MARGIN - heading.width) if folio % 2 else (WIDTH - MARGIN - 10, MARGIN)
        content = show(heading, right, HEIGHT - 56)
        content += "".join(drawn(row, MARGIN, top - at * LEADING) for at, row in enumerate(rows[start : start + fit]))
        pages.append(Page(content + show(Line(str(folio), face, 9), left, FOOT)))
    return pdf(pages, story.title)


def table_page(story: Article, *, ruled: bool) -> bytes:
    """Prose, a table of numbers with or without ruling lines, its caption, and more prose."""
    before, after = story.sections[0], story.sections[1]
    y: float = HEIGHT - 90
    content = ""
    for row in chapters([before], "R", MEASURE):
        content += drawn(row, MARGIN, y)
        y -= LEADING
    content += show(Line("Table 1. Passengers at the stops of the valley line, by month.", "I", 9.5), MARGIN, y - 12)
    shown, y = table(timetable(story.url), MARGIN, y - 26, (150, 80, 80, 80, 80), ruled=ruled)
    content += shown
    for at, row in enumerate(chapters([after], "R", MEASURE)):
        content += drawn(row, MARGIN, y - 22 - at * LEADING)
    return pdf([Page(content)], story.title)


def leaflet(story: Article) -> bytes:
    """One page with a drop cap, superscripts, a bulleted list and a footnote."""
    opening, listed, closing = story.sections[:3]
    cap = Line(opening.text[0], "B", 46)
    y: float = HEIGHT - 130
    content = show(Line(story.title, "B", 20), MARGIN, HEIGHT - 80) + show(cap, MARGIN, y - 2 * LEADING)
    noted = f"{opening.text[1:]} The plot measures 45 m^2, and about 10^6 seeds lie in it.^1"
    rows: list[Row] = [(line,) for line in paragraph(noted, "R", SIZE, MEASURE, notch=(3, cap.width + 4))]
    rows += [(), (Line(listed.heading, "B", 13),), *items(listed.text, "R"), (), *chapters([closing], "R", MEASURE)]
    for row in rows:
        content += drawn(row, MARGIN, y)
        y -= LEADING
    content += f"0.5 w {MARGIN} {FOOT + 24} m {MARGIN + 90} {FOOT + 24} l S\n"
    return pdf([Page(content + show(Line("^1Counted by sieving one bucket.", "R", 8), MARGIN, FOOT + 14))], story.title)


def rotated(story: Article) -> bytes:
    """A page with a stamp up its margin, and a page in landscape that is stored upright and turned by /Rotate."""
    stamp = "BT /H 16 Tf 0 Tw 0 1 -1 0 30 260 Tm (preprint:2610.00417v2 5 Oct 2026) Tj ET\n"
    upright = "".join(
        drawn(row, MARGIN, HEIGHT - 80 - at * LEADING)
        for at, row in enumerate(chapters(story.sections[:3], "R", MEASURE))
    )
    shown, y = table(timetable(story.url), MARGIN, WIDTH - 110, (250, 110, 110, 110, 110), ruled=True)
    wide = show(Line("Table A. The same line, in landscape.", "B", 12), MARGIN, WIDTH - 80) + shown
    for at, row in enumerate(chapters(story.sections[3:4], "R", HEIGHT - 2 * MARGIN)):
        wide += drawn(row, MARGIN, y - 30 - at * LEADING)
    turned = f"q 0 1 -1 0 {WIDTH} 0 cm\n{wide}Q\n"
    return pdf([Page(stamp + upright), Page(turned, rotate=90)], story.title)


def illustrated(story: Article, width: int, height: int) -> bytes:
    """A page of text, a grey photograph of so many pixels that nothing can compress, and the rest of the text after
    it: of a copy that is cut off inside the photograph, one page can be read.
    """
    photo = Image(width, height, 8, hashlib.shake_256(story.url.encode()).digest(width * height))
    caption = show(Line("Figure 1. The hillside in November fog.", "I", 10), MARGIN, 300)
    pages = [plain(story.sections[:3], story.title), Page(f"q 420 0 0 420 87 340 cm /I0 Do Q\n{caption}", (photo,))]
    rest = story.sections[3:]
    return pdf([*pages, *(plain(rest[at : at + 4]) for at in range(0, len(rest), 4))], story.title)


def simple(story: Article, face: str = "R") -> bytes:
    """One page of plain text, in a face of the caller's choice."""
    return pdf([plain(story.sections[:4], story.title, face)], story.title)


def poster(words: Sequence[str]) -> bytes:
    """A few words in large letters."""
    shown = "".join(show(Line(each, "B", 48), MARGIN, HEIGHT - 200 - at * 80) for at, each in enumerate(words))
    return pdf([Page(shown)], " ".join(words))


def plain(sections: Sequence[Section], title: str = "", face: str = "R") -> Page:
    content = show(Line(title, BOLD[face], 18), MARGIN, HEIGHT - 70) if title else ""
    rows = enumerate(chapters(sections, face, MEASURE))
    return Page(content + "".join(drawn(row, MARGIN, HEIGHT - 110 - at * LEADING) for at, row in rows))


def chapters(sections: Sequence[Section], face: str, measure: float, first: int = 1) -> list[Row]:
    """Numbered headings, each with its paragraph."""
    rows: list[Row] = []
    for at, section in enumerate(sections, first):
        rows += [()] if rows else []
        rows += [(line,) for line in paragraph(f"{at}  {section.heading}", BOLD[face], 12, measure, ragged=True)]
        rows += [(line,) for line in paragraph(section.text, face, SIZE, measure)]
    return rows


def items(text: str, face: str) -> list[Row]:
    """The sentences of a text as a bulleted list."""
    rows: list[Row] = []
    for sentence in text.split(". "):
        first, *others = paragraph(f"{sentence.removesuffix('.')}.", face, SIZE, MEASURE, indent=18)
        rows += [(Line("•", face, SIZE, 4), first), *((line,) for line in others)]
    return rows


def timetable(seed: str) -> list[tuple[str, ...]]:
    """A head and eight rows of numbers."""
    stops = ("Harwick", "Millbrook", "Eastmere", "Old Quarry", "Saltings", "Ferry Lane", "Westvale", "Terminus")
    head = ("Stop", "January", "April", "July", "October")
    return [head, *((stop, *(str(number(f"{seed} {stop} {at}") % 9000 + 100) for at in range(4))) for stop in stops)]


def table(
    rows: Sequence[Sequence[str]], x: float, y: float, widths: Sequence[float], *, ruled: bool
) -> tuple[str, float]:
    """A table below y, numbers flush right, its head bold; with the y of its lower edge."""
    height, content = 18, ""
    for at, row in enumerate(rows):
        face, edge = "R" if at else "B", x
        for column, (cell, room) in enumerate(zip(row, widths)):
            left = edge + 5 if column == 0 else edge + room - 5 - width(cell, face, 10)
            content += show(Line(cell, face, 10), left, y - at * height - 13)
            edge += room
    right, low = x + sum(widths), y - len(rows) * height
    if ruled:
        content += "0.7 w\n"
        content += "".join(f"{x} {y - at * height} m {right} {y - at * height} l S\n" for at in range(len(rows) + 1))
        content += "".join(f"{edge} {y} m {edge} {low} l S\n" for edge in edges(x, widths))
    return content, low


def edges(x: float, widths: Sequence[float]) -> Iterator[float]:
    for room in (0, *widths):
        x += room
        yield x


def drawn(row: Row, x: float, y: float) -> str:
    return "".join(show(line, x, y) for line in row)


def ligated(text: str) -> str:
    """As typesetters of books set it."""
    return text.replace("fi", "ﬁ").replace("fl", "ﬂ")
