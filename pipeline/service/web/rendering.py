"""Templates into answers. Every page passes here, and so do escaping, visible strings and the security headers.

Much of what pages show was written by strangers. The templates escape everything, whatever they print is first made
`visible` and cut to a line, no address from a crawl becomes a link, and a policy allows our own stylesheet and scripts
by their origin and nothing else: no style or script in the page, no other host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.report import figures
from pipeline.report.visible import clipped, line, visible
from pipeline.service.api.callers import presented
from pipeline.service.tokens import Caller

HERE = Path(__file__).parent
STATIC = HERE / "static"
MAX_LINE = 400
MAX_TEXT = 200_000
"""Characters of a text, a log, a job, on one page."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # `no-referrer` would make the browser send `Origin: null` with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page."""
_LANGUAGE = re.compile(r"([a-z]{3})_([A-Z][a-z]{3})")


def page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """An answer with one of our pages."""
    caller = request.scope.get("caller")
    known = caller if isinstance(caller, Caller) else None
    given = presented(request)
    signed_in = known is not None and given is not None and given[1]
    made = _environment().get_template(template)
    return HTMLResponse(
        made.render(path=request.url.path, caller=known, signed_in=signed_in, **content), status, HEADERS
    )


@cache
def static_files() -> Mapping[str, tuple[bytes, str]]:
    """Content and media type of each file that pages name, by name."""
    kinds = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
    return {path.name: (path.read_bytes(), kinds[path.suffix]) for path in STATIC.iterdir() if path.suffix in kinds}


def static_answer(name: str) -> Response | None:
    """One of our files, to be kept by the browser for as long as it likes: pages name them with their digest."""
    if name not in static_files():
        return None
    content, kind = static_files()[name]
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=kind, headers=HEADERS | kept)


def as_yaml(content: Any) -> str:
    """A job's spec as a person would write it."""
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": figures.count,
        "size": figures.size,
        "duration": figures.duration,
        "exact": figures.exact,
        "measure": figures.measure,
        "text": _text,
        "unclipped": escape,
        "marked": _marked,
        "when": _when,
        "lang": bcp47,
        "percent": _percent,
        "label": _label,
    }
    environment.globals |= {"share": figures.share, "static": _static, "ago": ago}
    return environment


def _finalize(value: Any) -> Any:
    """Every expression of a template passes here before it is escaped."""
    return line(value, MAX_LINE) if isinstance(value, str) and not isinstance(value, Markup) else value


def _static(name: str) -> str:
    return f"/static/{name}?{sha256(static_files()[name][0]).hexdigest()[:12]}"


def _text(value: str) -> Markup:
    """A text of several lines."""
    return escape(visible(clipped(value, MAX_TEXT), lines=True))


def _marked(pieces: Sequence[tuple[bool, str]]) -> Markup:
    """A text whose pieces that another text has not (False) stand out."""
    return Markup("").join(_piece(shared, visible(text, lines=True)) for shared, text in pieces)


def _piece(shared: bool, text: str) -> Markup:
    own = text.rstrip()
    return escape(text) if shared else Markup("<mark>{}</mark>{}").format(own, text[len(own) :])


def _percent(share: float | None) -> str:
    """A share of 1 as a length in a picture."""
    return f"{100 * min(1.0, max(0.0, share or 0.0)):.2f}%"


def _label(name: str) -> str:
    """too_few_words → too few words."""
    return name.replace("_", " ")


def _when(time: datetime) -> Markup:
    """A time: how long ago, with the moment itself for machines and on hovering."""
    moment = time.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M:%S} UTC", ago(moment, datetime.now(UTC))
    )


def ago(time: datetime, now: datetime) -> str:
    """3 min ago; in 2 h; the day where it is long past."""
    seconds = (now - time).total_seconds()
    units: Iterable[tuple[str, int, int]] = (("s", 1, 60), ("min", 60, 60), ("h", 3_600, 48), ("days", 86_400, 30))
    for unit, length, many in units:
        number = int(abs(seconds) // length)
        if number < many:
            said = f"{number}{figures.NARROW}{unit}"
            break
    else:
        return f"{time:%Y-%m-%d}"
    if abs(seconds) < 5:
        return "just now" if seconds >= 0 else "now"
    return f"{said} ago" if seconds > 0 else f"in {said}"


def bcp47(language: str | None) -> str:
    """eng_Latn → eng-Latn, for `lang`. Anything else → empty, which means unknown."""
    match = _LANGUAGE.fullmatch(language or "")
    return f"{match[1]}-{match[2]}" if match else ""
