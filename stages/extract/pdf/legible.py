"""Can text that came out of a font be read, or are its characters not the ones that the page shows?

A PDF font may have no map to Unicode, or a wrong one. What comes out is then nothing (U+FFFD, control characters),
glyph numbers taken for characters (`$EVWUDFW` for "Abstract"), another alphabet's code page (`Ïðèâåò` for "Привет") or
a cipher. That is told from the characters by arithmetic. No language is identified, and text that is no prose (figures,
formulas, code, lists of names) is legible; long runs of random letters, as Base64 has, are not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]

_ENOUGH_PAIRS = 60
"""Fewer pairs of letters say nothing: the mean of 60 has a standard error of 0.3 in LETTER_PAIRS' units."""
_LEAST_COMMONNESS = 4.9
"""Mean of LETTER_PAIRS. Measured on chunks of 400 characters: prose in 381 languages 5.9 to 8.6, the Latin words in
Japanese and Korean manuals 5.2, DNA 5.3, proteins 5.2; English, German, Polish … whose glyph numbers were read as
characters 3.3 to 5.7, 95 of 100 below 4.7; under random substitutions the median is 4.6.
"""
_MOST_ACCENTED = 0.6
"""Share of Latin letters beyond ASCII: nearly 1 where Windows-1251 or ISO 8859-7 was read as ISO 8859-1; 0.53 at most
in any chunk of the same languages (Tem, Yoruba).
"""
_MOST_CHANGES = 0.4
"""Share of neighbouring letters that are of different scripts: half and more where glyph numbers beyond ASCII were read
as characters; 0.28 at most in the same languages (Ga, typed with Hebrew letters), 0.09 where Japanese is full of Latin
names.
"""

# How common is a pair of letters within words, from 0 (a share of 2^-17 of all pairs, or less) to 9 in steps of a
# factor of 2^1.2: row = first letter, column = second. The mean of 381 languages in Latin letters (texts of the
# Universal Declaration of Human Rights and others), each counted alike; made by bench/letter_pairs.py.
LETTER_PAIRS = """
87786677878999677989777686
84128014823523700532714250
72326008723522721434703042
82068126852434721652734056
66777566767879565888666566
71016403602302600524603041
86247356735435731554735342
92448023834545744436834341
87777677778889775888566676
83427013744344632235713140
92338246845544860555836151
94358345845754833155735152
97248443834564760344835042
95688596967567855578755475
66665566667779765777765464
80217215733522740734715140
60124003412332433123702010
95458354845556733567744153
83538338836444754467745053
93428237954645842676844255
76667566767879565777655565
73127103721424602422633042
82117014723424720233613031
62315031633322421134513221
83348232734445733445633242
72136035622323520223534033
"""

_NO_SCRIPT = -1
_LATIN, _GREEK, _HEBREW, _ARABIC, _EAST_ASIAN = 0, 1, 2, 3, 4
# Where a script's letters begin (The Unicode Standard, Blocks.txt), each range lasting to the next. Other numbers stand
# for other scripts; the writing systems of East Asia are one. What is rare, or no letter, is no script.
_RANGES = (
    *((0x0, _NO_SCRIPT), (0x41, _LATIN), (0x5B, _NO_SCRIPT), (0x61, _LATIN), (0x7B, _NO_SCRIPT), (0xC0, _LATIN)),
    *((0x2B0, _NO_SCRIPT), (0x370, _GREEK), (0x400, 5), (0x530, 6), (0x590, _HEBREW), (0x600, _ARABIC), (0x700, 7)),
    *((0x750, _ARABIC), (0x780, 8), (0x7C0, _NO_SCRIPT), (0x8A0, _ARABIC)),
    *((0x900 + 0x80 * block, 10 + block) for block in range(10)),  # Devanagari to Sinhala
    *((0xE00, 30), (0xE80, 31), (0xF00, 32), (0x1000, 33), (0x10A0, 34), (0x1100, _EAST_ASIAN), (0x1200, 35)),
    *((0x13A0, 36), (0x1400, 37), (0x1680, _NO_SCRIPT), (0x1780, 38), (0x1800, 39), (0x18B0, _NO_SCRIPT)),
    *((0x1E00, _LATIN), (0x1F00, _GREEK), (0x2000, _NO_SCRIPT), (0x2E80, _EAST_ASIAN), (0xA4D0, _NO_SCRIPT)),
    *((0xAC00, _EAST_ASIAN), (0xD800, _NO_SCRIPT), (0xF900, _EAST_ASIAN), (0xFB00, _NO_SCRIPT), (0xFB1D, _HEBREW)),
    *((0xFB50, _ARABIC), (0xFE00, _NO_SCRIPT), (0xFE70, _ARABIC), (0xFF00, _EAST_ASIAN), (0xFFF0, _NO_SCRIPT)),
    *((0x20000, _EAST_ASIAN), (0x40000, _NO_SCRIPT)),
)
_STARTS = np.array([start for start, _ in _RANGES], np.uint32)
_SCRIPTS = np.array([script for _, script in _RANGES], np.int8)
_COMMONNESS = np.array([int(digit) for digit in "".join(LETTER_PAIRS.split())], np.int64)


