"""The HTML report of a run: one self-contained page from the manifest and a few sampled records.

Nearly every string on it was written by strangers. So: the template escapes everything, whatever it prints is first
made `visible` and cut to a line, no address from a crawl becomes a link, and a content security policy allows one
stylesheet, by its hash, and nothing else: no script, no image, no request.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.report import figures, shape
from pipeline.report.duplicates import Piece, duplicate_reasons, duplicates_of
from pipeline.report.samples import EXCERPT, Sample, Samples, read_samples
from pipeline.report.shape import Manifest
from pipeline.report.visible import clipped, line, visible

if TYPE_CHECKING:
    from pipeline.store import Store

HERE = Path(__file__).parent
MAX_LINE = 400
"""Characters of an address, a path, a detail, a recipe's value."""
_MAX_JOB = 20_000
_TEXT_BUDGET = 1_500_000
"""Characters of all excerpts together: with many reasons each excerpt gets shorter, and the page stays a few MB."""
_SHORTEST = 200
_LANGUAGE = re.compile(r"([a-z]{3})_([A-Z][a-z]{3})")


def write_report(store: Store) -> None:
    """Write `report.html` beside the `manifest.json` of a run. Raises what the store and the Parquet reader raise."""
    manifest = json.loads(store.read_bytes("manifest.json"))
    data = [file["path"] for file in shape.data_files(manifest)]
    samples = read_samples(store, data, shape.shown_reasons(manifest), duplicate_reasons(manifest))
    store.write_atomic("report.html", render(manifest, samples).encode())


def render(manifest: Manifest, samples: Samples) -> str:
    """The page. The same manifest and samples give the same characters."""
    style = (HERE / "report.css").read_text(encoding="utf-8")
    shown = sum(map(len, samples.dropped.values())) + len(samples.kept)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            style=Markup(style),  # our own file: the one string that is not escaped
            style_hash=b64encode(sha256(style.encode()).digest()).decode(),
            run=manifest,
            totals=manifest["totals"],
            gaps=shape.gaps(manifest),
            stages=shape.drops_by_stage(manifest),
            anchors={reason: f"reason-{n}" for n, reason in enumerate(shape.shown_reasons(manifest), 1)},
            languages=shape.top(manifest["languages"], "measured"),
            domains=shape.top(manifest.get("domains", ()), "read"),
            duplicates=duplicates_of(manifest),
            shards=shape.shards(manifest),
            damage=shape.damage(manifest),
            data=shape.data_files(manifest),
            samples=samples,
            excerpt_characters=max(_SHORTEST, min(EXCERPT, _TEXT_BUDGET // max(1, shown))),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "size": _size,
        "duration": _duration,
        "exact": figures.exact,
        "measure": figures.measure,
        "bcp47": _bcp47,
        "value": _value,
        "job": _job,
        "excerpt": _excerpt,
        "marked": _marked,
    }
    environment.globals |= {"share": figures.share, "percent": _percent, "bytes_lost": shape.bytes_lost}
    return environment


def _finalize(value: Any) -> Any:
    """Every expression of the template passes here before it is escaped."""
    return line(value, MAX_LINE) if isinstance(value, str) and not isinstance(value, Markup) else value


def _count(number: int) -> Markup:
    return _figure(figures.count(number), figures.exact(number))


def _size(number: int) -> Markup:
    return _figure(figures.size(number), f"{number:,} bytes")


def _duration(seconds: float) -> Markup:
    return _figure(figures.duration(seconds), f"{seconds:,.2f} seconds")


def _figure(short: str, full: str) -> Markup:
    """A number for people, the exact one on hovering."""
    return escape(short) if short == full else Markup('<span title="{}">{}</span>').format(full, short)


def _percent(part: float, whole: float) -> str:
    """A length in a bar; nothing that happened is thinner than an eye can see."""
    return f"{max(100 * part / whole, 0.3):.2f}%" if part and whole else "0"


def _bcp47(language: str | None) -> str:
    """eng_Latn → eng-Latn, for `lang`: it chooses glyphs and voices. Anything else → empty, which means unknown."""
    match = _LANGUAGE.fullmatch(language or "")
    return f"{match[1]}-{match[2]}" if match else ""


def _value(value: Any) -> str:
    """A recipe's value as YAML would write it on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _job(job: Any) -> Markup:
    text = yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=100)
    return escape(visible(clipped(text, _MAX_JOB), lines=True))


def _excerpt(sample: Sample, limit: int) -> Markup:
    """The beginning of a text, its lines kept, runs of empty lines folded into one."""
    return escape(visible(_folded((sample.text or "")[:limit].strip()), lines=True))


def _folded(text: str) -> str:
    return re.sub(r"\n(?:[ \t\r]*\n)+", "\n\n", text)


def _marked(pieces: Sequence[Piece]) -> Markup:
    """A text whose pieces that another text has not stand out."""
    return Markup("").join(_piece(shared, visible(_folded(text), lines=True)) for shared, text in pieces)


def _piece(shared: bool, text: str) -> Markup:
    own = text.rstrip()
    return escape(text) if shared else Markup("<mark>{}</mark>{}").format(own, text[len(own) :])
