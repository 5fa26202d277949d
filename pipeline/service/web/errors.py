"""How a browser gets what went wrong: a page with the sentence that programs get as a problem document."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from pipeline.service.api.problems import Problem
from pipeline.service.web.rendering import page

TITLES = {
    400: "That was not understood",
    403: "That is not allowed",
    404: "Not here",
    409: "That does not go",
    422: "That was not understood",
    429: "Too much at once",
    503: "Not just now",
}


def error_page(request: Request, problem: Problem) -> Response:
    """What the app calls for browsers (`app.state.error_page`). Whoever is unknown is asked who they are."""
    if problem.status == 401:
        return to_sign_in(request)
    title = TITLES.get(problem.status, "That did not work")
    made = page(request, "fault.html.j2", problem.status, title=title, said=problem.detail)
    made.headers.update(problem.headers)
    return made


def to_sign_in(request: Request) -> Response:
    """Where callers say who they are, and come back from to the page that they wanted."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = wanted if request.method == "GET" else "/"
    return RedirectResponse(f"/login?next={quote(after, safe='')}", 303)
