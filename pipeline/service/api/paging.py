"""Lists that come in pages: `cursor` asks for a page, and the one before names it, in `next` and in a header."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

Cursor = Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,200}$", description="`next` of a page")]
LINKED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"Link": {"schema": {"type": "string"}, "description": 'rel="next", RFC 8288'}}}
}
"""FastAPI's `responses` of such a list."""


def link(request: Request, response: Response, following: str | None) -> None:
    """Name the next page, if there is one: the same question, from there on."""
    if following is not None:
        again = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        response.headers["Link"] = f'<{request.url.path}?{urlencode([*again, ("cursor", following)])}>; rel="next"'
