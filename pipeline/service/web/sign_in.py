"""Signing in with a token and out again. What the browser is then given, and sends, is `api.callers`' business."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline.service import tokens
from pipeline.service.api.callers import forget, remember
from pipeline.service.service import Service
from pipeline.service.web.rendering import page

_HERE = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*", re.ASCII)
"""A path of this service's. `//host` and `/\\host` would be another's."""


def sign_in_pages(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/login")
    def ask(request: Request, next: Annotated[str, Query(max_length=2_000)] = "/") -> Response:
        if request.scope["caller"] == tokens.LOCAL:
            return RedirectResponse(here(next), 303)
        return page(request, "login.html.j2", next=here(next), fault=None)

    @router.post("/login")
    def sign_in(
        request: Request,
        token: Annotated[str, Form(max_length=200)] = "",
        next: Annotated[str, Form(max_length=2_000)] = "/",
    ) -> Response:
        if tokens.use(service.database, token.strip()) is None:
            said = "No such token, or a revoked one."
            return page(request, "login.html.j2", 403, next=here(next), fault=said)
        answer = RedirectResponse(here(next), 303)
        remember(request, answer, token.strip())
        return answer

    @router.post("/logout")
    def sign_out(request: Request) -> Response:
        answer = RedirectResponse("/login", 303)
        forget(request, answer)
        return answer

    return router


def here(wanted: str) -> str:
    """Where to go after signing in: what was wanted, if it is a path of this service."""
    return wanted if _HERE.fullmatch(wanted) else "/"
