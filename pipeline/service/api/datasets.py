"""What a job's run left in its output: the manifest, the report, and its records with what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from pipeline import manifest
from pipeline.audit.explore import Found, as_json
from pipeline.faults import MissingFile, StoreError
from pipeline.service import search
from pipeline.service.api.callers import Reader, ServiceHere
from pipeline.service.api.jobs import JobId, job_named
from pipeline.service.api.paging import LINKED, Cursor, link
from pipeline.service.api.problems import Problem, declared
from pipeline.service.api.slow import TurnsHere
from pipeline.service.api.views import RecordPage, json_safe
from pipeline.service.jobs import Job
from pipeline.service.service import Service
from pipeline.store import Store

REPORT = "report.html"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'; sandbox"
)
"""A report holds what strangers wrote. It needs no scripts, and gets an origin of its own: it could do nothing with the
reader's cookie even if it had some.
"""
CHUNK = 2**18
MAX_RECORDS = 100
MAX_TEXTS = 8 * 2**20
"""Characters of all texts in one answer."""
TEXT = "^[^\\x00]{1,2000}$"

Word = Annotated[str | None, Query(pattern="^[a-z0-9_]{1,64}$")]

router = APIRouter(prefix="/jobs/{job_id}", tags=["runs"])


@router.get("/manifest", responses=declared(404, 409))
def get_manifest(job_id: JobId, service: ServiceHere, caller: Reader) -> dict[str, Any]:
    """The manifest of the job's run, as it lies in the output."""
    job = job_named(service, job_id)
    content = manifest.read(Store(job.output))
    if content is None:
        raise _not_yet(job, manifest.FILE)
    if not isinstance(content, dict):  # somebody else wrote it
        raise StoreError(f"{job.output}/{manifest.FILE}: not a manifest")
    safe: dict[str, Any] = json_safe(content)
    return safe


@router.get(
    "/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **declared(404, 409)},
)
def report(job_id: JobId, service: ServiceHere, caller: Reader) -> StreamingResponse:
    """The report of the job's run, a page that stands alone."""
    job = job_named(service, job_id)
    try:
        stream = Store(job.output).open_read(REPORT)
    except MissingFile as error:
        raise _not_yet(job, REPORT) from error

    def chunks() -> Iterator[bytes]:
        with stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    headers = {"Content-Security-Policy": REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return StreamingResponse(chunks(), headers=headers, media_type="text/html")


@router.get("/records", responses=LINKED | declared(404, 409))
async def records(
    request: Request,
    response: Response,
    job_id: JobId,
    service: ServiceHere,
    caller: Reader,
    turns: TurnsHere,
    url: Annotated[str | None, Query(pattern=TEXT, description="exact, or a pattern with *")] = None,
    id: Annotated[str | None, Query(pattern=TEXT, description="a WARC-Record-ID")] = None,
    reason: Word = None,
    stage: Word = None,
    outcome: Annotated[Literal["kept", "dropped", "failed"] | None, Query()] = None,
    language: Annotated[str | None, Query(pattern="^[A-Za-z_]{2,20}$", examples=["eng_Latn"])] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = 20,
    cursor: Cursor = None,
    text: Annotated[bool, Query(description="with their texts")] = False,
) -> RecordPage:
    """Records that are all that is asked for, in the order of the ledger, with what happened to them and why."""
    query = search.Query(
        **{name: value or "" for name, value in {"url": url, "id": id, "reason": reason, "stage": stage}.items()},
        outcome=outcome or "",
        language=language or "",
    )
    page = await turns.searches.take(caller, lambda: _records(service, job_id, query, cursor, limit, text))
    link(request, response, page.next)
    return page


def _records(
    service: Service, job_id: str, query: search.Query, cursor: str | None, limit: int, text: bool
) -> RecordPage:
    job = job_named(service, job_id)
    if not Store(job.output).exists(manifest.FILE):
        raise _not_yet(job, manifest.FILE)
    try:
        results = search.search(job.output, query, cursor, limit, search.SECONDS)
    except ValueError as error:
        raise Problem(422, str(error), "request") from error
    said = None
    if not results.whole:
        on = "go on from next, or " if results.following is not None else ""
        said = f"stopped after {search.SECONDS:g} s, before the whole ledger was read; {on}ask for less, or for a URL"
    elif results.following is not None:
        said = f"there are more than {limit}"
    room = MAX_TEXTS if text else 0
    shown = []
    for found in results.found:
        shown.append(_record(found, text, room))
        room -= len(found.text or "")
    return RecordPage(records=shown, next=results.following, said=said)


def _record(found: Found, text: bool, room: int) -> dict[str, Any]:
    content: dict[str, Any] = json_safe(as_json(found))
    if found.text is not None and len(found.text) > room:
        why = f"the answer holds {MAX_TEXTS} characters already; ask for fewer" if text else "ask with text=true"
        content |= {"text": None, "no_text": why}
    return content


def _not_yet(job: Job, file: str) -> Problem:
    why = "its run left none" if job.state.over else "it comes at the end"
    return Problem(409, f"job {job.id} is {job.state} and has no {file}: {why}", "no-result")
