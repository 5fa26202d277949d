"""Every stage by the name it has in a recipe; the only module that imports every family."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from stages.datatrove import Datatrove
from stages.dedup.exact import DedupPayload, DedupText, DedupUrl
from stages.dedup.minhash import MinHash
from stages.edit.pii import Pii
from stages.extract.html import ExtractHtml
from stages.extract.pdf.stage import ExtractPdf
from stages.fetch.refetch import Refetch
from stages.filter.c4 import C4Quality
from stages.filter.fineweb import FineWebQuality
from stages.filter.gopher import GopherQuality
from stages.filter.repetition import GopherRepetition
from stages.filter.url import UrlFilter
from stages.language.identify import Language
from stages.stage import Stage
from stages.tokens import TokenCount

STAGES: dict[str, type[Stage]] = {
    stage.model_fields["kind"].default: stage
    for stage in (
        *(UrlFilter, Refetch, ExtractHtml, ExtractPdf, Language),
        *(GopherRepetition, GopherQuality, C4Quality, FineWebQuality),
        *(DedupUrl, DedupPayload, DedupText, MinHash),
        *(Pii, TokenCount, Datatrove),
    )
}

RECIPES = Path(__file__).parent / "recipes"


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with crawlmill."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`; did you mean X?` where something known is close, else what is known."""
    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