def illegible_characters(texts: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Of (font, text) pairs: how many characters there are, without white space, and how many of them are illegible.

    A font whose text is improbable counts whole. Fonts with too little text to judge are judged together.
    """
    of_font: dict[str, list[str]] = {}
    for font, text in texts:
        of_font.setdefault(font, []).append(text)
    total = illegible = 0
    rest: list[Codes] = []
    for pieces in of_font.values():
        codes = _codes("\n".join(pieces))
        total += _inked(codes)
        if len(codes) <= _ENOUGH_PAIRS:
            rest.append(codes)
        else:
            illegible += _illegible(codes)
    if rest:
        illegible += _illegible(np.concatenate([_LINE_FEED, *rest]))
    return total, illegible


def letter_pairs(codes: Codes) -> npt.NDArray[np.int64]:
    """Neighbouring ASCII letters as 26 * first + second, their case folded."""
    letters = (codes | 0x20).astype(np.int64) - ord("a")
    letter = (letters >= 0) & (letters < 26) & (codes < 0x80)
    both = letter[:-1] & letter[1:]
    return letters[:-1][both] * 26 + letters[1:][both]


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


_LINE_FEED = _codes("\n")


def _inked(codes: Codes) -> int:
    """Characters that are no white space."""
    white = (codes == 0x20) | (codes - 9 < 5) | (codes == 0xA0) | (codes - 0x2000 < 12) | (codes == 0x3000)
    return len(codes) - int(white.sum())


def _illegible(codes: Codes) -> int:
    if _cipher(codes) or _wrong_code_page(codes) or _many_scripts(codes):
        return _inked(codes)
    return int(_meaningless(codes).sum())


def _meaningless(codes: Codes) -> npt.NDArray[np.bool_]:
    """U+FFFD and other non-characters, control characters, surrogates and private use."""
    control = ((codes < 0x20) & ~(codes - 9 < 5)) | (codes - 0x7F <= 0x20)
    return control | (codes - 0xD800 < 0x2100) | (codes - 0xFFFD < 3) | (codes >= 0xF0000)


def _cipher(codes: Codes) -> bool:
    pairs = letter_pairs(codes)
    return len(pairs) >= _ENOUGH_PAIRS and float(_COMMONNESS[pairs].mean()) < _LEAST_COMMONNESS


def _wrong_code_page(codes: Codes) -> bool:
    latin = _SCRIPTS[np.searchsorted(_STARTS, codes, "right") - 1] == _LATIN
    letters = int(latin.sum())
    return letters >= _ENOUGH_PAIRS and int((latin & (codes >= 0x80)).sum()) > _MOST_ACCENTED * letters


def _many_scripts(codes: Codes) -> bool:
    scripts = _SCRIPTS[np.searchsorted(_STARTS, codes, "right") - 1]
    both = (scripts[:-1] != _NO_SCRIPT) & (scripts[1:] != _NO_SCRIPT)
    pairs = int(both.sum())
    return pairs >= _ENOUGH_PAIRS and int((both & (scripts[:-1] != scripts[1:])).sum()) > _MOST_CHANGES * pairs
