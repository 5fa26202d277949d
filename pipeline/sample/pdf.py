"""PDF files, written object by object, so that their bytes depend on what they hold and on nothing else.

A library would bring its version, its compressor and its identifiers into the bytes. This writes what the sample shows
and no more: pages of text in the fonts that every reader has, and grey images; no compression, no outlines, no links.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_letters
from typing import Literal

import pymupdf

A4 = (595, 842)  # points, a 72th of an inch
A5 = (420, 595)
Glyphs = Mapping[str, tuple[int, str]]  # character: the code that shows it, and its glyph's name (Adobe Glyph List)

LIGATURES = {"ﬁ": (1, "fi"), "ﬂ": (2, "fl")}
# afii10017 … are А … Е, Ё, Ж … Я, and the small letters 48 on: Ё stands in its place, unlike in Unicode.
CYRILLIC = {
    letter: (letter.encode("cp1251")[0], f"afii{first + at}")
    for first, alphabet in ((10017, "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"), (10065, "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"))
    for at, letter in enumerate(alphabet)
}
SHUFFLED = {letter: (161 + at, letter) for at, letter in enumerate(ascii_letters)}


@dataclass(frozen=True)
class Face:
    """A font of the standard 14 (ISO 32000-1, section 9.6.2.2), not embedded. It shows `others` and what cp1252 has.

    Its widths are read from PyMuPDF, which has a font of the same metrics under the name `twin`.
    """

    base: str
    twin: str
    others: Glyphs
    garbled: bool = False  # no letter of it comes out of a text extractor

    def encode(self, text: str) -> bytes:
        """Raises UnicodeEncodeError for a character that it has not."""
        return b"".join(
            bytes([self.others[char][0]]) if char in self.others else char.encode("cp1252") for char in text
        )

    def advance(self, char: str) -> int:
        """The width of a character in thousandths of the font's size."""
        return _advance(self.twin, char)


FACES = {
    "R": Face("Times-Roman", "tiro", LIGATURES),
    "B": Face("Times-Bold", "tibo", LIGATURES),
    "I": Face("Times-Italic", "tiit", LIGATURES),
    "H": Face("Helvetica", "helv", LIGATURES),
    "C": Face("Courier", "cour", LIGATURES),
    "K": Face("Times-Roman", "tiro", CYRILLIC),
    "KB": Face("Times-Bold", "tibo", CYRILLIC),
    "G": Face("Times-Roman", "tiro", SHUFFLED, garbled=True),
}
"""By the names under which pages use them."""


@dataclass(frozen=True)
class Image:
    """Grey pixels, row by row from the top: one bit each (1 is white, a row fills whole bytes) or eight."""

    width: int
    height: int
    bits: Literal[1, 8]
    data: bytes
    coding: str = ""  # the /Filter that undoes the coding of `data`


@dataclass(frozen=True)
class Page:
    """Operators (ISO 32000-1, annex A), the fonts of `FACES` and the images (/I0, /I1 …) that they name."""

    content: str
    images: tuple[Image, ...] = ()
    size: tuple[int, int] = A4
    rotate: int = 0


def pdf(pages: Sequence[Page], title: str, creator: str = "crawlmill sample") -> bytes:
    """A PDF 1.4 file."""
    return assembled(objects_of(pages, title, creator))


def objects_of(pages: Sequence[Page], title: str, creator: str = "crawlmill sample") -> list[bytes]:
    """The objects of a file: catalog, page tree, information and fonts come first, then each page with its content and
    its images, in order.
    """
    fonts: dict[str, int] = {}
    objects = [b"", b"", f"<< /Title {text_string(title)} /Creator {text_string(creator)} >>".encode("ascii")]
    for name in sorted({found for page in pages for found in re.findall(r"/(\w+) [\d.]+ Tf", page.content)} | {"R"}):
        fonts[name] = len(objects) + 1
        objects += font(FACES[name], fonts[name])
    used = " ".join(f"/{name} {number} 0 R" for name, number in fonts.items())
    kids = []
    for page in pages:
        kids.append(len(objects) + 1)
        drawn = " ".join(f"/I{at} {kids[-1] + 2 + at} 0 R" for at in range(len(page.images)))
        width, height = page.size
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Rotate {page.rotate} /Contents "
            f"{kids[-1] + 1} 0 R /Resources << /Font << {used} >> /XObject << {drawn} >> >> >>".encode("ascii")
        )
        objects.append(stream(page.content.encode("ascii")))
        objects += map(image_object, page.images)
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{listed}] >>".encode("ascii")
    return objects


def assembled(objects: Sequence[bytes], identity: bytes = b"", entries: str = "") -> bytes:
    """The file of these objects. `identity` is what tells it from others; entries: further ones of the trailer."""
    identity = identity or hashlib.sha256(b"".join(objects)).digest()[:16]
    file = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    file += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R "
        f"/Info 3 0 R {entries}/ID [<{identity.hex()}> <{identity.hex()}>] >>\nstartxref\n{len(file)}\n%%EOF\n"
    ).encode("ascii")
    return bytes(file)


def stream(data: bytes, entries: str = "") -> bytes:
    return b"<< %b/Length %d >>\nstream\n%b\nendstream" % (entries.encode("ascii"), len(data), data)


def image_object(image: Image) -> bytes:
    coding = f"/Filter /{image.coding} " if image.coding else ""
    return stream(
        image.data,
        f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} /ColorSpace /DeviceGray "
        f"/BitsPerComponent {image.bits} {coding}",
    )


def font(face: Face, number: int) -> list[bytes]:
    """The object of that number, a font, and the one behind it if it has one: a map to Unicode without any sense."""
    shown = {code: (char, name) for char, (code, name) in face.others.items()}
    differences = " ".join(f"{code} /{name}" for code, (_, name) in sorted(shown.items()))
    chars = (shown[code][0] if code in shown else bytes([code]).decode("cp1252", "ignore") for code in range(256))
    widths = " ".join(str(face.advance(char) if char else 0) for char in chars)
    unicode = f"/ToUnicode {number + 1} 0 R " if face.garbled else ""
    entries = (
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{face.base} {unicode}/FirstChar 0 /LastChar 255 /Widths [{widths}] "
        f"/Encoding << /BaseEncoding /WinAnsiEncoding /Differences [{differences}] >> >>"
    )
    return [entries.encode("ascii"), *([senseless(shown)] if face.garbled else [])]


def senseless(codes: Iterable[int]) -> bytes:
    """A map from codes to U+FFFD, as some programs write it that subset fonts (ISO 32000-1, section 9.10.3)."""
    lines = [f"<{code:02x}> <fffd>" for code in codes]
    return stream(
        b"/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /Lost def\n/CMapType 2 def\n"
        b"1 begincodespacerange\n<00> <ff>\nendcodespacerange\n%d beginbfchar\n%b\nendbfchar\n"
        b"endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend"
        % (len(lines), "\n".join(lines).encode("ascii"))
    )


def literal(text: str, face: Face) -> str:
    """A string object that shows this text."""
    octal = (chr(code) if 32 <= code < 127 and code not in b"()\\" else f"\\{code:03o}" for code in face.encode(text))
    return f"({''.join(octal)})"


def text_string(text: str) -> str:
    """A text string (ISO 32000-1, section 7.9.2.2), in UTF-16."""
    return f"<feff{text.encode('utf-16-be').hex()}>"


@cache
def _advance(twin: str, char: str) -> int:
    width: float = _font(twin).glyph_advance(ord(char))
    return round(width * 1000)


@cache
def _font(twin: str) -> pymupdf.Font:
    return pymupdf.Font(twin)
